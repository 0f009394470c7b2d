"""Deep feature factorization: against scikit-learn's in float64, one that is known, and what it gives of wrong arguments."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

with np.load(Path(__file__).parents[1] / "reference" / "cam_kin_figures.npz") as stored:
    THEIRS = {name: stored[name] for name in stored.files if name.startswith("factorization")}
RANDOM = np.random.default_rng(8)
GRID = jv.Model.from_function(lambda params, x: jv.tag(x, "grid").sum(axis=tuple(range(1, x.ndim))), ())
of_cnn = pytest.mark.parametrize("reference", ["cnn"], indirect=True)


def close(ours, theirs, tolerance):
    assert ours.shape == theirs.shape
    assert np.abs(np.asarray(ours) - theirs).max() <= tolerance * np.abs(theirs).max()


@of_cnn
@pytest.mark.parametrize(("components", "steps"), [(3, 20), (5, 4)])
def test_against_scikit_learn(reference, components, steps):
    """From the same start, after the same number of steps; scaled and in order as ours are."""
    model, figures = reference
    features = np.asarray(model.capture(figures["inputs"], "features")["features"], np.float64)
    with jax.enable_x64(True):
        settings: dict[str, Any] = {"layer": "grid", "components": components, "steps": steps, "upsample": False}
        maps, concepts = jv.feature_factorization(GRID, jnp.asarray(features), **settings)
    theirs = THEIRS[f"factorization/{components}/maps"], THEIRS[f"factorization/{components}/concepts"]
    largest = theirs[0].max(axis=1)
    order = np.argsort(-np.linalg.norm(theirs[0], axis=1) * np.linalg.norm(theirs[1], axis=0))
    close(maps, (theirs[0] / largest[:, None])[order].T.reshape(3, 6, 6, components), 2e-5)
    close(concepts, (theirs[1] * largest).T[order], 2e-5)


@of_cnn
@pytest.mark.parametrize("components", [3, 5])
def test_about_as_good_as_the_best_from_random_numbers(reference, components):
    model, figures = reference
    features = np.asarray(model.capture(figures["inputs"], "features")["features"], np.float64)
    settings: dict[str, Any] = {"layer": "features", "components": components, "upsample": False}
    errors = []
    for steps in (1, 2, 10, 50, 200):
        maps, concepts = jv.feature_factorization(model, figures["inputs"], steps=steps, **settings)
        assert (np.asarray(maps) >= 0).all()
        assert (np.asarray(concepts) >= 0).all()
        errors.append(((features - np.asarray(maps, np.float64) @ np.asarray(concepts, np.float64)) ** 2).sum())
    assert (np.diff(errors) < 1e-5 * errors[0]).all()  # no step is for the worse
    assert errors[-1] < 1.02 * THEIRS[f"factorization/{components}/errors"].min()


def test_a_mixture_is_found_again():
    maps, concepts = RANDOM.uniform(size=(2, 5, 4, 3)), RANDOM.uniform(size=(3, 6))
    concepts[:, :3] = np.diag(concepts[:, 0])  # each has a channel of its own
    maps *= np.arange(3) == RANDOM.integers(3, size=(2, 5, 4, 1))  # and positions: there is no other solution
    grid = jnp.asarray(maps @ concepts, jnp.float32)
    found = jv.feature_factorization(GRID, grid, layer="grid", components=3, steps=500)
    largest = maps.max(axis=(0, 1, 2))
    order = np.argsort(-np.sqrt((maps**2).sum(axis=(0, 1, 2))) * np.linalg.norm(concepts, axis=1))
    close(found.maps, (maps / largest)[..., order], 1e-4)
    close(found.concepts, (concepts * largest[:, None])[order], 1e-4)
    np.testing.assert_allclose(found.maps.max(axis=(0, 1, 2)), 1, rtol=1e-6)
    enlarged = jv.feature_factorization(GRID, grid, layer="grid", components=3, steps=500, upsample=(10, 8))
    close(enlarged.maps, np.asarray(jax.image.resize(found.maps, (2, 10, 8, 3), "linear")), 1e-5)
    again = jv.feature_factorization(GRID, grid, layer="grid", components=3, steps=500)
    assert all(map(np.array_equal, found, again))


def test_what_is_negative_is_lifted():
    grid = RANDOM.normal(size=(1, 9, 2)).astype(np.float32) + np.array([-1.0, 9.0], np.float32)
    lifted = grid - np.array([grid[..., 0].min(), 0], np.float32)
    for one, other in zip(*[jv.feature_factorization(GRID, jnp.asarray(x), layer="grid", components=2) for x in (grid, lifted)],
                          strict=True):  # fmt: skip
        close(one, np.asarray(other), 1e-5)


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # it is meant to be
def test_more_concepts_than_there_are():
    line = jnp.arange(6.0)[None, :, None] * jnp.array([[[2.0, 0.0, 1.0]]])
    maps, concepts = jv.feature_factorization(GRID, line, layer="grid", components=3)
    np.testing.assert_allclose(maps @ concepts, line, atol=1e-5)
    close(maps[..., 0].max(), np.float32(1), 1e-6)
    assert not np.asarray(concepts)[1:].any()
    assert not np.asarray(maps)[..., 1:].any()  # what is not there is nowhere
    maps, concepts = jv.feature_factorization(GRID, jnp.zeros((1, 4, 2)), layer="grid", components=2)
    assert not maps.any()
    assert not concepts.any()


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_concepts_of_any_scale(scale):
    maps, concepts = RANDOM.uniform(size=(1, 40, 3)), RANDOM.uniform(size=(3, 6))
    matrix = maps @ concepts * scale
    found = jv.feature_factorization(GRID, jnp.asarray(matrix, jnp.float32), layer="grid", components=3)
    close(np.asarray(found.maps, np.float64) @ np.asarray(found.concepts, np.float64), matrix, 5e-2)


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # it is meant to be
def test_what_the_warning_advises_takes_it():
    """`diagnose` looks at the maps: concepts are of all examples together."""
    images = jnp.asarray(RANDOM.uniform(size=(3, 6, 2)), jnp.float32)
    factorization = jv.feature_factorization(GRID, images, layer="grid", components=2)
    found = jv.diagnose(GRID, images, factorization)
    assert "attribution" in found.seen
    assert not any(code.startswith("attribution") for code in found.codes)
    nothing = jv.feature_factorization(GRID, jnp.zeros_like(images), layer="grid", components=2)
    assert "attribution_zero" in jv.diagnose(GRID, images, nothing).codes


def test_a_pattern_is_not_to_be_a_tuple():
    model = jv.Model.from_function(lambda params, x: jv.tag(jv.tag(x, "grid_0") * 2, "grid_1").sum(axis=(1, 2)), ())
    with pytest.raises(ValueError, match=r"layer 'grid_\*' fits 2 layers; give one of them: grid_0, grid_1"):
        jv.feature_factorization(model, jnp.ones((2, 6, 2)), layer="grid_*", components=2)


@pytest.mark.parametrize("bound", [{}, {"components": 2}])
def test_a_data_set_has_no_mean_of_it(bound):
    method = functools.partial(jv.feature_factorization, **bound) if bound else jv.feature_factorization
    words = "explain_dataset: method must be one whose results have a mean, got feature_factorization"
    with pytest.raises(TypeError, match=words):
        jv.explain_dataset(method, GRID, jnp.ones((4, 6, 2)), layer="grid", progress=False)


def test_tokens_and_half_precision():
    tokens = jnp.asarray(RANDOM.uniform(size=(2, 7, 3)), jnp.bfloat16)
    maps, concepts = jv.feature_factorization(GRID, tokens, layer="grid", components=2)
    assert maps.dtype == concepts.dtype == jnp.bfloat16
    wide = jv.feature_factorization(GRID, tokens.astype(jnp.float32), layer="grid", components=2)
    close(maps.astype(jnp.float32), np.asarray(wide.maps), 1e-2)
    table = jnp.asarray(RANDOM.uniform(size=(5, 3)), jnp.float32)
    model = jv.Model.from_function(lambda params, x: jv.tag(params[x], "embedding").sum(axis=1), table)
    ids = jnp.array([[0, 4, 2, 2]])
    assert jv.feature_factorization(model, ids, layer="embedding", components=3, target=1).maps.shape == (1, 4, 3)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"components": 0}, ValueError, "feature_factorization: components must be at least 1, got 0"),
        (
            {"components": 3},
            ValueError,
            "components must be 1 to 2, got 3; layer 'grid' has 2 channels, and 12 positions",
        ),
        ({"steps": 1.5}, TypeError, "feature_factorization: steps must be an int, got 1.5"),
        ({"layer": ("grid",)}, TypeError, r"layer must be the path of one layer, a string, got \('grid',\)"),
        ({"layer": "head"}, ValueError, "feature_factorization: layer 'head' not found; layers: grid"),
    ],
)
def test_errors(settings, error, words):
    with pytest.raises(error, match=words):
        jv.feature_factorization(GRID, jnp.ones((2, 6, 2)), **{"layer": "grid", "components": 2, **settings})
