"""Superpixels: edges are kept, segments are connected and about as many as asked for, and serve as a mask."""

import numpy as np
import pytest

import jaxviz as jv


def disks(side: int = 60, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """An image of two disks on a ground, with noise; and which of the three each pixel belongs to."""
    down, right = np.mgrid[:side, :side]
    kind = np.where((down - 20) ** 2 + (right - 18) ** 2 < 150, 1, 0)
    kind = np.where((down - 38) ** 2 + (right - 42) ** 2 < 120, 2, kind)
    colors = np.array([[0.2, 0.3, 0.2], [0.9, 0.2, 0.1], [0.5, 0.4, 0.9]])[:, :channels]
    noise = np.random.default_rng(0).normal(size=(side, side, channels)) * 0.02
    return colors[kind] + noise, kind


def connected(mask: np.ndarray, number: int) -> bool:
    """Whether a flood from one pixel of a segment reaches all of them."""
    inside = mask == number
    reached = np.zeros_like(inside)
    reached[tuple(np.argwhere(inside)[0])] = True
    while True:
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= inside
        if (grown == reached).all():
            return bool((reached == inside).all())
        reached = grown


@pytest.mark.parametrize("channels", [3, 1])
def test_segments_keep_to_edges_and_are_connected(channels):
    image, kind = disks(channels=channels)
    mask = jv.superpixels(image, segments=30)
    assert mask.shape == (60, 60, 1)
    assert mask.dtype == np.int32
    count = mask.max() + 1
    assert (np.unique(mask) == np.arange(count)).all()
    assert 20 <= count <= 45
    assert all(connected(mask[..., 0], number) for number in range(count))
    largest = [np.bincount(kind[mask[..., 0] == number]).max() for number in range(count)]
    assert sum(largest) > 0.99 * kind.size  # the share of pixels in a segment of their own kind
    squares = np.arange(60) // 12
    grid = squares[:, None] * 5 + squares[None]
    assert sum(np.bincount(kind[grid == number]).max() for number in range(25)) < 0.96 * kind.size


def test_compact_segments_are_nearly_squares():
    image, _ = disks()
    mask = jv.superpixels(image, segments=25, compactness=1000.0)[..., 0]
    assert mask.max() + 1 == 25
    for number in range(25):
        down, right = np.nonzero(mask == number)
        assert max(np.ptp(down), np.ptp(right)) <= 14


def test_integers_shapes_and_batches():
    image, _ = disks()
    bytes_ = np.uint8(np.clip(image, 0, 1) * 255)
    assert jv.superpixels(bytes_[..., 0], segments=9).shape == (60, 60)
    batch = jv.superpixels(np.stack([bytes_, bytes_[::-1]]), segments=9)
    assert batch.shape == (2, 60, 60, 1)
    np.testing.assert_array_equal(batch[0], jv.superpixels(bytes_, segments=9))
    assert (jv.superpixels(np.ones((4, 5, 3)), segments=1) == 0).all()
    assert jv.superpixels(np.ones((3, 3)), segments=9, compactness=100.0).max() == 8


def test_as_a_mask():
    image, _ = disks()
    model = jv.Model.from_function(lambda params, images: images[:, 10:30, 10:26].sum(axis=(1, 2, 3)), ())
    inputs = image[None].astype(np.float32)
    mask = jv.superpixels(image, segments=30)
    found = np.asarray(jv.feature_ablation(model, inputs, mask=mask))[0, ..., 0]
    looked_at = np.zeros((60, 60), bool)
    looked_at[10:30, 10:26] = True
    for number in range(mask.max() + 1):
        inside = mask[..., 0] == number
        np.testing.assert_allclose(found[inside], image[inside & looked_at].sum(), rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("error", "message", "image", "settings"),
    [
        (ValueError, "image must have the shape", np.ones(5), {}),
        (TypeError, "image must be an array, got list", [[1.0]], {}),
        (ValueError, "image must be finite", np.full((4, 4), np.nan), {}),
        (ValueError, "segments must be at most the number of pixels, 16, got 17", np.ones((4, 4)), {"segments": 17}),
        (ValueError, "segments must be at least 1, got 0", np.ones((4, 4)), {"segments": 0}),
        (TypeError, "iterations must be an int", np.ones((4, 4)), {"iterations": 2.5}),
        (ValueError, "compactness must be more than 0", np.ones((4, 4)), {"compactness": 0}),
    ],
)
def test_wrong_arguments(error, message, image, settings):
    with pytest.raises(error, match=message):
        jv.superpixels(image, **{"segments": 4, **settings})
