"""The less common class activation maps: against float64 formulas, and pytorch-grad-cam's figures in float64."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

with np.load(Path(__file__).parents[1] / "reference" / "cam_kin_figures.npz") as stored:
    THEIRS = {name: stored[name] for name in stored.files}
of_cnn = pytest.mark.parametrize("reference", ["cnn"], indirect=True)
RANDOM = np.random.default_rng(5)
KEY = jax.random.key(3)
PLAIN: dict[str, Any] = {"relu": False, "upsample": False}
SUM = jv.Model.from_function(lambda params, x: jv.tag(x, "grid").sum(axis=tuple(range(1, x.ndim))), ())


def close(ours, theirs, tolerance=1e-5):
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    assert np.abs(theirs).max() > 0
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def explain(method, reference, **settings):
    model, figures = reference
    return method(model, figures["inputs"], **{"layer": "features", "target": figures["target"], **PLAIN, **settings})


def signed(ours, theirs):
    """Theirs with our sign, example by example."""
    return theirs * np.sign((np.asarray(ours) * theirs).sum(axis=(1, 2), keepdims=True))


@of_cnn
def test_element_wise(reference):
    found = explain(jv.hires_cam, reference, channels=True, relu=True)
    assert found.shape == (3, 6, 6, 8)
    close(found.sum(axis=-1), THEIRS["grad_cam_element_wise"])
    close(found.sum(axis=-1), explain(jv.layer_cam, reference))  # the activation is a ReLU's
    # Elsewhere LayerCAM takes the positive part of the gradient alone, not of its product with the activation.
    grid = jnp.array([[[-2.0, 3.0]]])
    assert jv.hires_cam(SUM, grid, layer="grid", channels=True).sum() == 3
    assert jv.layer_cam(SUM, grid, layer="grid", relu=False).sum() == 1


@of_cnn
def test_seg_eigen_cam(reference):
    ours = explain(jv.seg_eigen_cam, reference)
    close(ours, THEIRS["seg_eigen_cam"])
    ends = ours.reshape(3, -1)
    assert (ends.max(axis=1) > -ends.min(axis=1)).all()


@of_cnn
@pytest.mark.parametrize("name", [name.split("/")[1] for name in THEIRS if name.startswith("kpca_cam/")])
def test_kpca_cam(reference, name):
    kernel, *gamma = name.split()
    ours = explain(jv.kpca_cam, reference, kernel=kernel, gamma=float(gamma[0]) if gamma else None)
    theirs = THEIRS[f"kpca_cam/{name}"]
    close(ours, signed(ours, theirs), 2e-5)
    activation = reference.model.capture(reference.figures["inputs"], "features")["features"].sum(axis=-1)
    activation = activation - activation.mean(axis=(1, 2), keepdims=True)
    assert ((ours * activation).sum(axis=(1, 2)) > 0).all()
    if name == "linear":
        close(ours, explain(jv.eigen_cam, reference), 2e-5)


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # they are meant to be
@pytest.mark.parametrize("kernel", ["linear", "polynomial", "rbf", "sigmoid", "cosine"])
def test_positions_that_are_alike_have_no_component(kernel):
    assert not jv.kpca_cam(SUM, jnp.full((1, 3, 2), 2.0), layer="grid", kernel=kernel, relu=False).any()


@of_cnn
@pytest.mark.parametrize("deviations", [1, 2])
def test_fem_cam(reference, deviations):
    found = explain(jv.fem_cam, reference, channels=True, deviations=deviations)
    model, figures = reference
    activation = np.asarray(model.capture(figures["inputs"], "features")["features"], np.float64)
    mean, deviation = (getattr(activation, name)(axis=(1, 2), keepdims=True) for name in ("mean", "std"))
    close(found, mean * (activation > mean + deviations * deviation))
    close(explain(jv.fem_cam, reference, deviations=deviations), np.asarray(found).sum(axis=-1))
    # pytorch-grad-cam finds the same places strong, but gives their share to the whole channel.
    shares = (np.asarray(found) != 0).mean(axis=(1, 2), keepdims=True)
    close((shares * activation).sum(axis=-1), THEIRS[f"fem_cam/{deviations}"])


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # a grid without strong places
def test_fem_cam_of_a_volume_and_of_constant_channels():
    volume = RANDOM.normal(size=(2, 3, 4, 5, 2)).astype(np.float32) + np.float32(1)
    mean, deviation = (getattr(volume, name)(axis=(1, 2, 3), keepdims=True) for name in ("mean", "std"))
    expected = (mean * (volume > mean + 1.5 * deviation)).sum(axis=-1)
    close(jv.fem_cam(SUM, volume, layer="grid", deviations=1.5, relu=False), expected)
    # ReLU is of the sum: a channel of a negative mean takes away from one of a positive mean.
    grid = jnp.full((1, 9, 2), 1.0).at[0, 4].set(10).at[0, :, 1].add(-2).at[0, 4, 1].set(-0.5)
    means = np.asarray(grid, np.float64).mean(axis=(0, 1))
    close(jv.fem_cam(SUM, grid, layer="grid")[0, 4], means.sum())
    alike = jnp.full((1, 7, 7, 3), 0.1)  # their mean is not 0.1 in float32
    assert not jv.fem_cam(SUM, alike, layer="grid", deviations=0).any()


def scores(params, x):
    """A score whose second derivatives by the grid are not 0, nor those by two of its positions."""
    grid = jv.tag(x @ params[0], "grid")
    late = jv.tag(grid**2, "late")
    return jnp.tanh((late * params[1][None]).sum(axis=(1, 2, 3))) + (grid[..., 0] * grid[:, ::-1, :, 1]).sum(
        axis=(1, 2)
    )


def slopes_and_bends(x, params):
    """By layer: activation, derivative, and second derivatives times the activation."""
    mix, weights = params
    grid = x @ mix
    late = grid**2
    total = (weights * late).sum(axis=(1, 2, 3), keepdims=True)
    first = 1 - np.tanh(total) ** 2
    second = -2 * np.tanh(total) * first
    partner = grid[:, ::-1, :, ::-1]
    along = {"grid": 2 * weights * grid, "late": weights}  # of the total
    moved = {"grid": 2 * total, "late": total}  # by an activation as large as it is
    return {
        "grid": (
            grid,
            first * along["grid"] + partner,
            second * moved["grid"] * along["grid"] + first * along["grid"] + partner,
        ),
        "late": (late, first * along["late"], second * moved["late"] * along["late"]),
    }


def test_shapley_cam_against_the_formula():
    with jax.enable_x64(True):
        x, params = RANDOM.normal(size=(2, 2, 3, 2)), (RANDOM.normal(size=(2, 2)), RANDOM.normal(size=(2, 3, 2)) / 9)
        model = jv.Model.from_function(scores, tuple(map(jnp.asarray, params)))
        cams = {}
        for layer, (activation, slope, bend) in slopes_and_bends(x, params).items():
            weighted = (slope - bend / 2).mean(axis=(1, 2), keepdims=True) * activation
            close(jv.shapley_cam(model, jnp.asarray(x), layer=layer, channels=True, **PLAIN), weighted, 1e-12)
            plain = slope.mean(axis=(1, 2), keepdims=True) * activation
            assert np.abs(weighted - plain).max() > 0.1 * np.abs(plain).max()
            cams[layer] = weighted.sum(axis=-1)
        share = lambda cam: cam / np.abs(cam).max(axis=(1, 2), keepdims=True)
        # Of several layers each has its own second derivatives, not those by two of them.
        both = jv.shapley_cam(model, jnp.asarray(x), layer=("grid", "late"), **PLAIN)
        close(both, sum(map(share, cams.values())) / 2, 1e-12)


@of_cnn
@pytest.mark.parametrize("kind", ["logit", "ReST"])
def test_shapley_cam(reference, kind):
    classes = reference.figures["target"]

    def rest(outputs: jax.Array) -> jax.Array:
        return jnp.take_along_axis(outputs + jax.nn.log_softmax(outputs), classes[:, None], axis=1)[:, 0]

    ours = explain(jv.shapley_cam, reference, target=rest if kind == "ReST" else classes)
    close(ours, THEIRS[f"shapley_cam/{kind}"])
    plain = explain(jv.grad_cam, reference, target=rest if kind == "ReST" else classes)
    if kind == "logit":  # it is piecewise linear in the features
        close(ours, plain)
    else:
        assert np.abs(ours - plain).max() > 0.01 * np.abs(plain).max()


def test_random_cam():
    grid = jnp.asarray(RANDOM.normal(size=(200, 2, 3, 4)), jnp.float32)
    found = jv.random_cam(SUM, grid, layer="grid", key=KEY, channels=True, **PLAIN)
    weights = np.asarray(found / grid)
    np.testing.assert_allclose(weights, weights[:, :1, :1].repeat(2, 1).repeat(3, 2), rtol=1e-5)  # of all positions
    drawn = weights[:, 0, 0].ravel()
    assert np.unique(drawn).size == 800
    assert -1 <= drawn.min() < -0.98
    assert 0.98 < drawn.max() < 1
    assert abs(drawn.mean()) < 4 / np.sqrt(3 * 800)
    assert abs(drawn.var() - 1 / 3) < 0.05
    close(jv.random_cam(SUM, grid, layer="grid", key=KEY, **PLAIN), np.asarray(found, np.float64).sum(axis=-1))
    other = jv.random_cam(SUM, grid, layer="grid", key=jax.random.key(4), channels=True, **PLAIN)
    assert abs(np.corrcoef(drawn, np.asarray(other / grid)[:, 0, 0].ravel())[0, 1]) < 0.15


def test_random_cam_of_several_layers_draws_for_each():
    double = jv.Model.from_function(lambda params, x: jv.tag(2 * jv.tag(x, "one"), "two").sum(axis=(1, 2)), ())
    x = jnp.asarray(RANDOM.normal(size=(3, 4, 5)), jnp.float32)
    both = jv.random_cam(double, x, layer=("one", "two"), key=KEY, **PLAIN)
    one = jv.random_cam(double, x, layer=("one",), key=KEY, **PLAIN)
    assert np.abs(both - one).max() > 0.1


@of_cnn
def test_finer_cam(reference):
    close(explain(jv.hires_cam, reference, target=jv.finer_target()), THEIRS["finer/highest"])
    ours = explain(jv.hires_cam, reference, target=jv.finer_target(2, alpha=0.6, similar=2))
    close(ours, THEIRS["finer/of 2"])


def test_finer_target():
    outputs = jnp.array([[5.0, 1.0, 4.0, 7.0], [-200.0, 90.0, -210.0, 90.0]])
    target = jv.finer_target(0, alpha=0.5, similar=2)
    shares = np.exp([4.0, 7.0]) / np.exp([4.0, 7.0]).sum()
    first = 5 - 0.5 * (shares @ [4, 7])
    # The nearest of the second are -210 and 90: probabilities of one class alone.
    np.testing.assert_allclose(target(outputs), [first, -200 - 0.5 * 90], rtol=1e-6)
    np.testing.assert_allclose(jv.finer_target(2, similar=1)(outputs)[1], -10)  # though their probabilities are 0
    np.testing.assert_allclose(jv.finer_target(3, similar=1)(outputs), [2, 0])  # of the same output, but another class
    np.testing.assert_allclose(jv.finer_target(alpha=0)(outputs), [7, 90])
    np.testing.assert_allclose(jv.finer_target(similar=3)(outputs), jv.finer_target(similar=9)(outputs))
    assert target == jv.finer_target(0, alpha=0.5, similar=2) != jv.finer_target(0, alpha=0.6, similar=2)
    for settings, error, words in (
        ({"index": -1}, ValueError, "finer_target: index must be at least 0, got -1"),
        ({"index": 1.5}, TypeError, "finer_target: index must be an int"),
        ({"similar": 0}, ValueError, "finer_target: similar must be at least 1, got 0"),
        ({"alpha": -1}, ValueError, r"finer_target: alpha must be in \[0, inf\)"),
    ):
        with pytest.raises(error, match=words):
            jv.finer_target(**settings)
    with pytest.raises(ValueError, match=r"gradient: target.*finer_target: index 4 is out of range; .* 0 to 1"):
        jv.gradient(jv.Model.from_function(lambda params, x: x, ()), jnp.ones((1, 2)), target=jv.finer_target(4))
    with pytest.raises(ValueError, match=r"finer_target: outputs must be .* 2 classes, got \(2, 1\)"):
        jv.finer_target()(outputs[:, :1])


@of_cnn
def test_refined_maps_are_a_product(reference):
    """pytorch-grad-cam's `RefineCAM`: the maps of several layers, each in the range from 0 to 1, are multiplied."""

    def stretched(cam):
        cam = cam - cam.min(axis=(1, 2), keepdims=True)
        return cam / (cam.max(axis=(1, 2), keepdims=True) + 1e-7)

    maps = [explain(jv.hires_cam, reference, layer=layer, relu=True) for layer in ("BatchNorm_0", "features")]
    maps = [np.asarray(jax.image.resize(stretched(cam), (3, 12, 12), "linear")) for cam in maps]
    np.testing.assert_allclose(stretched(np.prod(list(map(stretched, maps)), axis=0)), THEIRS["refined"], atol=1e-5)


@pytest.mark.parametrize(
    ("method", "settings", "error", "words"),
    [
        ("kpca_cam", {"kernel": "gauss"}, ValueError, "kpca_cam: kernel must be one of 'linear', 'polynomial', 'rbf'"),
        ("kpca_cam", {"gamma": -1}, ValueError, r"kpca_cam: gamma must be in \[0, inf\), got -1"),
        ("kpca_cam", {"kernel": "cosine", "gamma": 1}, ValueError, "gamma is 1, but the kernel 'cosine' has none"),
        ("fem_cam", {"deviations": -1}, ValueError, r"fem_cam: deviations must be in \[0, inf\), got -1"),
        ("random_cam", {"key": None}, TypeError, "random_cam: key is missing"),
        ("shapley_cam", {"channels": True, "eigen_smooth": True}, ValueError, "shapley_cam: channels=True keeps"),
        ("hires_cam", {"channels": 1}, TypeError, "hires_cam: channels must be True or False, got 1"),
    ],
)
def test_errors(method, settings, error, words):
    with pytest.raises(error, match=words):
        getattr(jv, method)(SUM, jnp.ones((1, 3, 3, 2)), layer="grid", **settings)
