"""Augmentation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz.data
from jaxviz.data import chain, flip, mixup, noise, shift

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).uniform(0.1, 1, (400, 6, 5, 2)).astype(np.float32)
LABELS = np.arange(400, dtype=np.int32) % 3


@pytest.mark.parametrize("axis", [1, 2])
def test_flip_mirrors_about_half_and_leaves_the_others(axis):
    flipped = np.asarray(flip(KEY, IMAGES, axis=axis))
    mirrored = (flipped == np.flip(IMAGES, axis)).all((1, 2, 3))
    same = (flipped == IMAGES).all((1, 2, 3))
    assert (mirrored ^ same).all()
    assert 150 < mirrored.sum() < 250  # five standard deviations of 400 tosses
    np.testing.assert_array_equal(flip(KEY, IMAGES, axis=axis, probability=0.0), IMAGES)
    np.testing.assert_array_equal(flip(KEY, IMAGES, axis=axis, probability=1.0), np.flip(IMAGES, axis))


def moved(image, dy, dx):
    """The image moved by (dy, dx), pixel by pixel."""
    out = np.zeros_like(image)
    height, width, _ = image.shape
    for y in range(height):
        for x in range(width):
            if 0 <= y - dy < height and 0 <= x - dx < width:
                out[y, x] = image[y - dy, x - dx]
    return out


def test_shift_moves_and_fills_with_zeros():
    shifted = np.asarray(shift(KEY, IMAGES, pixels=1))
    moves = []
    for before, after in zip(IMAGES, shifted, strict=True):
        found = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (moved(before, y, x) == after).all()]
        assert len(found) == 1
        moves += found
    counts = [moves.count((y, x)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    assert min(counts) > 15  # 44 expected of each of the nine
    np.testing.assert_array_equal(shift(KEY, IMAGES, pixels=0), IMAGES)


def test_noise_has_the_asked_deviation():
    added = np.asarray(noise(KEY, IMAGES, scale=0.3)) - IMAGES
    assert abs(added.mean()) < 0.01
    assert abs(added.std() - 0.3) < 0.01
    np.testing.assert_array_equal(noise(KEY, IMAGES, scale=0.0), IMAGES)


def test_mixup_mixes_inputs_and_targets_by_the_same_weight():
    x = np.eye(8, dtype=np.float32)
    mixed, soft = jax.jit(mixup, static_argnames="classes")(KEY, (x, jnp.arange(8)), alpha=1.0, classes=8)
    # Each input is its own one-hot label, so input and target must stay the same under any mixing.
    np.testing.assert_allclose(mixed, soft, atol=1e-6)
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)
    assert (np.asarray(soft) >= 0).all()
    assert (np.asarray(soft > 1e-6).sum(1) <= 2).all()
    assert 0 < float(jnp.diag(soft).mean()) < 1


def test_mixup_weights_are_beta():
    # Two examples, 0 and 1: the partner is the other one or itself.
    x = jnp.concatenate([jnp.zeros((2000, 1)), jnp.ones((2000, 1))])
    mixed, _ = jax.jit(mixup)(KEY, (x, x), alpha=2.0)
    between = np.asarray(mixed)[(mixed > 0) & (mixed < 1)]
    assert 1700 < len(between) < 2300
    assert abs(between.mean() - 0.5) < 0.03
    assert abs(between.var() - 1 / 20) < 0.005  # Beta(2, 2): 1 / (4 (2 alpha + 1))


@pytest.mark.parametrize("augment", [flip, partial(shift, pixels=2), noise])
def test_labels_stay_and_keys_decide(augment):
    images, labels = augment(KEY, (IMAGES, LABELS))
    np.testing.assert_array_equal(labels, LABELS)
    assert images.shape == IMAGES.shape
    assert images.dtype == IMAGES.dtype
    np.testing.assert_array_equal(augment(KEY, IMAGES), images)
    np.testing.assert_allclose(jax.jit(augment)(KEY, IMAGES), images, atol=1e-6)
    assert (np.asarray(augment(jax.random.key(1), IMAGES)) != np.asarray(images)).any()


def test_chain_applies_in_order_and_compiles_once():
    def made():
        return chain(partial(shift, pixels=1), flip, partial(mixup, classes=3))

    traces = []

    @partial(jax.jit, static_argnums=0)
    def run(augment, key, batch):
        traces.append(1)
        return augment(key, batch)

    first = run(made(), KEY, (IMAGES, LABELS))
    again = run(made(), KEY, (IMAGES, LABELS))
    assert len(traces) == 1
    assert first[1].shape == (400, 3)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert made() == made()
    assert made() != chain(partial(shift, pixels=2), flip, partial(mixup, classes=3))
    expected = flip(jax.random.fold_in(KEY, 1), shift(jax.random.fold_in(KEY, 0), IMAGES, pixels=1))
    np.testing.assert_array_equal(chain(partial(shift, pixels=1), flip)(KEY, IMAGES), expected)


def test_augmentation_errors():
    with pytest.raises(ValueError, match=r"probability must be in \[0, 1\], got 2"):
        flip(KEY, IMAGES, probability=2)
    with pytest.raises(ValueError, match=r"axis must be 1 to 3"):
        flip(KEY, IMAGES, axis=0)
    with pytest.raises(ValueError, match="pixels must be at least 0"):
        shift(KEY, IMAGES, pixels=-1)
    with pytest.raises(ValueError, match=r"\(batch, height, width, channels\)"):
        shift(KEY, IMAGES[..., 0])
    with pytest.raises(TypeError, match="expected floats, got uint8"):
        noise(KEY, np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="scale must be in"):
        noise(KEY, IMAGES, scale=-1.0)
    with pytest.raises(ValueError, match="give classes="):
        mixup(KEY, (IMAGES, LABELS))
    with pytest.raises(TypeError, match="tuple"):
        mixup(KEY, IMAGES)
    with pytest.raises(ValueError, match="alpha"):
        mixup(KEY, (IMAGES, IMAGES), alpha=0.0)
    with pytest.raises(TypeError, match="functions of"):
        chain(flip, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda d: d.flip(None, IMAGES), TypeError, "flip: key must be one key, such as"),
        (lambda d: d.shift(0, IMAGES), TypeError, "shift: key must be one key, such as .* got 0"),
        (lambda d: d.noise(IMAGES, KEY), TypeError, "noise: key must be one key"),
        (lambda d: d.mixup(None, (IMAGES, LABELS)), TypeError, "mixup: key must be one key"),
        (lambda d: d.flip(KEY, "abc"), TypeError, "flip: inputs must be an array of numbers, got str"),
        (lambda d: d.flip(KEY, None), TypeError, "flip: inputs must be an array of numbers, got NoneType"),
        (lambda d: d.flip(KEY, ()), ValueError, "flip: batch is an empty tuple"),
        (lambda d: d.flip(KEY, np.float32(1)), ValueError, "flip: inputs must have the batch as axis 0"),
        (lambda d: d.flip(KEY, np.ones(3)), ValueError, r"an axis to mirror beside the batch, got shape \(3,\)"),
        (lambda d: d.flip(KEY, IMAGES, axis=2.0), TypeError, "flip: axis must be an int, got 2.0"),
        (lambda d: d.noise(KEY, IMAGES, scale=np.inf), ValueError, r"noise: scale must be in \[0, inf\), got inf"),
        (lambda d: d.mixup(KEY, (IMAGES, None)), TypeError, "mixup: targets must be an array of numbers, got NoneType"),
        (lambda d: d.mixup(KEY, (IMAGES, LABELS[:1])), ValueError, "the same examples on axis 0"),
        (lambda d: d.mixup(KEY, (IMAGES, LABELS), classes="3"), TypeError, "mixup: classes must be an int, got '3'"),
        (
            lambda d: d.mixup(KEY, (IMAGES, LABELS * 0 + 7), classes=3),
            ValueError,
            r"in \[0, 3\), got values from 7 to 7",
        ),
    ],
)
def test_what_is_no_batch_or_key(call, error, message):
    with pytest.raises(error, match=message):
        call(jaxviz.data)
