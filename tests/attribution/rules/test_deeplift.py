"""DeepLIFT and DeepSHAP: against Captum, a naive float64 formula, numbers by hand; complete whatever the program does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.rules import rescale
from jaxviz.attribution.rules.pairs import pair
from jaxviz.program._compat import bind

FILE = Path(__file__).parents[2] / "reference" / "deeplift_figures.npz"
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("method", ["deeplift", "multipliers", "deep_shap"])
def test_against_captum(modules, method):
    model, figures = modules
    inputs, target, theirs = figures["inputs"], figures["target"], figures[method]
    if method == "deep_shap":
        ours = jv.deep_shap(model, inputs, target=target, baselines=figures["baselines"], chunk_size=2)
    else:
        bare = method == "multipliers"
        ours = jv.deeplift(model, inputs, target=target, baseline=figures["baseline"], multiply_by_inputs=not bare)
    assert np.abs(ours - theirs).max() <= 2e-6 * np.abs(theirs).max()


def _wired(kind: str) -> Any:
    """The networks `Wired` of `tests/reference/deeplift_figures.py`."""

    def apply(weights: Any, x: jax.Array) -> jax.Array:
        x = x @ weights["enter.weight"] + weights["enter.bias"][None]
        if kind == "skip":
            x = jnp.tanh(x) + x
        elif kind == "chain":
            x = jax.nn.sigmoid(jnp.tanh(x))
        else:
            x = jnp.tanh(x).reshape(-1, 4, 2).max(axis=2)
        return x @ weights["head.weight"] + weights["head.bias"][None]

    return apply


@pytest.mark.parametrize("kind", ["skip", "chain", "pooled"])
def test_captum_is_right_where_arrays_are_copied(kind):
    """Its hooks are on arrays: it is wrong where an activation's operand is used elsewhere, or is the result of another one."""
    with np.load(FILE) as stored:
        theirs = {key.removeprefix(f"{kind}/"): stored[key] for key in stored.files if key.startswith(f"{kind}/")}
    with jax.enable_x64(True):
        weights = {
            key.removeprefix("weights/"): jnp.asarray(theirs[key]) for key in theirs if key.startswith("weights/")
        }
        model = jv.Model.from_function(_wired(kind), weights)
        settings = {"target": theirs["target"], "baseline": theirs["baseline"]}
        ours = jv.deeplift(model, theirs["inputs"], **settings)
        gap, gap_of_hooks = (
            np.abs(jv.completeness_gap(model, theirs["inputs"], found, **settings)).max()
            for found in (ours, theirs["without"])
        )
    ours = np.asarray(ours)
    assert np.abs(ours - theirs["with copies"]).max() < 1e-12 * np.abs(ours).max()
    assert gap < 1e-12
    assert gap_of_hooks > 0.05 * np.abs(ours.sum(axis=1)).max()


def test_against_the_formula():
    """Multipliers by the chain rule, layer after layer, in numpy and float64."""
    weights = [RANDOM.normal(size=(4, 5)), RANDOM.normal(size=(5, 5)), RANDOM.normal(size=(5, 1))]
    functions = np.tanh, lambda x: np.maximum(x, 0)

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return jnp.maximum(jnp.tanh(x @ params[0]) @ params[1], 0) @ params[2]

    inputs, baseline = RANDOM.normal(size=(3, 4)), RANDOM.normal(size=(3, 4))
    value, reference = inputs, baseline
    slopes = []
    for kernel, function in zip(weights, functions, strict=False):
        value, reference = value @ kernel, reference @ kernel
        slopes.append((function(value) - function(reference)) / (value - reference))
        value, reference = function(value), function(reference)
    multiplier = np.tile(weights[2].T, (3, 1))
    for kernel, slope in zip(weights[1::-1], slopes[::-1], strict=True):
        multiplier = (multiplier * slope) @ kernel.T
    single = lambda array: jnp.asarray(array, jnp.float32)
    model = jv.Model.from_function(apply, jax.tree.map(single, weights))
    ours = jv.deeplift(model, single(inputs), baseline=single(baseline))
    np.testing.assert_allclose(ours, multiplier * (inputs - baseline), atol=1e-5)


def of(function: Callable[[jax.Array], jax.Array]) -> jv.Model:
    return jv.Model.from_function(lambda params, x: function(x), ())


@pytest.mark.parametrize(
    ("function", "inputs", "baseline", "expected"),
    [
        # 3 * 5 - 1 * 2 = 13: the first has 2 * (5 + 2) / 2, the second 3 * (3 + 1) / 2
        (lambda x: x[:, 0] * x[:, 1], [3.0, 5.0], [1.0, 2.0], [7.0, 6.0]),
        # 6 / 2 - 2 / 1 = 1: the first has 4 * (1/2 + 1) / 2, the second (1/2 - 1) * (6 + 2) / 2
        (lambda x: x[:, 0] / x[:, 1], [6.0, 2.0], [2.0, 1.0], [3.0, -2.0]),
        # the maximum grows from 2 to 7: all to what is the largest now; and back: to what was
        (lambda x: x.max(axis=1), [7.0, 1.0, 0.0], [0.0, 2.0, 1.0], [5.0, 0.0, 0.0]),
        (lambda x: x.max(axis=1), [0.0, 2.0, 1.0], [7.0, 1.0, 0.0], [-5.0, 0.0, 0.0]),
        (lambda x: jnp.minimum(x[:, 0], x[:, 1]), [4.0, 1.0], [2.0, 3.0], [0.0, -1.0]),
        # 10 - 2 = 8: each case half of its own difference (5, 0), the choice the rest: 3
        (lambda x: jnp.where(x[:, 2] > 0, x[:, 0], x[:, 1]), [10.0, 2.0, 1.0], [0.0, 2.0, -1.0], [5.0, 0.0, 3.0]),
        # the sorted numbers are 1, 5 and 2, 3
        (lambda x: jnp.sort(x, axis=1)[:, 1], [5.0, 1.0], [3.0, 2.0], [2.0, 0.0]),
        (lambda x: jax.nn.relu(x[:, 0]), [3.0], [-1.0], [3.0]),
        (lambda x: x[:, 0] * (x[:, 0] > 0).astype(jnp.float32), [3.0], [-1.0], [3.0]),
        (lambda x: jnp.floor(x[:, 0]) + x[:, 1] * 0, [2.5, 4.0], [0.9, 1.0], [2.0, 0.0]),
        (lambda x: jax.lax.stop_gradient(x[:, 0]), [2.5], [0.5], [2.0]),
    ],
)
def test_by_hand(function, inputs, baseline, expected):
    attribution = jv.deeplift(of(function), np.array([inputs], np.float32), baseline=np.array(baseline, np.float32))
    np.testing.assert_allclose(attribution, [expected], rtol=1e-6, atol=1e-6)


ACTIVATIONS = (
    *(
        "celu",
        "elu",
        "gelu",
        "hard_sigmoid",
        "hard_silu",
        "hard_tanh",
        "leaky_relu",
        "log_sigmoid",
        "log_softmax",
        "mish",
    ),
    *("relu", "relu6", "selu", "sigmoid", "silu", "soft_sign", "softmax", "softplus", "sparse_plus", "sparse_sigmoid"),
    *("squareplus", "standardize", "tanh"),
)

FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    **{name: getattr(jax.nn, name) for name in ACTIVATIONS},
    "tanh gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "glu": lambda x: jax.nn.glu(x),
    "twice": lambda x: jax.nn.relu(jax.nn.relu(x) - 0.5),
    "powers": lambda x: x**2 + x**3 + jnp.abs(x) ** 1.7 + (jnp.abs(x) + 0.1) ** x,
    "waves": lambda x: jnp.sin(x) + jnp.cos(x) + jnp.tan(x / 9) + jnp.arctan2(x, x[:, ::-1]) + jnp.arcsin(x / 9),
    "roots": lambda x: jnp.log(x**2 + 1) * jnp.sqrt(x**2 + 1) + jax.lax.rsqrt(x**2 + 1) + jnp.cbrt(x),
    "special": lambda x: jax.scipy.special.erf(x) + jax.lax.lgamma(jnp.abs(x) + 1) + jax.lax.erf_inv(jnp.tanh(x) / 2),
    "quotient": lambda x: x[:, :4] / (3 + jnp.sin(x[:, 4:])) + 1 / (1 + x[:, :4] ** 2),
    "choices": lambda x: jnp.where(x > 0, x**2, -x) + jnp.where((x > 0) & (x < 1) | ~(x > -1), x, 3.0),
    "guarded": lambda x: jnp.where(x > 0, jnp.log(x), 0) + jnp.nan_to_num(x),
    "steps": lambda x: jnp.sign(x) + jnp.floor(x) + jnp.round(x) + jnp.heaviside(x, 0.5) + jnp.clip(x, -0.5, 0.6),
    "counts": lambda x: (x > 0).sum(axis=1, keepdims=True).astype(x.dtype) * x,
    "piecewise": lambda x: jnp.piecewise(x, [x < 0], [lambda x: -x, lambda x: x * x]),
    "extrema": lambda x: jnp.maximum(x, x[:, ::-1]) + jnp.minimum(x, 0.1) + x.max(axis=1, keepdims=True) - x.min(),
    "sorted": lambda x: jnp.sort(x, axis=1) + jax.lax.cummax(x, 1) + jnp.median(x, axis=1, keepdims=True),
    "top": lambda x: jax.lax.top_k(x, 3)[0] + jnp.take_along_axis(x, jnp.argmax(x, axis=1)[:, None], axis=1),
    "sums": lambda x: jnp.cumsum(x, axis=1) + jnp.cumprod(x / 2, axis=1) + jnp.prod(x, axis=1, keepdims=True),
    "moments": lambda x: x.mean() + x.var(axis=1, keepdims=True) + x.std(axis=1, keepdims=True),
    "norms": lambda x: x / jnp.linalg.norm(x, axis=1, keepdims=True),
    "products": lambda x: jnp.einsum("bi,bj->bij", x, x).reshape(x.shape[0], -1),
    "exponentials": lambda x: jnp.logaddexp(x, x[:, ::-1]) + jax.nn.logsumexp(x, axis=1, keepdims=True) + jnp.expm1(x),
    "straight through": lambda x: x + jax.lax.stop_gradient(jnp.round(x) - x),
    "spectrum": lambda x: jnp.abs(jnp.fft.rfft(x, axis=1)),
    "moved": lambda x: jnp.roll(x, 2, axis=1) * jnp.zeros_like(x).at[:, jnp.array([1, 3])].add(x[:, :2]),
    "branches": jax.vmap(lambda x: jax.lax.cond(x.sum() > 0, lambda x: x * 2, lambda x: x**2 - 1, x)),
    "loop": lambda x: jax.lax.fori_loop(0, 3, lambda i, x: jnp.tanh(x) + x[:, ::-1] / (i + 1.0), x),
    "constant": lambda x: 0 * x + 3,
}


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # some of them are constant
def test_completeness_of_every_operation():
    """In float64: whatever the operations, what the inputs have adds up to the difference of the score."""
    with jax.enable_x64(True):
        mix = jnp.asarray(RANDOM.normal(size=(6, 8)))
        inputs, baseline = jnp.asarray(RANDOM.normal(size=(5, 6))), jnp.asarray(RANDOM.normal(size=(5, 6)) / 2)
        with jax.numpy_dtype_promotion("standard"):
            apply = lambda params, x: jnp.stack([f(x @ params).mean(axis=1) for f in FUNCTIONS.values()], axis=1)
            model = jv.Model.from_function(one_by_one(apply), mix)
            gaps = {}
            for index, name in enumerate(FUNCTIONS):
                attribution = jv.deeplift(model, inputs, target=index, baseline=baseline)
                gap = jv.completeness_gap(model, inputs, attribution, target=index, baseline=baseline)
                gaps[name] = float(jnp.abs(gap).max()) if jnp.isfinite(attribution).all() else np.inf
    assert {name: gap for name, gap in gaps.items() if not gap < 1e-10} == {}


def one_by_one(apply: Any) -> Any:
    """The function of each example on its own, since some of these mix the batch."""
    return lambda params, x: jax.vmap(lambda one: apply(params, one[None])[0])(x)


class Cnn(nn.Module):
    @nn.compact
    def __call__(self, x):
        norm = lambda x: nn.BatchNorm(use_running_average=True)(x)
        x = nn.max_pool(nn.relu(norm(nn.Conv(4, (3, 3))(x))), (3, 3), (2, 2), ((1, 1), (1, 1)))
        x = nn.max_pool(nn.relu(norm(nn.Conv(4, (3, 3))(x)) + x), (2, 2), (2, 2))
        x = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 1, 1, 1), "SAME") / 20
        return nn.softmax(nn.Dense(3)(x.mean((1, 2))))


class Recurrent(nn.Module):
    cell: Any

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.RNN(self.cell(4))(x)[:, -1])


class Attention(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8)(x)
        x = x + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(x), mask=jnp.tril(jnp.ones((1, 1, 5, 5), bool)))
        x = nn.RMSNorm()(x + nn.Dense(8)(nn.gelu(nn.Dense(8)(nn.LayerNorm()(x)))))
        return nn.softmax(nn.Dense(3)(nn.GroupNorm(2)(x).mean(1)))


IMAGES, SEQUENCES = RANDOM.normal(size=(3, 8, 8, 2)), RANDOM.normal(size=(3, 5, 3))
NETWORKS = {
    "cnn": (Cnn(), IMAGES),
    "lstm": (Recurrent(nn.LSTMCell), SEQUENCES),
    "gru": (Recurrent(nn.GRUCell), SEQUENCES),
    "attention": (Attention(), SEQUENCES),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_completeness_of_networks(name):
    module, inputs = NETWORKS[name]
    inputs = jnp.asarray(inputs, jnp.float32)
    variables = jax.tree.map(lambda leaf: leaf * 1.3 + 0.05, module.init(jax.random.key(0), inputs))
    model = jv.Model.from_linen(module, variables)
    baseline = inputs[::-1] / 3
    attribution = jv.deeplift(model, inputs, target=1, baseline=baseline)
    gap = jv.completeness_gap(model, inputs, attribution, target=1, baseline=baseline)
    assert np.abs(gap).max() < 5e-7  # the outputs are about 1
    assert np.abs(attribution).max() > 1e-3


def test_a_tuple_of_inputs_and_a_callable_target():
    model = jv.Model.from_function(lambda params, x: jax.nn.relu(x[0] * x[1][:, :1]), ())
    inputs = jnp.array([[3.0, -2.0]]), jnp.array([[2.0]])
    attribution = jv.deeplift(model, inputs, target=lambda y: jnp.log1p(y.sum(axis=1)))
    assert jax.tree.map(jnp.shape, attribution) == ((1, 2), (1, 1))
    np.testing.assert_allclose(sum(leaf.sum() for leaf in attribution), np.log(7), rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "naive", "place"),
    [
        (jnp.tanh, np.tanh, 0.7),
        (jnp.exp, np.exp, -1.0),
        (jax.nn.sigmoid, lambda x: 1 / (1 + np.exp(-x)), 2.0),
        (jnp.log, np.log, 1e4),
        (jax.lax.rsqrt, lambda x: x**-0.5, 1e-3),
        (jnp.sqrt, np.sqrt, 300.0),
        (lambda x: x**5, lambda x: x**5, 20.0),
        (lambda x: 1 / x, lambda x: 1 / x, 1e3),
        (jnp.log1p, np.log1p, 1e-4),
        (jax.nn.softplus, lambda x: np.log1p(np.exp(x)), 0.3),
        (jax.nn.relu, lambda x: np.maximum(x, 0), 0.3),
    ],
)
def test_the_slope_between_any_two_numbers(function, naive, place):
    """In float32, however close the numbers are: the secant of float64."""
    scale = min(abs(place), 1.0) if naive(1.0) != np.log(1.0) else place
    distance = np.array([0, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.2, 0.5, 0.9]) * scale
    inputs, baseline = np.float32(place) * np.ones(12, np.float32), (place + distance).astype(np.float32)
    slope = jv.deeplift(
        of(lambda x: function(x)[:, 0]), inputs[:, None], baseline=baseline[:, None], multiply_by_inputs=False
    )
    x, x0 = inputs.astype(np.float64), baseline.astype(np.float64)
    close = np.abs(x - x0) < 1e-7 * np.abs(x)
    step = 1e-6 * np.abs(x)
    derivative = (naive(x + step) - naive(x - step)) / (2 * step)
    expected = np.where(close, derivative, (naive(x) - naive(x0)) / np.where(close, 1, x - x0))
    np.testing.assert_allclose(slope[:, 0], expected, rtol=2e-5)


def test_what_a_choice_guards_against():
    """Left out close to the baseline, too, where the derivative is NaN; a score that is NaN itself has no shares."""
    inputs, baseline = np.array([[4.0, -2.0], [9.0, -3.0]], np.float32), np.array([1.0, -2.001], np.float32)
    for root in (jnp.sqrt, jax.lax.rsqrt, lambda x: x**1.5, lambda x: jnp.exp(jnp.log(x) / 2)):
        guarded = of(lambda x, root=root: jnp.where(x > 0, root(x), 0.0).sum(axis=1))
        first = root(inputs[:, 0]) - root(baseline[:1])
        expected = np.stack([first, [0, 0]], axis=1)
        np.testing.assert_allclose(jv.deeplift(guarded, inputs, baseline=baseline), expected, rtol=1e-5)
    # Of x / norm(x) and x log(x), with 0 where they have no value: the whole difference, from a baseline where they have none.
    for function in (
        lambda x: jnp.where(jnp.linalg.norm(x, axis=1) > 0, x[:, 0] / jnp.linalg.norm(x, axis=1), 0.0),
        lambda x: jnp.where(x > 0, x * jnp.log(x), 0.0).sum(axis=1),
    ):
        np.testing.assert_allclose(jv.deeplift(of(function), inputs).sum(axis=1), function(inputs), rtol=1e-5)
    inputs[1] = 2.0
    with pytest.warns(jv.AttributionWarning, match="some example is NaN"):
        attribution = jv.deeplift(of(lambda x: jnp.sqrt(x).sum(axis=1)), inputs, baseline=1.0)
    assert np.isnan(attribution[0]).all()
    np.testing.assert_allclose(attribution[1], np.sqrt(2) - 1, rtol=1e-6)


def test_nothing_differs():
    """With the inputs as their own baseline: the derivative."""
    inputs = jnp.asarray(RANDOM.normal(size=(2, 4)), jnp.float32)
    model = of(lambda x: (jnp.tanh(x) * jax.nn.softmax(x) + x.max(axis=1, keepdims=True)).sum(axis=1))
    bare = jv.deeplift(model, inputs, baseline=inputs, multiply_by_inputs=False)
    np.testing.assert_allclose(bare, jv.gradient(model, inputs), rtol=1e-5, atol=1e-6)


def test_deep_shap_is_the_mean_over_the_baselines():
    model = of(lambda x: jax.nn.softmax(x)[:, 0] * x[:, 1])
    inputs, baselines = (RANDOM.normal(size=(n, 3)).astype(np.float32) for n in (2, 5))
    each = [jv.deeplift(model, inputs, baseline=baseline) for baseline in baselines]
    np.testing.assert_allclose(jv.deep_shap(model, inputs, baselines=baselines), np.mean(each, axis=0), atol=1e-6)
    np.testing.assert_allclose(
        jv.deep_shap(model, inputs, baselines=baselines, chunk_size=2), np.mean(each, axis=0), atol=1e-6
    )


def half(equation, operands, where):
    """A rule of a user's own: half of the derivative."""
    (x,) = operands
    (value,), (reference,) = bind(equation, [x.value]), bind(equation, [x.reference])
    return [pair(value / 2 + jax.lax.stop_gradient(value / 2), reference)]


class Two(nn.Module):
    @nn.compact
    def __call__(self, x):
        return (nn.relu(nn.Dense(1, name="first")(x)) + jnp.cbrt(Inner(name="second")(x)))[:, 0]


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x):
        return jnp.sin(nn.Dense(1)(x))


@pytest.mark.parametrize(
    ("rule", "got"),
    [
        (lambda equation, operands, where: [], "0 results"),
        (lambda equation, operands, where: operands[0], "Pair"),
        (lambda equation, operands, where: [operands[0].value[:1]], r"results of shapes \[\(1, 3\)\]"),
    ],
)
def test_what_an_own_rule_returns(rule, got):
    model = of(lambda x: jnp.tanh(x).sum(axis=1))
    words = (
        rf"^deeplift: the rule for 'tanh', in the model itself.*, must return a list .* shapes \[\(2, 3\)\], got {got}"
    )
    with pytest.raises(ValueError, match=words):
        jv.deeplift(model, jnp.ones((2, 3)), rules={"tanh": rule})


def test_own_rules():
    inputs = jnp.ones((1, 2))
    model = jv.Model.from_linen(Two(), Two().init(jax.random.key(3), inputs))
    plain = jv.deeplift(model, inputs)
    for rules in ({"sin": half}, {"second:sin": half}, {"seco*:*": half}):
        assert not np.allclose(jv.deeplift(model, inputs, rules=rules), plain)
    for rules in ({"cos": half}, {"first:sin": half}, {"second/Dense_0:sin": half}):
        np.testing.assert_array_equal(jv.deeplift(model, inputs, rules=rules), plain)
    seen = []

    def whole(equation, operands, where):
        seen.append(where)
        return rescale.elementwise(equation, operands, where)

    np.testing.assert_allclose(jv.deeplift(model, inputs, rules={"relu()": whole}), plain, rtol=1e-6)
    assert [str(where) for where in seen] == ["the model itself, outside of its layers"]


@pytest.mark.parametrize(
    ("method", "settings", "error", "words"),
    [
        (jv.deeplift, {"baseline": np.ones(3)}, ValueError, "deeplift: baseline of shape .* does not broadcast"),
        (
            jv.deeplift,
            {"rules": [1]},
            TypeError,
            "deeplift: rules must be a dict of primitive or layer -> rule, got list",
        ),
        (jv.deeplift, {"rules": {"sin": 3}}, TypeError, "rules must map names to functions .* got 'sin': 3"),
        (jv.deep_shap, {"baselines": 0.0}, TypeError, "deep_shap: baselines must be an array, got float"),
        (jv.deep_shap, {"baselines": np.ones(2)}, ValueError, r"must have the shape \(k, 2\), got \(2,\)"),
        (jv.deep_shap, {"baselines": np.ones((0, 2))}, ValueError, "has no baselines"),
        (jv.deep_shap, {"baselines": np.full((1, 2), np.nan)}, ValueError, "baselines must be finite"),
        (jv.deep_shap, {"baselines": np.ones((3, 2)), "chunk_size": 0}, ValueError, "chunk_size must be at least 1"),
    ],
)
def test_errors(method, settings, error, words):
    with pytest.raises(error, match=words):
        method(of(lambda x: x.sum(axis=1)), np.ones((1, 2), np.float32), **settings)


class Looping(nn.Module):
    @nn.compact
    def __call__(self, x):
        return jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x * 2, x)[:, 0]


class Next(nn.Module):
    @nn.compact
    def __call__(self, x):
        return jax.lax.nextafter(x, 2 * x)[:, 0]


class Around(nn.Module):
    inner: nn.Module

    @nn.compact
    def __call__(self, x):
        return self.inner(x)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Looping(), r"deeplift: .* through a while loop, in layer 'inner' \(Looping\), .* use jax.lax.scan"),
        (
            Next(),
            r"deeplift: no rule for the primitive 'nextafter', .* in layer 'inner' \(Next\); "
            r"give one: rules=\{'nextafter': rule\}",
        ),
    ],
)
def test_errors_name_the_layer(module, words):
    model = jv.Model.from_linen(Around(module), {"params": {}})
    with pytest.raises(ValueError, match=words):
        jv.deeplift(model, np.ones((1, 2), np.float32))
