"""Composites: which operations the rules by path, pattern and class of modules are for, and what is said of the others."""

import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.rules import AlphaBeta, Composite, Epsilon, Gamma, Pass, ZBox, ZPlus, epsilon_gamma_box


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


LINEAR = (
    "Dense_0",
    "Dense_1",
    *(f"MultiHeadDotProductAttention_0/{name}" for name in ("query", "key", "value", "out")),
)


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm(param_dtype=jnp.float64, name="norm")(nn.Dense(5, param_dtype=jnp.float64, name="one")(x))
        return nn.Dense(3, param_dtype=jnp.float64, name="two")(x)


class Encoder(nn.Module):
    norm: Any = nn.LayerNorm

    @nn.compact
    def __call__(self, x):
        x = x + nn.MultiHeadDotProductAttention(2)(self.norm()(x))
        return x + nn.Dense(8)(nn.gelu(nn.Dense(8)(self.norm()(x))))


class Transformer(nn.Module):
    norm: Any = nn.LayerNorm

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(Encoder(self.norm, name="encoder")(nn.Dense(8)(x)).mean(1))


def made(module: nn.Module, *shape: int) -> tuple[jv.Model, jax.Array]:
    """The model, with random parameters of all kinds, and inputs."""
    dtype = jnp.float64 if isinstance(module, Normed) else jnp.float32
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), dtype)
    keys = iter(jax.random.split(jax.random.key(1), 100))
    variables = module.init(next(keys), x)
    return jv.Model.from_linen(
        module, jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(next(keys), leaf.shape, leaf.dtype), variables)
    ), x


def stable(z: np.ndarray) -> np.ndarray:
    return z + np.where(z < 0, -1e-6, 1e-6)


def gamma_rule(x: np.ndarray, w: np.ndarray, b: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """The gamma rule, 0.25, in float64, with loops over signs."""
    z, found = x @ w + b, np.zeros_like(x)
    for sign in (1, -1):
        favored = lambda part, sign=sign: np.maximum(sign * part, 0) * sign * 0.25 + part
        w_same, w_other = favored(w), w + 0.25 * (-sign) * np.maximum(-sign * w, 0)
        up, down = np.maximum(x, 0), np.minimum(x, 0)
        total = up @ w_same + down @ w_other + favored(b)
        share = np.where(sign * z > 0, relevance, 0) / stable(total)
        found += up * (share @ w_same.T) + down * (share @ w_other.T)
    return found


@pytest.mark.parametrize("rules", [{"layers": {"**": Gamma(0.25)}}, {"rules": {"dense": Gamma(0.25)}}])
def test_a_pattern_leaves_a_norm_its_own_rule(rules):
    """Dense layers have the gamma rule, the norm that of sums: a formula in float64."""
    with jax.numpy_dtype_promotion("standard"):
        model, x = made(Normed(), 4, 6)
        found = jv.lrp(model, x, target=1, composite=Composite(**rules))
    one, norm, two = (jax.tree.map(np.asarray, model.params["params"][name]) for name in ("one", "norm", "two"))
    hidden = np.asarray(x) @ one["kernel"] + one["bias"]
    centered = hidden - hidden.mean(axis=1, keepdims=True)
    scale = norm["scale"] / np.sqrt((centered**2).mean(axis=1, keepdims=True) + 1e-6)
    normed = centered * scale + norm["bias"]
    scores = normed @ two["kernel"] + two["bias"]
    relevance = gamma_rule(normed, two["kernel"], two["bias"], scores * (np.arange(3) == 1))
    share = relevance / stable(normed) * scale
    relevance = hidden * (share - share.mean(axis=1, keepdims=True))
    np.testing.assert_allclose(found, gamma_rule(np.asarray(x), one["kernel"], one["bias"], relevance), rtol=1e-9)


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
@pytest.mark.parametrize("rule", [ZPlus(), Epsilon(0.1)])
def test_a_broad_pattern_is_for_the_linear_layers_of_a_block(norm, rule):
    """Not for its norms, where it asks for weights, and not for the numbers that a GELU is made of."""
    model, x = made(Transformer(norm), 2, 5, 4)
    others = () if not isinstance(rule, Epsilon) else (f"{norm.__name__}_0", f"{norm.__name__}_1")
    one_by_one = Composite(layers={f"encoder/{name}": rule for name in (*LINEAR, *others)})
    expected = jv.lrp(model, x, target=0, composite=one_by_one)
    found = jv.lrp(model, x, target=0, composite=Composite(layers={"encoder/**": rule}))
    np.testing.assert_array_equal(found, expected)
    assert not np.allclose(jv.lrp(model, x, target=0, composite=Composite()), expected, rtol=1e-3)


def test_a_function_as_a_rule_that_asks_for_weights_or_not():
    model, x = made(Transformer(), 2, 5, 4)

    def asks(layer: Any, x: Any, relevance: Any) -> Any:
        return ZPlus()(layer, x, relevance)

    def does_without(layer: Any, x: Any, relevance: Any) -> Any:
        return Epsilon(0.1)(layer, x, relevance)

    for own, rule in ((asks, ZPlus()), (does_without, Epsilon(0.1))):
        found, expected = (
            jv.lrp(model, x, target=0, composite=Composite(layers={"encoder/**": one})) for one in (own, rule)
        )
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("norm", ["LayerNorm", "RMSNorm"])
def test_the_path_of_a_norm_has_no_rule_that_asks_for_weights(norm):
    model, x = made(Transformer(getattr(nn, norm)), 2, 5, 4)
    path = f"encoder/{norm}_1"
    for method in (jv.lrp, jv.relevance_report):
        words = (
            rf"^{method.__name__}: the rule AlphaBeta of composite.layers for '{path}' asks for weights, and what subtracts its "
            rf"mean or divides by its own scale has none, in layer '{path}' \({norm}\); the rules Epsilon, Norm and Pass do"
        )
        with pytest.raises(ValueError, match=words):
            method(model, x, target=0, composite=Composite(layers={path: AlphaBeta()}))
    for rule in (Epsilon(), Pass()):
        jv.lrp(model, x, target=0, composite=Composite(layers={path: rule}))


def test_a_rule_of_a_primitive_that_asks_for_weights():
    model = jv.Model.from_function(lambda params, x: jnp.tanh(x).sum(axis=1), ())
    words = "^lrp: the rule ZPlus of composite.primitives for 'tanh' asks for weights, and a primitive has none, in the"
    with pytest.raises(ValueError, match=words):
        jv.lrp(model, jnp.ones((1, 2)), composite=Composite(primitives={"tanh": ZPlus()}))


class Convolutional(nn.Module):
    """With a batch norm that is part of a linear layer, one that is not, and a head of which the score is not."""

    @nn.compact
    def __call__(self, x):
        norm = lambda name: nn.BatchNorm(use_running_average=True, name=name)
        x = nn.relu(norm("norm")(nn.Conv(4, (3, 3), name="conv")(x)))
        x = nn.max_pool(norm("alone")(x), (2, 2)).mean((1, 2))
        return nn.Dense(2, name="head")(x), nn.Dense(2, name="other")(x)


class Rectifier(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(x)


RULE = AlphaBeta()
BATCH_NORM = (
    r"what layer 'norm' \(BatchNorm\) scales and shifts is part of the linear layer 'conv' \(Conv\); give the rule to"
)
OF_OTHERS = r"what stands in the layers that 'encoder' holds is of those: composite.layers={'encoder/\*\*': rule}"
WEIGHTLESS = (
    r"it asks for weights, and layer 'encoder/LayerNorm_.' \(LayerNorm\) has none; the rules Epsilon, Norm and Pass do"
)
UNUSED = [
    (Convolutional(), "layers", "norm", RULE, BATCH_NORM),
    (Convolutional(), "layers", "no?m", Pass(), BATCH_NORM),
    (Transformer(), "layers", "encoder", RULE, OF_OTHERS),
    (Transformer(), "rules", "Encoder", Epsilon(), OF_OTHERS),
    (Transformer(), "rules", "LayerNorm", RULE, WEIGHTLESS),
    (Transformer(), "layers", "encoder/LayerNorm_*", RULE, WEIGHTLESS),
    (
        nn.Sequential([nn.Dense(3), Rectifier(), nn.Dense(2)]),
        "first",
        "Rectifier",
        RULE,
        "in layer 'layers_1' .* nothing that",
    ),
]


def score(outputs: Any) -> jax.Array:
    return jax.tree.leaves(outputs)[0][:, 1]


@pytest.mark.parametrize(("module", "argument", "name", "rule", "why"), UNUSED)
def test_a_rule_that_fits_a_layer_but_no_operation(module, argument, name, rule, why):
    shape = (
        (2, 6, 6, 3) if isinstance(module, Convolutional) else (2, 5, 4) if isinstance(module, Transformer) else (2, 3)
    )
    model, x = made(module, *shape)
    method = jv.relevance_report if argument == "layers" else jv.lrp
    words = f"{method.__name__}: composite.{argument} has the rule {type(rule).__name__} for {re.escape(repr(name))}"
    for _ in range(2):  # an error is not kept as a program
        with pytest.raises(ValueError, match=f"^{words}, which no operation has: {why}"):
            method(model, x, target=score, composite=Composite(**{argument: {name: rule}}))


@pytest.mark.parametrize(
    "rules",
    [
        {"rules": {"BatchNorm": RULE}},  # of which one follows no linear layer
        {"layers": {"norm": RULE, "conv": RULE}, "primitives": {"norm:*": lambda layer, x, relevance: relevance}},
        {"layers": {"other": RULE}},  # no relevance comes there
        {"layers": {"conv": RULE, "**": RULE}},  # another one goes before
        {"rules": {"Conv": RULE, "Dense": RULE}, "first": {"Dense": RULE, "dense": RULE}},
    ],
)
def test_rules_that_another_score_or_network_may_use(rules):
    model, x = made(Convolutional(), 1, 4, 4, 3)
    assert np.isfinite(jv.lrp(model, x, target=score, composite=Composite(**rules))).all()


def test_a_box_whose_low_is_above_its_high():
    for low, high in ((1.0, -1.0), (0, np.array([1.0, -1.0])), (jnp.ones(2), 0.5), (np.float32(2), jnp.zeros(()))):
        with pytest.raises(ValueError, match=r"^ZBox: low must be at most high, got "):
            ZBox(low, high)
        with pytest.raises(ValueError, match=r"^ZBox: low must be at most high, got "):
            epsilon_gamma_box(low, high)
    assert jax.jit(lambda low: ZBox(low, 1.0))(0.0) == ZBox(0.0, 1.0)
    ZBox(0.0, 0.0)


@pytest.mark.parametrize("scan", [False, True])
def test_inputs_outside_of_the_box_are_told_once(scan, monkeypatch):
    def apply(params: Any, x: jax.Array) -> jax.Array:
        x = (x - 0.5) / 0.25  # what enters the layer is from -2 to 2
        if not scan:
            return jnp.tanh(x @ params) @ params
        return (
            jax.lax.scan(lambda carry, w: (carry + jnp.tanh(x @ w), None), jnp.zeros_like(x), params[None])[0] @ params
        )

    model = jv.Model.from_function(apply, jnp.asarray(np.random.default_rng(0).normal(size=(4, 4))))
    composite = Composite({"dense": Epsilon()}, {"dense": ZBox(-2.0, np.array([2.0, 2.0, 2.0, 2.1]))})
    x = np.random.default_rng(1).uniform(0, 1, size=(3, 4))
    x[0, 0], x[1, 1] = 0, 1
    jv.lrp(model, jnp.asarray(x), target=1, composite=composite)  # warnings are errors here
    x[0, 0], x[1, 2], x[2, 3] = -0.1, 1.5, 1.02
    words = r": 2 of the 12 values that enter a layer with the rule ZBox\(-2, \[2.0, 2.0, 2.0, 2.1\]\) are outside of its box"
    for _ in range(2):  # and without another trace
        with pytest.warns(jv.AttributionWarning, match=f"^lrp{words}") as told:
            found = jv.lrp(model, jnp.asarray(x), target=1, composite=composite)
        assert [one.filename for one in told] == [__file__]
        monkeypatch.setattr("jaxviz.attribution.rules.lrp.relevance_score", None)
    with pytest.warns(jv.AttributionWarning, match=f"^relevance_report{words}"):
        report = jv.relevance_report(model, jnp.asarray(x), target=1, composite=composite)
    assert np.isclose(report.attribution, found.sum())


def test_rounding_is_not_outside_of_the_box():
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    model = jv.Model.from_function(
        lambda params, x: ((x - mean[None]) / deviation[None]) @ params, jnp.ones((3, 2), jnp.float32)
    )
    low, high = (0 - mean.astype(float)) / deviation, (1 - mean.astype(float)) / deviation
    x = jnp.asarray([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]], jnp.float32)
    jv.lrp(model, x, target=1, composite=Composite(first={"dense": ZBox(low, high)}))


class Spectrum(nn.Module):
    @nn.compact
    def __call__(self, x):
        return jnp.abs(jnp.fft.rfft(x))


@pytest.mark.parametrize(("argument", "name"), [("layers", "layers_1"), ("rules", "Spectrum"), ("first", "Spectrum")])
def test_a_rule_for_a_layer_is_none_for_a_primitive_without_one(argument, name):
    model, x = made(nn.Sequential([nn.Dense(4), Spectrum(), nn.Dense(2)]), 2, 3)
    words = rf"no rule for the primitive 'fft', .*, in layer 'layers_1' \(Spectrum\) \(that of composite.{argument} for '{name}' "
    with pytest.raises(
        ValueError, match=rf"^lrp: {words}is for what is linear there\); give one: composite=Composite\(primit"
    ):
        jv.lrp(model, x, target=1, composite=Composite(**{argument: {name: Epsilon()}}))
    with pytest.raises(ValueError, match=r"in layer 'layers_1' \(Spectrum\); give one"):
        jv.lrp(model, x, target=1)


@pytest.mark.parametrize("shared", [False, True])  # a function that is compiled once and called three times
def test_each_operation_of_a_function_has_its_own_row(shared):
    rng = np.random.default_rng(3)
    weights, biases = rng.normal(size=(3, 4, 4)), 0.5 * rng.normal(size=(3, 4))
    dense = lambda x, w, b: x @ w + b[None]
    dense = jax.jit(dense) if shared else dense

    def apply(params: Any, x: jax.Array) -> jax.Array:
        for w, b in zip(*params, strict=True):
            x = jnp.tanh(dense(x, w, b))
        return x

    x = rng.normal(size=(2, 4))
    report = jv.relevance_report(
        jv.Model.from_function(apply, (jnp.asarray(weights), jnp.asarray(biases))), jnp.asarray(x), target=1
    )
    inner, values = [x], []
    for w, b in zip(weights, biases, strict=True):
        values.append(inner[-1] @ w + b)
        inner.append(np.tanh(values[-1]))
    relevance = inner[-1] * (np.arange(4) == 1)
    expected = []
    for at, z, w in zip(inner[-2::-1], values[::-1], weights[::-1], strict=True):
        arriving, relevance = relevance.sum(), at * (relevance / stable(z) @ w.T)
        expected.append((arriving, relevance.sum()))
    assert [(flow.operation, flow.number) for flow in report.flows] == [("dense", 1), ("dense", 2), ("dense", 3)]
    np.testing.assert_allclose([(flow.arriving, flow.passed) for flow in report.flows], expected[::-1], rtol=1e-9)
    assert [line.split()[:3] for line in str(report).splitlines()[2:5]] == [["–", "dense", str(n)] for n in (1, 2, 3)]
    assert abs(report.elsewhere) < 1e-12


def test_rows_of_a_scan_are_sums_over_its_steps():
    w = jnp.asarray(np.random.default_rng(4).normal(size=(3, 4, 4)))
    step = lambda x, w: (jnp.tanh(x @ w), None)
    model = jv.Model.from_function(lambda params, x: jax.lax.scan(step, x, params)[0] @ params[0], w)
    report = jv.relevance_report(model, jnp.ones((1, 4)), target=1)
    assert [(flow.operation, flow.number) for flow in report.flows] == [("dense", 1), ("dense", 2)]
    assert abs(report.elsewhere) < 1e-12


def test_a_report_that_is_nan_says_why():
    model = jv.Model.from_function(lambda params, x: x @ params, jnp.full((2, 1), jnp.nan))
    with pytest.warns(
        jv.AttributionWarning, match="relevance_report: the relevance is NaN or infinite, since the model's"
    ):
        jv.relevance_report(model, jnp.ones((1, 2)))


def test_a_jitted_layer_that_is_called_twice_is_a_first_one_once():
    weights, inputs = jnp.asarray(np.random.default_rng(4).normal(size=(2, 4, 4)), jnp.float32), jnp.full((2, 4), 0.5)
    layer = jax.jit(lambda weights, x: jax.nn.relu(x @ weights))
    composite = Composite({"dense": Epsilon()}, first={"dense": ZBox(0.0, 1.0)})
    together = jv.Model.from_function(lambda params, x: layer(params[1], layer(params[0], x)).sum(axis=1), weights)
    apart = jv.Model.from_function(
        lambda params, x: jax.nn.relu(jax.nn.relu(x @ params[0]) @ params[1]).sum(axis=1), weights
    )
    found, expected = (jv.lrp(model, inputs, composite=composite) for model in (together, apart))
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
