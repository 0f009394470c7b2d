"""`diagnose`: each finding from a real small network, none from a healthy one."""

import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxviz as jv
from jaxviz.attribution.diagnosis import diagnose as documented


def f32(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)


def recurrent() -> tuple[jv.Model, np.ndarray]:
    module, x = nn.RNN(nn.GRUCell(2)), f32(np.random.default_rng(0).normal(size=(3, 4, 2)))
    return jv.Model.from_linen(
        nn.Sequential([module, lambda x: x[:, -1]]), nn.Sequential([module]).init(jax.random.key(0), x)
    ), x


HEALTHY: dict[str, Callable[[Any], jv.Diagnosis]] = {
    "gradient": lambda nets: jv.diagnose(nets.mlp(), nets.x, jv.gradient(nets.mlp(), nets.x, target=0), target=0),
    "integrated_gradients": lambda nets: jv.diagnose(
        nets.mlp(), nets.x, jv.integrated_gradients(nets.mlp(), nets.x, target=1), target=1, baseline=0
    ),
    "shapley_values": lambda nets: jv.diagnose(
        nets.mlp(),
        nets.x,
        jv.shapley_values(nets.mlp(), nets.x, target=1, baseline=0.3),
        target=1,
        baseline=0.3,
        tolerance=0,
    ),
    "softmax": lambda nets: jv.diagnose(nets.mlp(nn.softmax), nets.x / 10, target=1),
    "tokens": lambda nets: jv.diagnose(
        nets.tokens(),
        nets.ids,
        jv.at_layer(jv.integrated_gradients, ("embed",))(nets.tokens(), nets.ids, target=1),
        target=1,
        baseline=0,
    ),
    "nothing but inputs": lambda nets: jv.diagnose(nets.mlp(), nets.x, target=np.array([0, 1, 2, 0])),
    "masked logits": lambda nets: jv.diagnose(
        nets.function(lambda x: nn.softmax(jv.tag(jnp.where(jnp.arange(5)[None] > 1, x, -jnp.inf), "masked"))),
        nets.x,
        target=3,
    ),
    "a branch that is not taken": lambda nets: jv.diagnose(
        nets.function(
            lambda x: jax.lax.cond(x.sum() > 1e9, lambda x: jv.tag(2 * x, "a"), lambda x: jv.tag(3 * x, "b"), x)
        ),
        nets.x,
        target=0,
    ),
    "an nnx module": lambda nets: jv.diagnose(jv.Model.from_nnx(nnx.Linear(5, 2, rngs=nnx.Rngs(0))), nets.x, target=0),
    "a recurrent network": lambda nets: jv.diagnose(*recurrent(), target=0),
    "shares without a softmax": lambda nets: jv.diagnose(
        nets.function(lambda x: x / x.sum(axis=1, keepdims=True)), f32([[1, 1e-4], [1e-5, 1]]), target=0
    ),
    "complex values": lambda nets: jv.diagnose(
        nets.function(lambda x: jnp.abs(jv.tag(jnp.fft.fft(x), "spectrum"))), nets.x, target=1
    ),
    "a ReLU is no sigmoid": lambda nets: jv.diagnose(
        nets.function(lambda x: nn.relu(jv.tag(x * 100, "in")) - jnp.tanh(x)), -np.abs(nets.x) - 0.1, target=0
    ),
    "outputs of several arrays": lambda nets: jv.diagnose(
        nets.function(lambda x: (x, x**2)), nets.x, target=lambda both: both[1][:, 0]
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_explanation_has_no_findings(nets, name):
    diagnosis = HEALTHY[name](nets)
    assert diagnosis.ok, str(diagnosis)
    assert not diagnosis
    assert str(diagnosis).startswith("No findings in ")


SIGNED = jnp.array([[-1.0, -2.0], [3.0, 0.5]])


def norm_of_nothing(x: jax.Array) -> jax.Array:
    hidden = jv.tag(x * jnp.array([[0.0]]), "hidden")
    return jnp.sqrt(jv.tag((hidden**2).sum(axis=1), "square"))


ROOT = lambda nets: nets.function(lambda x: jv.tag(jnp.sqrt(jv.tag(x, "before")), "root").sum(axis=1))
LOG = lambda nets: nets.function(lambda x: jnp.log(jv.tag(x, "before")).sum(axis=1))


# code -> a diagnosis that finds it, the examples, and what its text says
FOUND: dict[str, tuple[Callable[[Any], jv.Diagnosis], tuple[int, ...], str]] = {
    "parameters_not_finite": (
        lambda nets: jv.diagnose(nets.mlp(Dense_1_bias=[1, np.nan, np.inf, 0, 0, 0]), nets.x, target=0),
        (0, 1, 2, 3),
        "'params/Dense_1/bias' has 1 NaN and 1 inf",
    ),
    "activation_not_finite": (
        lambda nets: jv.diagnose(ROOT(nets), f32([[1, 4], [-1, 4]])),
        (1,),
        "the output of layer 'root', with 1 NaN; the output of layer 'before' is computed before it, and finite",
    ),
    "outputs_not_finite": (
        lambda nets: jv.diagnose(LOG(nets), f32([[1, 4], [0, 4]])),
        (1,),
        "1 inf, while the values of all layers are finite: they arise after the output of layer 'before'",
    ),
    "score_not_finite": (
        lambda nets: jv.diagnose(nets.mlp(), nets.x, target=lambda outputs: jnp.log(outputs[:, 0] * jnp.float32(0))),
        (0, 1, 2, 3),
        "the target makes it so",
    ),
    "gradient_not_finite": (
        lambda nets: jv.diagnose(nets.function(norm_of_nothing), nets.x),
        (0, 1, 2, 3),
        "between the outputs and the output of layer 'square', where it has 4 inf",
    ),
    "attribution_not_finite": (
        lambda nets: jv.diagnose(nets.mlp(), nets.x, np.where(nets.x > 1, np.nan, nets.x), target=0),
        (1, 3),  # of which an input is above 1
        "The model, its score and its gradient are finite",
    ),
    "softmax_saturated": (
        lambda nets: jv.diagnose(nets.saturated(nn.softmax), nets.mixed, target=0),
        (0, 1),
        "Explain the logit instead: model.until('logits')",
    ),
    "sigmoid_saturated": (
        lambda nets: jv.diagnose(nets.saturated(nn.sigmoid), nets.mixed, target=0),
        (0, 1),
        "Explain the value before the sigmoid instead: model.until('logits')",
    ),
    "tanh_saturated": (
        lambda nets: jv.diagnose(nets.saturated(nn.tanh), nets.mixed, target=0),
        (0, 1),
        "Explain the value before the tanh instead: model.until('logits')",
    ),
    "input_ignored": (
        lambda nets: jv.diagnose(nets.function(lambda x: jax.jit(lambda a, b: a)(*x).sum(axis=1)), (nets.x, nets.x)),
        (0, 1, 2, 3),
        "the score is not computed from inputs[1]",
    ),
    "no_derivative": (
        lambda nets: jv.diagnose(
            nets.function(lambda x: (jnp.round(x) + x.astype(int).astype(float)).sum(axis=1)), nets.x * 9
        ),
        (0, 1, 2, 3),
        "round, convert_element_type to int32",
    ),
    "score_constant": (
        lambda nets: jv.diagnose(nets.mlp(Dense_1_bias=-100.0), nets.x, target=0),
        (0, 1, 2, 3),
        "it changed by at most 0,",
    ),
    "gradient_zero": (
        lambda nets: jv.diagnose(
            nets.function(lambda x: jv.tag(nn.relu(jv.tag(x @ SIGNED, "in")), "out").sum(axis=1)),
            f32([[0.5, 1], [1, -0.5], [2, 0.1]]),
        ),
        (1, 2),
        "comes from the score back to the output of layer 'out', and not to the output of layer 'in'. All 2 units are off",
    ),
    "equals_baseline": (
        lambda nets: jv.diagnose(nets.mlp(), nets.x, target=0, baseline=nets.x * f32([[1], [0], [1], [0]])),
        (0, 2),
        "The inputs are the baseline",
    ),
    "partly_equals_baseline": (
        lambda nets: jv.diagnose(
            nets.mlp(), nets.x, target=0, baseline=np.where(np.arange(20).reshape(4, 5) < 8, nets.x, 0)
        ),
        (1,),
        "60% of the inputs' values are the baseline's",
    ),
    "attribution_zero": (
        lambda nets: jv.diagnose(nets.mlp(Dense_1_bias=-100.0), nets.x, np.zeros_like(nets.x), target=0),
        (0, 1, 2, 3),
        "goes with what is told above: score_constant, gradient_zero",
    ),
    "attribution_constant": (
        lambda nets: jv.diagnose(
            nets.mlp(),
            nets.x,
            nets.x * 0 + f32([[0], [1], [2], [3]]) + nets.x * f32([[1], [0], [0], [0]]),
            target=0,
        ),
        (1, 2, 3),
        "the same value at all of its 5 places, from 1 to 3",
    ),
    "attribution_integers": (
        lambda nets: jv.diagnose(nets.mlp(), nets.x, (nets.x * 9).astype(int), target=0),
        (0, 1, 2, 3),
        "has dtype int64: fractions are cut off",
    ),
    "completeness_gap": (
        lambda nets: jv.diagnose(
            nets.function(lambda x: (x**3).sum(axis=1)), np.abs(nets.x), np.abs(nets.x) ** 3 * 1.2, baseline=0
        ),
        (0, 1, 2, 3),
        "the gap is 20% of it, 5% are allowed",
    ),
}


@pytest.mark.parametrize("code", FOUND)
def test_each_finding(nets, code):
    call, examples, text = FOUND[code]
    diagnosis = call(nets)
    finding = nets.only(diagnosis, code)
    assert finding.examples == examples
    assert text in f"{finding.meaning} {finding.advice}", str(diagnosis)
    assert diagnosis
    assert not diagnosis.ok
    assert code in diagnosis.codes
    for value in finding.measured.values():
        if type(value) is tuple and value and not isinstance(value[0], str):
            assert len(value) == len(examples)
    assert f". {code}: " in str(diagnosis)


def test_each_code_is_documented():
    codes = set(
        re.findall(r"`([a-z]+_[a-z_]+)`", documented.__doc__.split("The codes of findings are")[1].split("Raises")[0])
    )
    assert codes == set(FOUND)


def test_numbers_of_completeness_are_those_of_completeness_gap(nets):
    model, inputs = nets.mlp(), nets.x * 3
    settings: Any = {"target": 0, "baseline": 0.1}
    with pytest.warns(jv.AttributionWarning, match="do not sum to what the score differs by"):
        attribution = jv.integrated_gradients(model, inputs, steps=1, quadrature="riemann_left", **settings)
    gap = np.asarray(jv.completeness_gap(model, inputs, attribution, **settings))
    finding = nets.only(jv.diagnose(model, inputs, attribution, tolerance=0, **settings), "completeness_gap")
    measured = finding.measured
    np.testing.assert_allclose(
        np.subtract(measured["sum"], measured["difference"]), gap[list(finding.examples)], rtol=1e-4
    )
    assert jv.diagnose(model, inputs, attribution, tolerance=1e9, **settings).ok
    without = jv.diagnose(model, inputs, attribution, tolerance=None, **settings)
    assert without.ok
    assert "completeness (tolerance is None)" in str(without)


def test_a_map_that_the_method_cut_off(nets):
    model = nets.function(lambda x: -jv.tag(x, "grid").sum(axis=(1, 2)))
    x = np.ones((2, 4, 3), np.float32)
    with pytest.warns(jv.AttributionWarning, match="relu=True took away"):
        cam = jv.grad_cam(model, x, layer="grid")
    finding = nets.only(jv.diagnose(model, x, cam), "attribution_zero")
    assert "its largest value is at least 1." in finding.meaning
    assert "relu=False shows it" in finding.advice


def test_several_inputs_and_layers(nets):
    model = nets.function(lambda x: jv.tag(x[0] * 2, "a").sum(axis=1) + 0 * jv.tag(x[1], "b"))
    inputs = (nets.x, nets.x[:, 0])
    with pytest.warns(
        jv.AttributionWarning, match=r"of inputs\[1\] is all zero in every example\. It may be that the score does"
    ):
        attribution = jv.input_x_gradient(model, inputs)
    assert jv.diagnose(model, inputs, attribution, baseline=(0, np.float32(7))).codes == (
        "score_constant",
        "attribution_zero",
    )
    zero = nets.only(jv.diagnose(model, inputs, attribution, baseline=0), "attribution_zero")
    assert "The attribution[1] is 0 everywhere" in zero.meaning
    half = nets.only(jv.diagnose(model, inputs, baseline=(nets.x, 3.0)), "partly_equals_baseline")
    assert half.measured["share"] == (pytest.approx(5 / 6),) * 4
    layers = jv.at_layer(jv.gradient, ("a", "b"), jointly=False)(model, inputs)
    diagnosis = jv.diagnose(model, inputs, layers, baseline=0)
    assert "The attribution['b'] is 0" in str(diagnosis)
    assert "completeness (several layers may share one score" in str(diagnosis)
