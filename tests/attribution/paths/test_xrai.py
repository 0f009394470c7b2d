"""XRAI against `saliency`, and by hand."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.paths.regions import regions

FILE = Path(__file__).parents[2] / "reference" / "path_figures.npz"
SUM = jv.Model.from_function(lambda params, x: x.reshape(x.shape[0], -1).sum(axis=1), ())
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 24, 20, 3)), jnp.float32)
HALVES = np.arange(24)[:, None] // 12 + np.zeros((1, 20), int)
THIRDS = np.arange(20)[None] // 7 + np.zeros((24, 1), int)


@pytest.fixture(scope="module")
def figures() -> dict[str, np.ndarray]:
    with np.load(FILE) as stored:
        return {key.removeprefix("regions/"): stored[key] for key in stored.files if key.startswith("regions/")}


@pytest.mark.parametrize("dilation", [0, 2])
@pytest.mark.parametrize("name", ["area 1.0", "area 0.3", "fast"])
def test_against_saliency(figures, dilation, name):
    labels, attribution = list(figures["labels"]), figures["attribution"]
    inputs = jnp.zeros((1, *attribution.shape))
    settings: dict[str, Any] = {"smallest": 5, "attribution": attribution[None]}
    settings |= {"algorithm": "fast"} if name == "fast" else {"area": float(name.removeprefix("area "))}
    theirs = figures[f"dilation {dilation}/{name}"].astype(np.float32)
    np.testing.assert_array_equal(jv.xrai(SUM, inputs, segments=labels, dilation=dilation, **settings)[0], theirs)
    masks = [label == value for label in labels for value in np.unique(label)]
    np.testing.assert_array_equal(jv.xrai(SUM, inputs, segments=masks, dilation=dilation, **settings)[0], theirs)


def test_the_best_region_first_and_then_what_others_add():
    attribution = jnp.array([[[4.0, 1.0, 1.0, -2.0, 0.0, 3.0]]])[0]
    inputs = jnp.zeros((1, 6, 1))
    masks = [np.array(mask, bool) for mask in ([1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0], [0, 0, 1, 0, 0, 1])]
    # 2.5 for the first, then 2 for the third, then what is left of the second, -2; the rest has its mean.
    found = jv.xrai(SUM, inputs, attribution=attribution, segments=masks)
    np.testing.assert_allclose(found, [[2.5, 2.5, 2.0, -2.0, 0.0, 2.0]])
    # Regions of one more pixel are left out: the rest is three pixels wide.
    found = jv.xrai(SUM, inputs, attribution=attribution, segments=masks, smallest=2)
    np.testing.assert_allclose(found, [[2.5, 2.5, 2.0, -1.0, -1.0, 2.0]])
    found = jv.xrai(SUM, inputs, attribution=attribution, segments=masks, area=0.2)
    np.testing.assert_allclose(found, [[2.5, 2.5, 0.5, 0.5, 0.5, 0.5]])


def test_the_sum_is_that_of_the_attribution():
    attribution = jv.gradient(jv.Model.from_function(lambda params, x: (x**3).sum((1, 2, 3)), ()), IMAGES)
    for segments in (None, 30, (6, 12), [HALVES, THIRDS]):
        found = jv.xrai(SUM, IMAGES, attribution=attribution, segments=segments)
        assert found.shape == IMAGES.shape[:3]
        np.testing.assert_allclose(found.sum((1, 2)), attribution.max(axis=3).sum((1, 2)), rtol=1e-4)
        assert len(np.unique(found[0])) > 3


def test_integrated_gradients_of_the_baselines():
    model = jv.Model.from_function(lambda params, x: (x**2).sum((1, 2, 3)), ())
    settings: dict[str, Any] = {"segments": [HALVES, THIRDS], "steps": 4}
    low, high = (reduce(IMAGES, axis=(1, 2, 3), keepdims=True) for reduce in (jnp.min, jnp.max))
    whole = sum(jv.integrated_gradients(model, IMAGES, baseline=point, steps=4) for point in (low, high)) / 2
    expected = jv.xrai(SUM, IMAGES, attribution=whole, **settings)
    np.testing.assert_allclose(jv.xrai(model, IMAGES, **settings), expected, rtol=1e-4, atol=1e-5)
    given = jv.xrai(model, IMAGES, baselines=(low, np.asarray(high)), **settings)
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)
    zeros = jv.xrai(model, IMAGES, baselines=(0.0,), **settings)
    np.testing.assert_array_equal(zeros, jv.xrai(model, IMAGES, baselines=np.zeros((1, 24, 20, 3)), **settings))
    assert np.abs(zeros - expected).max() > 0.1


def test_masks_of_each_example_and_of_all():
    attribution = IMAGES.max(axis=3)
    find = lambda segments: np.asarray(jv.xrai(SUM, IMAGES, attribution=attribution, segments=segments))
    both = find(np.stack([HALVES, THIRDS]))
    np.testing.assert_array_equal(both[0], find(HALVES)[0])
    np.testing.assert_array_equal(both[1], find(THIRDS[..., None])[1])
    mixed = find([HALVES[..., None], np.stack([THIRDS, HALVES])[..., None]])
    np.testing.assert_array_equal(mixed[0], find([HALVES, THIRDS])[0])


def test_inside_jit_with_superpixels():
    # There regions are put in order by a callback.
    explain = lambda inputs, attribution: jv.xrai(SUM, inputs, attribution=attribution, segments=(4, 9))
    attribution = IMAGES.max(axis=3)
    np.testing.assert_array_equal(jax.jit(explain)(IMAGES, attribution), explain(IMAGES, attribution))


@pytest.mark.parametrize("shape", [(40,), (12, 9), (5, 6, 4)])
def test_dilation_along_one_to_three_axes(shape):
    """What is no farther than the radius from a region, by all distances."""
    labels = np.random.default_rng(0).integers(0, 4, shape)
    found = regions([labels], 2)
    places = np.argwhere(np.ones(shape, bool))
    for label in range(4):
        distances = np.square(places[:, None] - np.argwhere(labels == label)[None]).sum(axis=2).min(axis=1)
        own = found.members[found.ends[label] : found.ends[label + 1]]
        np.testing.assert_array_equal(own, np.flatnonzero(distances <= 4))


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"area": 2}, ValueError, r"area must be in \[0, 1\], got 2"),
        ({"smallest": 0}, ValueError, "smallest must be at least 1"),
        ({"algorithm": "slow"}, ValueError, "algorithm must be one of 'full', 'fast', got 'slow'"),
        ({"dilation": -1}, ValueError, "dilation must be at least 0"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        (
            {"baselines": 0.0},
            TypeError,
            "baselines must be None, a sequence of baselines or an array of them, got float",
        ),
        ({"baselines": ()}, ValueError, "baselines has no baselines"),
        ({"attribution": np.zeros((2, 3))}, ValueError, r"attribution must have the shape \(2, 24, 20, 3\) or"),
        ({"attribution": [0.0]}, TypeError, "attribution must be an array, got list"),
        ({"attribution": np.full((2, 24, 20), np.nan)}, ValueError, "attribution must be finite"),
        ({"segments": 0}, ValueError, "segments must be 1 to 480, got 0"),
        ({"segments": (5, 481)}, ValueError, "segments must be 1 to 480, got 481"),
        (
            {"segments": "slic"},
            TypeError,
            "segments must be None, numbers of superpixels, or a mask or several, got str",
        ),
        ({"segments": []}, ValueError, "segments has no masks"),
        ({"segments": np.zeros((24, 20))}, TypeError, "segments must be integers or booleans, got dtype float64"),
        (
            {"segments": [HALVES, HALVES.T]},
            ValueError,
            r"segments\[1\] must have the shape \(24, 20\) or \(2, 24, 20\)",
        ),
        ({"segments": [HALVES, "more"]}, TypeError, r"segments\[1\] must be an array, got str"),
        ({"inputs": IMAGES[..., 0, 0]}, ValueError, r"inputs must be one array \(batch, \*spatial, channels\)"),
        ({"inputs": (IMAGES, IMAGES)}, ValueError, "inputs must be one array .*, got a tuple"),
        ({"inputs": IMAGES[:, 0]}, ValueError, "superpixels are of images .*, inputs have 1 spatial axes"),
    ],
)
def test_errors(settings, error, words):
    model = jv.Model.from_function(lambda params, x: jax.tree.leaves(x)[0].reshape(2, -1).sum(axis=1), ())
    with pytest.raises(error, match=f"xrai: {words}"):
        jv.xrai(model, **{"inputs": IMAGES, **settings})


def test_masks_must_be_known():
    with pytest.raises(TypeError, match="xrai: segments is traced, but its values make the regions"):
        jax.jit(lambda masks: jv.xrai(SUM, IMAGES, segments=masks))(HALVES)
