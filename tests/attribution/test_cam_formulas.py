"""The kin of Grad-CAM: against naive float64 formulas on a network whose gradient is known, and against values found by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(2, 6, 8, 2))
MIX = RANDOM.normal(size=(2, 3))
HEAD = RANDOM.normal(size=(3, 4, 3, 4))  # a weight for each position, channel and class
TARGET = np.array([3, 1])


def network(params, x):
    """Channels 2 -> 3 at every second position, a positive activation, then a dense layer on the whole grid."""
    grid = jv.tag(jnp.square(jnp.einsum("...c,cd->...d", x[:, ::2, ::2], params[0])), "grid")
    return jnp.einsum("bhwc,hwck->bk", grid, params[1])


MODEL = jv.Model.from_function(network, (jnp.asarray(MIX, jnp.float32), jnp.asarray(HEAD, jnp.float32)))
INPUTS = jnp.asarray(X, jnp.float32)
ACTIVATION = (X[:, ::2, ::2] @ MIX) ** 2
GRADIENT = np.stack([HEAD[..., target] for target in TARGET])


def scores(x):
    return np.einsum("bhwc,hwck->bk", (x[:, ::2, ::2] @ MIX) ** 2, HEAD)[np.arange(2), TARGET]


def over_positions(values):
    return values.sum(axis=(1, 2), keepdims=True)


def plus_plus():
    alpha = GRADIENT**2 / (2 * GRADIENT**2 + over_positions(ACTIVATION) * GRADIENT**3)
    return (over_positions(np.maximum(GRADIENT, 0) * alpha) * ACTIVATION).sum(axis=-1)


def xgrad():
    weights = over_positions(GRADIENT * ACTIVATION / over_positions(ACTIVATION))
    return (weights * ACTIVATION).sum(axis=-1)


def score_cam(baseline):
    weights = np.empty((2, 3))
    for channel in range(3):
        mask = ACTIVATION[..., channel]
        for axis, places in ((1, 6), (2, 8)):
            mask = np.apply_along_axis(enlarged, axis, mask, places)
        mask = mask - mask.min(axis=(1, 2), keepdims=True)
        mask = (mask / mask.max(axis=(1, 2), keepdims=True))[..., None]
        weights[:, channel] = scores(mask * X + (1 - mask) * baseline)
    weights = np.exp(weights - weights.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return (weights[:, None, None] * ACTIVATION).sum(axis=-1)


def enlarged(line, places):
    """Linear interpolation, pixels being areas; beyond the centers of the ends, their values."""
    return np.interp((np.arange(places) + 0.5) * len(line) / places - 0.5, np.arange(len(line)), line)


def ablation():
    whole = scores(X)
    weights = np.empty((2, 3))
    for channel in range(3):
        left = ACTIVATION * (np.arange(3) != channel)
        weights[:, channel] = (whole - (left * GRADIENT).sum(axis=(1, 2, 3))) / np.abs(whole)
    return (weights[:, None, None] * ACTIVATION).sum(axis=-1)


def component(values):
    maps = []
    for example in values.reshape(2, -1, values.shape[-1]):
        centered = example - example.mean(axis=0)
        along = np.linalg.svd(centered)[2][0]
        projected = centered @ along
        maps.append(projected * np.sign(projected @ centered.sum(axis=1)))
    return np.reshape(maps, values.shape[:3])


def largest_positive(maps):
    ends = np.abs(maps).reshape(2, -1).argmax(axis=1)
    return maps * np.sign(maps.reshape(2, -1)[np.arange(2), ends])[:, None, None]


def kernel_component(values):
    maps = []
    for example in values.reshape(2, -1, values.shape[-1]):
        centered = example - example.mean(axis=0)
        kernel = np.tanh(centered @ centered.T / values.shape[-1] + 1)
        middle = np.eye(len(kernel)) - 1 / len(kernel)
        lengths, vectors = np.linalg.eig(middle @ kernel @ middle)
        largest = lengths.real.argmax()
        projected = vectors[:, largest].real * np.sqrt(lengths[largest].real)
        maps.append(projected * np.sign(projected @ centered.sum(axis=1)))
    return np.reshape(maps, values.shape[:3])


def fem():
    mean, deviation = ACTIVATION.mean(axis=(1, 2), keepdims=True), ACTIVATION.std(axis=(1, 2), keepdims=True)
    return (mean * (mean + 2 * deviation < ACTIVATION)).sum(axis=-1)


EXPECTED = {
    "grad_cam_pp": plus_plus(),
    "xgrad_cam": xgrad(),
    "hires_cam": (GRADIENT * ACTIVATION).sum(axis=-1),
    "layer_cam": (np.maximum(GRADIENT, 0) * ACTIVATION).sum(axis=-1),
    "eigen_cam": component(ACTIVATION),
    "eigen_grad_cam": component(ACTIVATION * GRADIENT),
    "seg_eigen_cam": largest_positive(component(ACTIVATION * np.abs(GRADIENT))),
    "kpca_cam": kernel_component(ACTIVATION),
    "fem_cam": fem(),
    "shapley_cam": (GRADIENT.mean(axis=(1, 2), keepdims=True) * ACTIVATION).sum(
        axis=-1
    ),  # there is no second derivative
    "score_cam": score_cam(0.0),
    "ablation_cam": ablation(),
}


def close(ours, expected, tolerance=2e-5):
    assert ours.shape == expected.shape
    assert np.abs(np.asarray(ours, np.float64) - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("method", EXPECTED)
def test_against_the_formula(method):
    cam = getattr(jv, method)
    expected = EXPECTED[method]
    close(cam(MODEL, INPUTS, layer="grid", target=TARGET, relu=False, upsample=False), expected)
    expected = np.maximum(expected, 0)
    for axis, places in ((1, 6), (2, 8)):
        expected = np.apply_along_axis(enlarged, axis, expected, places)
    close(cam(MODEL, INPUTS, layer="grid", target=TARGET), expected)


def test_more_channels_than_positions_have_the_same_component():
    # of the two Gram matrices the smaller one is taken
    wide = jnp.concatenate(
        [INPUTS[:, :2, :2], INPUTS[:, 2:4, :2], INPUTS[:, 4:, :2]], axis=-1
    )  # 4 positions, 6 channels
    model = jv.Model.from_function(lambda params, x: jv.tag(x, "grid").sum(axis=(1, 2)), ())
    close(jv.eigen_cam(model, wide, layer="grid", relu=False), component(np.asarray(wide, np.float64)))


def test_score_cam_with_a_baseline():
    baseline = np.array([0.5, -1.0])
    ours = jv.score_cam(
        MODEL, INPUTS, layer="grid", target=TARGET, baseline=baseline, relu=False, upsample=False, chunk_size=1
    )
    close(ours, score_cam(baseline))


def test_a_negative_score_does_not_turn_ablation_around():
    # score -5: the first channel speaks for it (without it -8), the second against it (without it 3)
    model = jv.Model.from_function(lambda params, x: jv.tag(x, "grid").sum(axis=1) @ jnp.array([3.0, -1.0]), ())
    x = jnp.array([[[1.0, 0.0], [0.0, 8.0]]])
    cam = jv.ablation_cam(model, x, layer="grid", relu=False)
    np.testing.assert_allclose(cam, [[3 / 5, -8 * 8 / 5]], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*(all zero|no ReLU was found):jaxviz.AttributionWarning")  # they are meant to be
def test_where_there_is_nothing_all_maps_are_zero():
    # neither an activation, nor a gradient, nor a score: no method divides by 0
    model = jv.Model.from_function(lambda params, x: (0 * jv.tag(x, "grid")).sum(axis=(1, 2)), ())
    for method in ("grad_cam", *EXPECTED):
        for layer in ("grid", ("grid",)):
            assert not getattr(jv, method)(model, jnp.zeros((1, 4, 2)), layer=layer).any()
    assert not jv.full_grad(model, jnp.zeros((1, 4, 2))).any()
    assert not jv.guided_grad_cam(model, jnp.zeros((1, 4, 2)), layer="grid").any()


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # one of them is 0 by hand
def test_channels_of_other_signs_keep_theirs():
    # XGrad-CAM divides by a channel's sum, Grad-CAM++ adds to 2: by hand, for a sum of -4 and gradients 1
    model = jv.Model.from_function(lambda params, x: jv.tag(x, "grid").sum(axis=(1, 2)), ())
    x = jnp.array([[[-3.0], [-1.0]]])
    np.testing.assert_allclose(jv.xgrad_cam(model, x, layer="grid", relu=False), [[-3, -1]])
    np.testing.assert_allclose(jv.grad_cam_pp(model, x, layer="grid", relu=False), [[3, 1]])  # 2 / (2 - 4) of each
    np.testing.assert_allclose(jv.grad_cam_pp(model, x / 2, layer="grid", relu=False), [[0, 0]])  # 2 - 2: no weight


def test_one_volume_and_one_line():
    volume = jnp.asarray(RANDOM.normal(size=(2, 4, 2, 4, 2)), jnp.float32)
    model = jv.Model.from_function(lambda params, x: jv.tag(x[:, ::2, ::2, ::2], "grid").sum(axis=(1, 2, 3, 4)), ())
    line = jv.Model.from_function(lambda params, x: jv.tag(x[:, ::2], "grid").sum(axis=(1, 2)), ())
    for method in ("xgrad_cam", "eigen_cam", "kpca_cam", "shapley_cam", "score_cam", "ablation_cam"):
        assert getattr(jv, method)(model, volume, layer="grid").shape == (2, 4, 2, 4)
        assert getattr(jv, method)(line, volume[:, 0, 0], layer="grid").shape == (2, 4)


def test_token_ids():
    table = jnp.asarray(RANDOM.normal(size=(5, 3)), jnp.float32)
    model = jv.Model.from_function(lambda params, x: jv.tag(params[x], "embedding").sum(axis=1), table)
    tokens = jnp.array([[0, 4, 2, 2]])
    assert jv.eigen_cam(model, tokens, layer="embedding", upsample=False).shape == (1, 4)
    cam = jv.ablation_cam(model, tokens, layer="embedding", target=1, relu=False, upsample=False)
    share = table[tokens][..., 1]
    np.testing.assert_allclose(cam, share * np.sign(share.sum()), rtol=1e-5)
    with pytest.raises(
        ValueError, match=r"score_cam: layer 'embedding' has 1 spatial axes, and no input of shapes \[\(1, 4\)\]"
    ):
        jv.score_cam(model, tokens, layer="embedding", target=1)
    with pytest.raises(TypeError, match="guided_grad_cam: inputs has dtype int32, which cannot be differentiated"):
        jv.guided_grad_cam(model, tokens, layer="embedding", target=1)
    # The score is the sum of the second column: 1 is its derivative there, 1 the mean of it, 0 that of the others.
    for method in (jv.hires_cam, jv.grad_cam, jv.layer_cam):
        np.testing.assert_allclose(method(model, tokens, layer="embedding", target=1, relu=False), share, rtol=1e-5)
    gradient = ("grad_cam_pp", "xgrad_cam", "eigen_grad_cam", "seg_eigen_cam", "shapley_cam")
    for name in (*gradient, "eigen_cam", "kpca_cam", "ablation_cam"):
        assert getattr(jv, name)(model, tokens, layer="embedding", target=1, relu=False).shape == (1, 4)
