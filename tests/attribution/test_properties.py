"""What all methods have in common, for each of them on each kind of network. A new method is one more row of METHODS."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxviz as jv

pytestmark = [
    pytest.mark.usefixtures("quickly_compiled"),
    pytest.mark.filterwarnings("ignore:.*no ReLU was found:jaxviz.AttributionWarning"),  # some networks have none
]

TRACES = 0  # how often a network was traced, forwards


def traced(x: jax.Array) -> jax.Array:
    global TRACES
    TRACES += 1
    return x


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.max_pool(nn.relu(nn.Conv(4, (3, 3), name="conv")(traced(x))), (2, 2), (2, 2))
        return nn.Dense(3)(nn.tanh(nn.Conv(4, (3, 3))(x)).mean((1, 2)))


class Nnx(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.dense = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.dense(self.drop(nnx.silu(self.norm(self.conv(traced(x)))).mean((1, 2))))


def function(params: Any, x: jax.Array) -> jax.Array:
    x = jv.tag(jnp.tanh(jnp.einsum("bhwc,cd->bhwd", traced(x), params[0])), "conv")
    return jax.nn.softplus(x.reshape(x.shape[0], -1) @ params[1])


INPUTS = jax.random.normal(jax.random.key(0), (4, 6, 6, 2))
TARGET = jnp.array([0, 2, 1, 1])


@functools.cache
def network(kind: str) -> jv.Model:
    if kind == "linen":
        return jv.Model.from_linen(Linen(), Linen().init(jax.random.key(1), INPUTS))
    if kind == "nnx":
        return jv.Model.from_nnx(Nnx(nnx.Rngs(0)))
    normal = jax.random.normal
    return jv.Model.from_function(
        function, (normal(jax.random.key(2), (2, 4)), normal(jax.random.key(3), (144, 3)) / 10)
    )


class Row(NamedTuple):
    method: Callable[..., Any]
    settings: dict[str, Any] = {}  # noqa: RUF012 (the default of a tuple's field; never changed)
    chunked: bool = False
    random: bool = False  # noise is drawn for the batch as a whole
    complete: bool = False
    like_inputs: bool = True
    like_layer: bool = False  # "conv"
    tolerance: float = 2e-5


KEY = jax.random.key(7)
TILES = np.arange(4).reshape(2, 1, 2, 1, 1).repeat(3, 1).repeat(3, 3).reshape(6, 6, 1)  # groups of features
METHODS = {
    "gradient": Row(jv.gradient),
    "saliency": Row(jv.saliency),
    "input_x_gradient": Row(jv.input_x_gradient),
    "integrated_gradients": Row(jv.integrated_gradients, {"steps": 30, "baseline": 0.1}, chunked=True, complete=True),
    "integrated_gradients trapezoid": Row(
        jv.integrated_gradients,
        {"steps": 200, "baseline": 0.1, "quadrature": "trapezoid", "chunk_size": 400},
        complete=True,
    ),
    "expected_gradients": Row(
        jv.expected_gradients,
        {"baselines": np.ones((6, 6, 6, 2), np.float32) * np.float32(0.1), "samples": 6, "key": KEY},
        chunked=True,
        random=True,
    ),
    "expected_gradients of few baselines": Row(
        jv.expected_gradients,
        {"baselines": np.ones((2, 6, 6, 2), np.float32) * np.float32(0.1), "samples": 6, "key": KEY},
        chunked=True,
        random=True,
    ),
    "smooth gradient": Row(jv.smooth(jv.gradient, samples=5, noise=0.1), {"key": KEY}, chunked=True, random=True),
    "smooth variance": Row(
        jv.smooth(jv.gradient, samples=5, reduce="variance"), {"key": KEY}, chunked=True, random=True
    ),
    "smooth square": Row(jv.smooth(jv.gradient, samples=5, reduce="square"), {"key": KEY}, chunked=True, random=True),
    "smooth integrated_gradients": Row(
        jv.smooth(jv.integrated_gradients, samples=2), {"key": KEY, "steps": 8}, chunked=True, random=True
    ),
    "guided_integrated_gradients": Row(
        jv.guided_integrated_gradients, {"steps": 6, "baseline": 0.1, "fraction": 0.3, "max_distance": 0.1}
    ),
    "blur_integrated_gradients": Row(jv.blur_integrated_gradients, {"max_sigma": 2.0, "steps": 12}, chunked=True),
    "xrai": Row(
        jv.xrai, {"segments": (TILES, np.arange(36).reshape(6, 6) % 5), "steps": 8}, chunked=True, like_inputs=False
    ),
    "guided_backprop": Row(jv.guided_backprop),
    "deconvnet": Row(jv.deconvnet),
    "beta_smooth": Row(jv.beta_smooth, {"beta": 3.0}),
    "deeplift": Row(jv.deeplift, {"baseline": 0.1}, complete=True),
    "deep_shap": Row(jv.deep_shap, {"baselines": np.ones((6, 6, 6, 2), np.float32) * np.float32(0.1)}, chunked=True),
    "lrp": Row(jv.lrp),
    "lrp EpsilonPlusFlat": Row(jv.lrp, {"composite": "EpsilonPlusFlat"}),
    "grad_cam": Row(jv.grad_cam, {"layer": "conv"}, like_inputs=False),
    "grad_cam_pp": Row(jv.grad_cam_pp, {"layer": "conv"}, like_inputs=False),
    "xgrad_cam": Row(jv.xgrad_cam, {"layer": "conv"}, like_inputs=False, tolerance=1e-3),  # sums of tanh nearly cancel
    "hires_cam": Row(jv.hires_cam, {"layer": "conv"}, like_inputs=False),
    "layer_cam": Row(jv.layer_cam, {"layer": "conv"}, like_inputs=False),
    "eigen_cam": Row(jv.eigen_cam, {"layer": "conv"}, like_inputs=False),
    "eigen_grad_cam": Row(jv.eigen_grad_cam, {"layer": "conv"}, like_inputs=False),
    "seg_eigen_cam": Row(jv.seg_eigen_cam, {"layer": "conv"}, like_inputs=False),
    "kpca_cam": Row(jv.kpca_cam, {"layer": "conv"}, like_inputs=False),
    "fem_cam": Row(jv.fem_cam, {"layer": "conv", "deviations": 1.0, "relu": False}, like_inputs=False),
    "shapley_cam": Row(jv.shapley_cam, {"layer": "conv"}, like_inputs=False),
    "random_cam": Row(jv.random_cam, {"layer": "conv", "key": KEY}, random=True, like_inputs=False),
    "score_cam": Row(jv.score_cam, {"layer": "conv", "baseline": 0.1}, chunked=True, like_inputs=False),
    "ablation_cam": Row(jv.ablation_cam, {"layer": "conv"}, chunked=True, like_inputs=False),
    "ablation_cam of a share": Row(
        jv.ablation_cam, {"layer": "conv", "share": 0.25, "eigen_smooth": True}, chunked=True, like_inputs=False
    ),
    "guided_grad_cam": Row(jv.guided_grad_cam, {"layer": "conv"}),
    "full_grad": Row(jv.full_grad, like_inputs=False),
    "smooth grad_cam": Row(
        jv.smooth(jv.grad_cam, samples=3), {"layer": "conv", "key": KEY}, chunked=True, random=True, like_inputs=False
    ),
    "augmented grad_cam": Row(jv.augmented(jv.grad_cam, factors=(0.9, 1.1)), {"layer": "conv"}, like_inputs=False),
    "at_layer integrated_gradients": Row(
        jv.at_layer(jv.integrated_gradients, "conv"),
        {"steps": 8, "baseline": 0.1},
        chunked=True,
        like_inputs=False,
        like_layer=True,
    ),
    "at_layer deeplift": Row(jv.at_layer(jv.deeplift, "conv"), {"baseline": 0.1}, like_inputs=False, like_layer=True),
    "conductance": Row(
        jv.conductance, {"layer": "conv", "steps": 8, "baseline": 0.1}, chunked=True, like_inputs=False, like_layer=True
    ),
    "internal_influence": Row(
        jv.internal_influence,
        {"layer": "conv", "steps": 8, "baseline": 0.1},
        chunked=True,
        like_inputs=False,
        like_layer=True,
    ),
    "occlusion": Row(jv.occlusion, {"window": 3, "stride": 2, "baseline": 0.1}, chunked=True),
    "feature_ablation": Row(jv.feature_ablation, {"baseline": 0.1}, chunked=True),
    "shapley_sampling": Row(
        jv.shapley_sampling, {"samples": 2, "baseline": 0.1, "key": KEY}, chunked=True, complete=True
    ),
    "kernel_shap of few": Row(
        jv.kernel_shap, {"samples": 100, "nonzero": 5, "baseline": 0.1, "key": KEY}, chunked=True, complete=True
    ),
    "kernel_shap": Row(jv.kernel_shap, {"samples": 400, "baseline": 0.1, "key": KEY}, chunked=True, complete=True),
    "lime": Row(
        jv.lime, {"samples": 40, "surrogate": "ridge", "mask": TILES, "baseline": 0.1, "key": KEY}, chunked=True
    ),
    "rise": Row(jv.rise, {"samples": 30, "grid": 3, "baseline": 0.1, "key": KEY}, chunked=True),
}


@pytest.fixture(params=["linen", "nnx", "function"])
def model(request: pytest.FixtureRequest) -> jv.Model:
    return network(request.param)


@pytest.fixture(params=METHODS)
def row(request: pytest.FixtureRequest) -> Row:
    return METHODS[request.param]


def rows(applies: Callable[[Row], Any]) -> Any:
    """The methods that promise a property."""
    return pytest.mark.parametrize("row", [name for name, row in METHODS.items() if applies(row)], indirect=True)


def explain(row: Row, model: jv.Model, inputs: Any = INPUTS, target: Any = TARGET, **settings: Any) -> jax.Array:
    return row.method(model, inputs, target=target, **{**row.settings, **settings})


def close(one: Any, other: Any, tolerance: float = 2e-5) -> bool:
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return one.shape == other.shape and bool(np.abs(one - other).max() <= tolerance * np.abs(other).max())


def test_shape_dtype_and_finite_values(row, model):
    attribution = explain(row, model)
    shape = INPUTS.shape if row.like_inputs else INPUTS.shape[:3]
    assert attribution.shape == ((*shape, 4) if row.like_layer else shape)
    assert attribution.dtype == INPUTS.dtype
    assert np.isfinite(np.asarray(attribution)).all()
    assert np.abs(np.asarray(attribution)).max() > 0


@rows(lambda row: not row.random)  # another batch has other noise
def test_a_batch_is_its_examples(row, model):
    whole = explain(row, model)
    examples = [explain(row, model, np.asarray(INPUTS)[i : i + 1], int(TARGET[i])) for i in range(4)]
    assert close(np.concatenate(examples), whole, row.tolerance)


@pytest.mark.parametrize("model", ["nnx"], indirect=True)  # compiling each method again takes its time
def test_jit_changes_nothing(row, model):
    jitted = jax.jit(lambda model, inputs, target: explain(row, model, inputs, target))
    assert close(jitted(model, INPUTS, TARGET), explain(row, model), row.tolerance)


@rows(lambda row: row.complete)
def test_completeness(row, model):
    scores = model(INPUTS)[jnp.arange(4), TARGET]
    gap = jv.completeness_gap(model, INPUTS, explain(row, model), target=TARGET, baseline=row.settings["baseline"])
    # A kink on the path (of a ReLU, of a maximum) costs a quadrature about the share of one step.
    assert np.abs(np.asarray(gap)).max() < 1e-2 * np.abs(np.asarray(scores)).max()


@rows(lambda row: row.chunked)
@pytest.mark.parametrize("model", ["linen"], indirect=True)  # compiling each method again takes its time
def test_chunks_change_nothing(row, model):
    assert close(explain(row, model, chunk_size=8), explain(row, model))


def test_a_second_call_traces_nothing(row, model):
    explain(row, model)
    before = TRACES
    again = model.with_params(
        jax.tree.map(lambda leaf: leaf * 1 if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, model.params)
    )
    for target in (TARGET[::-1], 1, 2, np.int64(0), np.array([1, 1, 0, 2])):
        explain(row, again, INPUTS + 1, target)
    if "baseline" in row.settings:
        explain(row, again, baseline=0.7)
        explain(row, again, baseline=np.ones((6, 6, 1), np.float32))
    assert before == TRACES


@rows(lambda row: "key" in row.settings)
@pytest.mark.parametrize("model", ["linen"], indirect=True)  # compiling each method again takes its time
def test_the_same_key_gives_the_same_bits(row, model):
    one, same = explain(row, model), explain(row, model)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, explain(row, model, key=jax.random.key(8)))


def test_a_method_made_again_is_the_same_program(model):
    arguments: Any = (model, INPUTS)
    jv.smooth(jv.saliency, samples=3)(*arguments, target=0, key=KEY)
    before = TRACES
    jv.smooth(jv.saliency, samples=3)(*arguments, target=0, key=KEY)
    assert before == TRACES


def first_and_second(outputs: jax.Array) -> jax.Array:
    return outputs[:, 0] - outputs[:, 1]


@rows(lambda row: row.like_inputs)  # Grad-CAM is not linear in the score, for its ReLU
@pytest.mark.parametrize("model", ["function"], indirect=True)  # compiling each method again takes its time
def test_callable_target(row, model):
    attribution = explain(row, model, target=first_and_second)
    assert attribution.shape[0] == 4
    if row.method in (jv.gradient, jv.input_x_gradient, jv.integrated_gradients):
        assert close(explain(row, model, target=0) - explain(row, model, target=1), attribution, 1e-4)


@pytest.mark.filterwarnings(
    "ignore:.*all zero:jaxviz.AttributionWarning"
)  # equal values have no range, and get no noise
def test_tuple_of_inputs():
    weights = jnp.array([1.0, -2.0, 3.0])

    def apply(params: Any, inputs: Any) -> jax.Array:
        return (inputs[0] * weights[None]).sum(axis=1) * inputs[1][:, 0, 0]

    model = jv.Model.from_function(apply, ())
    inputs = (jnp.ones((2, 3)), jnp.full((2, 2, 1), 5.0))
    for name in ("gradient", "integrated_gradients", "smooth variance"):
        row = METHODS[name]
        settings = {"baseline": (0.0, jnp.zeros((2, 1)))} if "baseline" in row.settings else {}
        attribution = explain(row, model, inputs, None, **settings)
        assert jax.tree.map(jnp.shape, attribution) == jax.tree.map(jnp.shape, inputs)
    first, second = jv.gradient(model, inputs)
    assert close(first, 5 * jnp.stack([weights, weights]))
    assert close(second[:, :, 0], [[2.0, 0.0], [2.0, 0.0]])
    one, other = jv.integrated_gradients(model, inputs, steps=2)
    assert close(one.sum(axis=1) + other.sum(axis=(1, 2)), [10.0, 10.0])
