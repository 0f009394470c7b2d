"""`diagnose`: what it takes, with baselines of every form, and wrong arguments; the same each time, traced once."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv


@pytest.mark.parametrize("baseline", [1, 1.0, np.float32(1), np.ones(5), np.ones((1, 5), np.float32), jnp.ones((4, 5))])
def test_baselines_of_every_form(nets, baseline):
    diagnosis = jv.diagnose(nets.mlp(), np.ones_like(nets.x), target=0, baseline=baseline)
    assert diagnosis.codes == ("equals_baseline",)


def test_integers_equal_to_the_baseline_and_that_are_all_the_same(nets):
    assert jv.diagnose(nets.tokens(), nets.ids, target=0, baseline=2).codes == ("partly_equals_baseline",)
    assert jv.diagnose(nets.tokens(), nets.ids * 0, target=0, baseline=0).codes == ("equals_baseline",)


def test_half_and_double_precision(nets):
    half = lambda tree: jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), tree)
    model = jv.Model.from_function(
        lambda kernel, x: nn.softmax(jv.tag(nn.relu(x @ kernel), "logits")), half(nets.kernel)
    )
    with pytest.warns(jv.AttributionWarning):
        attribution = jv.gradient(model, half(nets.mixed), target=0)
    assert nets.only(jv.diagnose(model, half(nets.mixed), attribution, target=0), "softmax_saturated").examples == (
        0,
        1,
    )
    with jax.enable_x64(True):
        model = nets.function(lambda x: (x @ jnp.asarray(nets.kernel, jnp.float64))[:, 0] ** 2)
        inputs = np.asarray(nets.x, np.float64)
        assert jv.diagnose(model, inputs, jv.integrated_gradients(model, inputs), baseline=0, tolerance=1e-9).ok


def test_the_same_each_time_and_traced_once(nets):
    inputs, model = nets.x + np.float32(0.5), nets.mlp(Dense_1_bias=-100.0)
    first = jv.diagnose(model, inputs, np.zeros_like(nets.x), target=0, baseline=0)
    before = nets.traces[0]
    again = jv.diagnose(nets.mlp(Dense_1_bias=-99.0), inputs, np.zeros_like(nets.x), target=1, baseline=0.5)
    assert before == nets.traces[0]
    assert first.codes == again.codes
    assert str(jv.diagnose(model, inputs, np.zeros_like(nets.x), target=0, baseline=0)) == str(first) == repr(first)


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "message"),
    [
        (lambda nets: (nets.variables, nets.x), {}, TypeError, "diagnose: model must be a jaxviz.Model"),
        (lambda nets: (nets.mlp(), "x"), {}, TypeError, "diagnose: inputs must be an array"),
        (lambda nets: (nets.mlp(), nets.x * np.nan), {"target": 0}, ValueError, "diagnose: inputs must be finite"),
        (lambda nets: (nets.mlp(), nets.x), {}, ValueError, "diagnose: target is None"),
        (
            lambda nets: (nets.mlp(), nets.x, nets.x[:2]),
            {"target": 0},
            ValueError,
            r"attribution must have the 4 examples as axis 0, got shape \(2, 5\)",
        ),
        (
            lambda nets: (nets.mlp(), nets.x, {"a": 1.0}),
            {"target": 0},
            TypeError,
            r"attribution\['a'\] must be an array, got 1.0",
        ),
        (
            lambda nets: (nets.mlp(), nets.x, ()),
            {"target": 0},
            TypeError,
            "attribution must be an array or a pytree of arrays",
        ),
        (
            lambda nets: (nets.mlp(), nets.x, np.array(list("abcd"))),
            {"target": 0},
            TypeError,
            "attribution must be numbers",
        ),
        (
            lambda nets: (nets.mlp(), nets.x),
            {"target": 0, "tolerance": -1},
            ValueError,
            r"tolerance must be in \[0, inf\)",
        ),
        (lambda nets: (nets.mlp(), nets.x), {"target": 0, "tolerance": "5%"}, TypeError, "tolerance must be a number"),
        (
            lambda nets: (nets.mlp(), nets.x),
            {"target": 0, "baseline": "black"},
            TypeError,
            "baseline must be None, a number or an array",
        ),
        (lambda nets: (nets.mlp(), nets.x), {"target": 0, "baseline": np.ones(4)}, ValueError, "does not broadcast"),
    ],
)
def test_wrong_arguments(nets, arguments, settings, error, message):
    with pytest.raises(error, match=message):
        jv.diagnose(*arguments(nets), **settings)


def test_not_inside_of_jit(nets):
    with pytest.raises(TypeError, match="diagnose: model, inputs or attribution are traced"):
        jax.jit(lambda x: jv.diagnose(nets.mlp(), x, target=0).ok)(nets.x)
