"""Layers of class activation maps: several at once, tokens as grids, and what is said of layers that have no map."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.cam.tokens import fitting

pytestmark = [
    pytest.mark.usefixtures("quickly_compiled"),
    pytest.mark.filterwarnings("ignore:.*no ReLU was found:jaxviz.AttributionWarning"),  # some networks have none
]


class Vit(nn.Module):
    """A small vision transformer that is read out at its class token."""

    extra: int = 1

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (4, 4), (4, 4), name="patch")(x)
        x = x.reshape(x.shape[0], -1, 8)
        first = self.param("first", nn.initializers.normal(1.0), (1, self.extra, 8))
        x = jnp.concatenate([jnp.broadcast_to(first, (x.shape[0], self.extra, 8)), x], axis=1)
        y = nn.LayerNorm(name="norm")(x)
        x = jv.tag(x + nn.softmax(y @ y.mT) @ nn.Dense(8, name="value")(y), "block")
        x = nn.softmax(x @ x.mT) @ nn.gelu(x)
        return nn.Dense(3)(x[:, 0])


RANDOM = np.random.default_rng(0)
IMAGES = jnp.asarray(RANDOM.normal(size=(2, 16, 24, 3)), jnp.float32)  # 4 x 6 patches


def linen(module):
    """With random variables drawn by numpy: nothing is compiled."""
    draw = lambda leaf: jnp.asarray(RANDOM.normal(size=leaf.shape) / np.sqrt(max(np.size(leaf) / 8, 1)), leaf.dtype)
    return jv.Model.from_linen(module, jax.tree.map(draw, jax.eval_shape(module.init, jax.random.key(0), IMAGES)))


@functools.cache
def vit(**settings):
    module = Vit(**settings)
    return linen(module)


@pytest.mark.parametrize("extra", [1, 2])
def test_tokens_become_a_grid(extra):
    model = vit(extra=extra)
    tail, tokens = model.since("block", IMAGES)
    gradient = np.asarray(jv.gradient(tail, tokens, target=1), np.float64)[:, extra:].reshape(2, 4, 6, 8)
    activation = np.asarray(tokens, np.float64)[:, extra:].reshape(2, 4, 6, 8)
    expected = (gradient.mean(axis=(1, 2), keepdims=True) * activation).sum(axis=-1)
    cam = jv.grad_cam(model, IMAGES, layer="block", target=1, relu=False, upsample=False)
    np.testing.assert_allclose(cam, expected, atol=1e-6)
    if extra == 2:
        return
    # Enlarged as a grid of that layout is.
    enlarged = jax.image.resize(jnp.asarray(expected, jnp.float32), (2, 16, 24), "linear")
    np.testing.assert_allclose(jv.grad_cam(model, IMAGES, layer="block", target=1, relu=False), enlarged, atol=1e-6)


def test_second_derivatives_by_tokens_are_those_by_the_class_token_too():
    model = vit()
    images = IMAGES / 4  # tokens whose softmax is not of one alone
    tail, tokens = model.since("block", images)
    slope, bend = jax.jvp(jax.grad(lambda tokens: tail(tokens)[:, 1].sum()), (tokens,), (tokens,))
    weights = (slope - bend / 2)[:, 1:].mean(axis=1, keepdims=True)
    expected = np.asarray(weights * tokens[:, 1:]).sum(axis=-1).reshape(2, 4, 6)
    cam = jv.shapley_cam(model, images, layer="block", target=1, relu=False, upsample=False)
    assert np.abs(np.asarray(cam) - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.abs(np.asarray(bend)[:, 0]).max() > 0.1


def test_methods_of_every_kind_take_tokens():
    model = vit()
    for method in ("eigen_cam", "kpca_cam", "fem_cam", "shapley_cam", "score_cam", "full_grad"):
        settings = {} if method == "full_grad" else {"layer": "norm", "relu": False}
        cam = getattr(jv, method)(model, IMAGES, target=1, **settings)
        assert cam.shape == (2, 16, 24)
        assert np.asarray(cam).any()
    assert jv.guided_grad_cam(model, IMAGES, layer="norm", target=1).shape == IMAGES.shape


def test_ablation_is_of_all_tokens():
    model = vit()
    tail, tokens = model.since("block", IMAGES)
    score = np.asarray(tail(tokens), np.float64)[:, 1]
    weights = [
        score - np.asarray(tail(tokens * (jnp.arange(8) != c)[None, None].astype(jnp.float32)), np.float64)[:, 1]
        for c in range(8)
    ]
    weights = np.transpose(weights) / np.abs(score)[:, None]
    expected = (weights[:, None] * np.asarray(tokens)[:, 1:]).sum(axis=-1).reshape(2, 4, 6)
    cam = jv.ablation_cam(model, IMAGES, layer="block", target=1, relu=False, upsample=False, chunk_size=4)
    np.testing.assert_allclose(cam, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("tokens", "spatial", "grid"),
    [
        (196, (224, 224), (14, 14)),
        (197, (224, 224), (14, 14)),  # a class token
        (198, (224, 224), (14, 14)),  # and one for distillation
        (261, (224, 224), (16, 16)),  # and four registers
        (50, (224, 224), (7, 7)),
        (5, (8, 8), (2, 2)),
        (65, (32, 32), (8, 8)),
        (1 + 12 * 20, (192, 320), (12, 20)),
        (1 + 20 * 12, (320, 192), (20, 12)),
        (84, (30, 50), (7, 12)),  # patches of 4, what is left over cut off
        (2 + 12 * 101, (128, 1024), (12, 101)),  # patches that overlap
        (8 * 14 * 14, (32, 56, 56), (8, 14, 14)),
        (1 + 4 * 6 * 8, (16, 24, 32), (4, 6, 8)),
        (11, (30, 50), None),
        (23, (224, 224), None),
        (5, (1, 4), (1, 4)),
    ],
)
def test_the_grid_of_the_inputs_aspect_ratio(tokens, spatial, grid):
    assert fitting(tokens, spatial) == grid


def test_a_line_stays_a_line():
    # (batch, length, channels) of inputs with one spatial axis, or of none: 9 places are no grid of 3 x 3
    def network(params, x):
        x = x.sum(axis=-1) if x.ndim == 3 else x
        return jv.tag(x[..., None] * jnp.ones((1, 1, 2)), "line").sum(axis=(1, 2))

    model = jv.Model.from_function(network, ())
    line = jnp.arange(9.0)[None]
    assert jv.hires_cam(model, line[..., None], layer="line").shape == (1, 9)
    np.testing.assert_allclose(jv.hires_cam(model, line, layer="line", upsample=False), 2 * line)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), name="early")(x))
        x = jv.tag(nn.max_pool(x, (2, 2), (2, 2)), "pooled")
        x = nn.relu(nn.Conv(5, (3, 3), name="late")(x))
        return nn.Dense(3, name="head")(x.mean((1, 2)))


@pytest.fixture(scope="module")
def net():
    return linen(Net())


@pytest.mark.parametrize("method", ["grad_cam", "ablation_cam"])
def test_several_layers_are_the_mean_of_shares(net, method):
    cam = getattr(jv, method)
    expected = []
    for layer in ("early", "late"):
        one = np.asarray(cam(net, IMAGES, layer=layer, target=1, relu=False, upsample=False), np.float64)
        one = jnp.asarray(one / np.abs(one).max(axis=(1, 2), keepdims=True), jnp.float32)
        expected.append(jax.image.resize(one, (2, 16, 24), "linear"))
    both = cam(net, IMAGES, layer=("late", "early"), target=1, relu=False)
    np.testing.assert_allclose(both, np.mean(expected, axis=0), atol=1e-5)
    np.testing.assert_allclose(cam(net, IMAGES, layer=["*a*e", "early"], target=1, relu=False), both, atol=1e-6)


def test_a_later_layer_does_not_hide_an_earlier_one(net):
    # the derivative by an earlier layer goes through the later one
    alone = jv.hires_cam(net, IMAGES, layer="early", target=1, upsample=False)
    beside = jv.hires_cam(net, IMAGES, layer=("early", "pooled"), target=1, upsample=(8, 12))
    pooled = jv.hires_cam(net, IMAGES, layer="pooled", target=1, upsample=False)
    share = lambda cam: cam / cam.max(axis=(1, 2), keepdims=True)
    shares = jax.image.resize(share(alone), (2, 8, 12), "linear", antialias=False), share(pooled)
    np.testing.assert_allclose(beside, sum(shares) / 2, atol=1e-5)


@pytest.mark.parametrize(
    "method",
    ["grad_cam", "grad_cam_pp", "xgrad_cam", "hires_cam", "layer_cam", "score_cam", "ablation_cam", "eigen_cam",
     "eigen_grad_cam", "seg_eigen_cam", "kpca_cam", "fem_cam", "shapley_cam", "guided_grad_cam"],
)  # fmt: skip
def test_the_input_of_a_layer_is_what_a_tag_before_it_has(net, method):
    cam = functools.partial(getattr(jv, method), net, IMAGES, target=1, relu=False)
    entering = cam(layer="late", side="input")
    np.testing.assert_allclose(entering, cam(layer="pooled"), atol=1e-6)
    other = cam(layer="late")
    assert np.abs(entering - other).max() > 0.1 * np.abs(other).max()


@pytest.mark.parametrize(
    ("method", "settings", "error", "words"),
    [
        ("hires_cam", {"layer": "*a*"}, ValueError, r"layer '\*a\*' fits 3 layers; give one of them, or the tuple"),
        (
            "hires_cam",
            {"layer": ("early", "lat")},
            ValueError,
            "hires_cam: layer 'lat' not found; layers: early, pooled, late",
        ),
        ("hires_cam", {"layer": ()}, TypeError, r"or a tuple of paths and patterns, got \(\)"),
        ("hires_cam", {"layer": ("early", 1)}, TypeError, r"or a tuple of paths and patterns, got \(.early., 1\)"),
        (
            "hires_cam",
            {"layer": ("early", "late"), "upsample": False},
            ValueError,
            r"grids of several sizes, \(8, 12\), \(16, 24\)",
        ),
        (
            "eigen_cam",
            {"layer": "head"},
            ValueError,
            r"eigen_cam: layer 'head' has an activation of shape \(2, 3\), without spatial",
        ),
        (
            "layer_cam",
            {"layer": "head", "side": "input"},
            ValueError,
            r"layer_cam: the input of layer 'head' has an activation of shape \(2, 5\), without spatial",
        ),
        ("grad_cam", {"layer": "late", "side": "in"}, ValueError, "grad_cam: side must be one of 'output', 'input'"),
        ("score_cam", {"layer": "late", "chunk_size": 0}, ValueError, "score_cam: chunk_size must be at least 1"),
        (
            "score_cam",
            {"layer": "late", "baseline": np.ones(5)},
            ValueError,
            r"score_cam: baseline of shape \(5,\) does not",
        ),
        (
            "ablation_cam",
            {"layer": "late", "chunk_size": 1.5},
            TypeError,
            "ablation_cam: chunk_size must be a positive int",
        ),
        ("ablation_cam", {"layer": "late", "share": 0}, ValueError, "ablation_cam: share must be more than 0, got 0"),
        ("ablation_cam", {"layer": "late", "share": 1.5}, ValueError, r"ablation_cam: share must be in \[0, 1\]"),
        (
            "hires_cam",
            {"layer": "late", "eigen_smooth": 1},
            TypeError,
            "hires_cam: eigen_smooth must be True or False, got 1",
        ),
        ("guided_grad_cam", {"layer": "none"}, ValueError, "guided_grad_cam: layer 'none' not found"),
        ("full_grad", {"layer": "none"}, ValueError, "full_grad: layer 'none' not found"),
        ("full_grad", {"upsample": False}, ValueError, "full_grad: upsample must be True or a size"),
        (
            "full_grad",
            {"upsample": (3,)},
            ValueError,
            "full_grad: upsample must be one positive int for each of the inputs' 2",
        ),
        ("full_grad", {"upsample": (3, 0)}, ValueError, "full_grad: upsample must have positive ints"),
    ],
)
def test_errors(net, method, settings, error, words):
    with pytest.raises(error, match=words):
        getattr(jv, method)(net, IMAGES, target=1, **settings)


@pytest.mark.parametrize(
    "name", ["grad_cam", "hires_cam", "eigen_cam", "score_cam", "feature_factorization", "guided_grad_cam"]
)
def test_tokens_by_heads_are_no_grid(name):
    """Queries `(batch, tokens, heads, depth)` have as many axes as images; what is stretched over these is no map of them."""

    def network(params, x):
        rows = jv.tag(x.reshape(2, 4, 4, 6, 4, 3).swapaxes(2, 3).reshape(2, 24, 48), "patches")
        query = jv.tag(rows.reshape(2, 24, 2, 24), "query")
        return jv.tag(query.reshape(2, 4, 6, 48), "grid").sum(axis=(1, 2))

    model, method = jv.Model.from_function(network, ()), getattr(jv, name)
    words = rf"{name}: layer 'query' has an activation of shape \(2, 24, 2, 24\), whose axes \(24, 2\) are no grid"
    for layer in ("query", ("query", "grid")):
        if name == "feature_factorization" and layer != "query":
            continue
        with pytest.raises(ValueError, match=words + r".* row of tokens: patches, grid\. If"):
            method(model, IMAGES, layer=layer, target=1)
    if name == "grad_cam":  # who knows better says how large the map is to be, or takes it as it is
        assert method(model, IMAGES, layer="query", target=1, upsample=(16, 24)).shape == (2, 16, 24)
        assert method(model, IMAGES, layer="query", target=1, upsample=False).shape == (2, 24, 2)


def test_tokens_that_make_no_grid_are_an_error():
    model = jv.Model.from_function(lambda params, x: jv.tag(x.reshape(1, 5, -1)[:, :, :4], "odd").sum(axis=(1, 2)), ())
    with pytest.raises(
        ValueError, match=r"xgrad_cam: layer 'odd' .* whose 5 tokens .* make no grid .* \(3, 10\); give a layer"
    ):
        jv.xgrad_cam(model, jnp.ones((1, 3, 10, 2)), layer="odd")


@pytest.mark.filterwarnings(
    "ignore:.*all zero:jaxviz.AttributionWarning"
)  # a linear network without biases has none to show
def test_an_input_without_a_map_is_an_error():
    model = jv.Model.from_function(lambda params, x: jv.tag(x[0], "grid").sum(axis=(1, 2, 3)) + x[1].sum(axis=1), ())
    inputs = (jnp.ones((1, 4, 4, 2)), jnp.ones((1, 3)))
    assert jv.hires_cam(model, inputs, layer="grid").shape == (1, 4, 4)
    assert jv.score_cam(model, inputs, layer="grid").shape == (1, 4, 4)
    assert jv.full_grad(model, inputs).shape == (1, 4, 4)
    with pytest.raises(ValueError, match=r"guided_grad_cam: an input of shape \(1, 3\) has not as many spatial axes"):
        jv.guided_grad_cam(model, inputs, layer="grid")
    plain = jv.Model.from_function(lambda params, x: x.sum(axis=1), ())
    with pytest.raises(ValueError, match=r"full_grad: one input must have the shape \(batch, \*spatial, channels\)"):
        jv.full_grad(plain, jnp.ones((1, 3)))


def test_steps_of_a_scan_are_no_batch():
    # As many steps as examples: axis 0 of the layer's value are the steps.
    def network(params, inputs):
        def step(grid, _):
            return jv.tag(jnp.tanh(grid @ params), "steps"), None

        return jax.lax.scan(step, inputs, None, length=2)[0].mean((1, 2))

    model = jv.Model.from_function(network, jnp.eye(3))
    with pytest.raises(
        ValueError, match=r"layer 'steps' has an activation of shape \(2, 2, 4, 5, 3\), whose axis 0 is not"
    ):
        jv.grad_cam(model, jnp.ones((2, 4, 5, 3)), layer="steps", target=1)
