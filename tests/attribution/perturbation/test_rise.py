"""RISE: its masks against an enlargement in numpy, its sum against a loop, groups in place of the grid, wrong arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.perturbation import random_masks

KEY = jax.random.key(4)


def enlarged(seen: np.ndarray, side: int, shift: int) -> np.ndarray:
    """A row of cells, linearly interpolated to one cell more than fits, from `shift` on."""
    number = len(seen)
    length = -(-side // number) * (number + 1)
    centers = (np.arange(number) + 0.5) * length / number
    return np.interp(np.arange(length) + 0.5, centers, seen)[shift : shift + side]


def test_masks_are_enlarged_cells_shifted_by_part_of_one():
    cells, shape, keys = (3, 4, 0), (7, 8, 2), jax.random.split(KEY, 20)
    shifts = set()
    for key in keys:
        mask = np.asarray(random_masks._smooth_mask(cells, shape, key, jnp.float32(0.5)))
        assert mask.shape == (7, 8, 1)
        seen = np.asarray(jax.random.bernoulli(jax.random.split(key)[0], jnp.float32(0.5), (3, 4, 1)))[..., 0]
        candidates = {
            (down, right): np.stack(
                [
                    enlarged(column, 7, down)
                    for column in np.stack([enlarged(row.astype(float), 8, right) for row in seen]).T
                ]
            ).T
            for down in range(3)
            for right in range(2)
        }
        fits = [shift for shift, candidate in candidates.items() if np.abs(candidate - mask[..., 0]).max() < 1e-5]
        assert fits
        shifts.update(fits)
    assert len(shifts) == 6


def test_the_sum_over_masks(small):
    found = jv.rise(small.model, small.inputs, target=1, baseline=small.baseline, grid=3, samples=30, keep=0.4, key=KEY)
    total = np.zeros((3, 6))
    for number in range(30):
        key = jax.random.fold_in(KEY, number)
        mask = np.asarray(random_masks._smooth_mask((3,), (6,), key, jnp.float32(0.4)), np.float64)
        total += small.score(small.baseline + mask * (small.inputs - small.baseline))[:, None] * mask
    np.testing.assert_allclose(found, total / (30 * 0.4), rtol=1e-4, atol=1e-5)
    chunked = jv.rise(
        small.model,
        small.inputs,
        target=1,
        baseline=small.baseline,
        grid=3,
        samples=30,
        keep=0.4,
        key=KEY,
        chunk_size=30,
    )
    np.testing.assert_allclose(chunked, found, rtol=1e-4, atol=1e-5)


def test_the_patch_that_is_looked_at_stands_out():
    model = jv.Model.from_function(lambda params, images: images[:, 2:6, 8:12].mean(axis=(1, 2, 3)), ())
    found = np.asarray(jv.rise(model, jnp.ones((1, 16, 12, 3)), grid=5, samples=600, key=KEY))
    assert found.shape == (1, 16, 12, 3)
    np.testing.assert_array_equal(found[..., 0], found[..., 2])
    inside, rest = found[0, 2:6, 8:12].mean(), found[0, 9:].mean()
    assert inside > rest + 0.05
    series = jv.rise(
        jv.Model.from_function(lambda params, x: x[:, 3, 1], ()), jnp.ones((2, 9, 2)), samples=600, key=KEY
    )
    assert (np.asarray(series)[:, :, 0].argmax(axis=1) == 3).all()


def test_groups_of_tokens():
    model = jv.Model.from_function(lambda params, tokens: params[tokens].sum(axis=1), jnp.array([0.0, 1.0, 5.0]))
    found = jv.rise(model, np.array([[1, 2, 1]]), mask=[0, 1, 2], samples=4000, keep=0.5, key=KEY)
    # Seen itself, and half of the others.
    np.testing.assert_allclose(found, [[1 + 3.0, 5 + 1.0, 1 + 3.0]], rtol=0.05)


@pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
def test_sums_are_as_precise_as_the_scores(dtype):
    with jax.enable_x64(True):
        weights = np.array([[3.0], [-1.0], [1e-6]])
        model = jv.Model.from_function(
            lambda params, inputs: (inputs.astype(params.dtype) @ params)[:, 0] + 1e4, jnp.asarray(weights)
        )
        inputs, mask = np.array([[1, 2, 3]], dtype), np.arange(3)
        found = jv.rise(model, jnp.asarray(inputs), mask=mask, samples=300, chunk_size=50, key=KEY)
        assert found.dtype == ("float32" if dtype == "float32" else "float64")
        seen = np.stack(
            [jax.random.bernoulli(jax.random.fold_in(KEY, one), np.float32(0.5), (3,)) for one in range(300)]
        )
        scores = (seen * inputs) @ weights + 1e4
        expected = (scores * seen).sum(axis=0) / (300 * 0.5)
        np.testing.assert_allclose(found[0], expected, rtol=1e-7 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize(
    ("error", "message", "inputs", "settings"),
    [
        (ValueError, "keep is a probability between 0 and 1, got 1", np.ones((1, 4)), {"keep": 1}),
        (ValueError, "keep is a probability between 0 and 1, got 0", np.ones((1, 4)), {"keep": jnp.float32(0)}),
        (TypeError, "keep must be a number, got 'a'", np.ones((1, 4)), {"keep": "a"}),
        (TypeError, "keep must be a number, got True", np.ones((1, 4)), {"keep": True}),
        (ValueError, "grid must be between 1 and the inputs' (4,), got (5,)", np.ones((1, 4)), {"grid": (5,)}),
        (ValueError, "grid has 2 entries, but inputs have 1 axes", np.ones((1, 4)), {"grid": (2, 2)}),
        (TypeError, "grid must be an int", np.ones((1, 4)), {"grid": 2.5}),
        (TypeError, "cannot be blended with the baseline; give a mask", np.ones((1, 4), int), {}),
        (ValueError, "for several inputs give a mask", (np.ones((1, 4)),), {}),
        (TypeError, "key is missing", np.ones((1, 4)), {"key": None}),
    ],
)
def test_wrong_arguments(error, message, inputs, settings):
    model = jv.Model.from_function(
        lambda params, inputs: jax.tree.leaves(inputs)[0].sum(axis=1).astype(jnp.float32), ()
    )
    inputs = jax.tree.map(lambda leaf: leaf.astype(np.float32) if leaf.dtype == np.float64 else leaf, inputs)
    with pytest.raises(error) as raised:
        jv.rise(model, inputs, **{"samples": 2, "key": KEY, **settings})
    assert message in str(raised.value)
