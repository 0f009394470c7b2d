"""Options of pytorch-grad-cam that are composed here, against its figures, by `tests/reference/option_figures.py`."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

with np.load(Path(__file__).parents[1] / "reference" / "option_figures.npz") as stored:
    THEIRS = {name: stored[name] for name in stored.files if "cam/" in name}
pytestmark = pytest.mark.parametrize("reference", ["cnn"], indirect=True)


def close(ours, theirs):
    ours = np.asarray(ours, np.float64)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


def hires(model, figures, target, layer="features"):
    return jv.hires_cam(model, figures["inputs"], target=target, layer=layer, relu=False, upsample=False)


def test_of_classes(reference):
    model, figures = reference
    classes = figures["target"]
    chosen = lambda outputs: jnp.take_along_axis(outputs, classes[:, None], axis=1)[:, 0]
    close(hires(model, figures, lambda o: chosen(jax.nn.softmax(o))), THEIRS["hires_cam/softmax"])
    close(hires(model, figures, lambda o: chosen(o + jax.nn.log_softmax(o))), THEIRS["hires_cam/ReST"])

    def finer(outputs: jax.Array) -> jax.Array:
        similar = jax.nn.softmax(outputs)[:, 1:3]
        return (similar * (outputs[:, :1] - 0.6 * outputs[:, 1:3])).sum(axis=1) / similar.sum(axis=1)

    close(hires(model, figures, finer), THEIRS["hires_cam/finer"])


def test_of_a_segmented_region(reference):
    model, figures = reference
    region = np.arange(36).reshape(1, 6, 6) % 3 == 0
    segment = lambda model, x: jnp.tanh(jv.tag(model.until("features")(x), "grid") / 2) ** 2
    target = lambda outputs: jnp.where(region, outputs[..., 2], 0).sum(axis=(1, 2))
    close(hires(jv.Model.from_function(segment, model), figures, target, "grid"), THEIRS["hires_cam/segmentation"])


def detect(model: jv.Model, x: Any) -> dict[str, jax.Array]:
    """A box, a score and a label at each position of the features."""
    found = jv.tag(model.until("features")(x), "grid").reshape(len(x), 36, -1)
    places = jnp.stack(jnp.meshgrid(*[jnp.arange(6, dtype=found.dtype) + 0.5] * 2), axis=-1).reshape(1, 36, 2)
    half, classes = 1 + jnp.tanh(found[..., :2]), jax.nn.sigmoid(found[..., 2:5])
    boxes = jnp.concatenate([places - half, places + half], axis=-1)
    return {"boxes": boxes, "scores": classes.max(axis=-1), "labels": classes.argmax(axis=-1)}


def overlap(one: jax.Array, other: jax.Array) -> jax.Array:
    """Intersection over union of boxes `(..., 4)`."""
    low, high = jnp.maximum(one[..., :2], other[..., :2]), jnp.minimum(one[..., 2:], other[..., 2:])
    both = jnp.maximum(high - low, 0).prod(axis=-1)
    area = lambda boxes: (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)
    return both / (area(one) + area(other) - both)


def test_of_detected_boxes(reference):
    """Boxes near those that were found: how well each is found, and with what score, if with the same label."""
    model, figures = reference
    detector = jv.Model.from_function(detect, model)
    found = detector(figures["inputs"])
    boxes, labels = found["boxes"][:, [7, 20]] + 0.1, found["labels"][:, [7, 20]]

    def target(outputs: Any) -> jax.Array:
        overlaps = overlap(boxes[:, :, None], outputs["boxes"][:, None])
        best = overlaps.argmax(axis=2)
        largest = overlaps.max(axis=2)
        same = (largest > 0.5) & (jnp.take_along_axis(outputs["labels"], best, axis=1) == labels)
        return jnp.where(same, largest + jnp.take_along_axis(outputs["scores"], best, axis=1), 0).sum(axis=1)

    close(hires(detector, figures, target, "grid"), THEIRS["hires_cam/detection"])


def test_augmented_with_maps_stretched(reference):
    """`aug_smooth`: the mean of maps that are stretched to the range from 0 to 1."""
    model, figures = reference

    def stretched(*args: Any, **settings: Any) -> jax.Array:
        cam = jv.grad_cam(*args, **settings)
        cam = cam - cam.min(axis=(1, 2), keepdims=True)
        return cam / (cam.max(axis=(1, 2), keepdims=True) + 1e-7)

    theirs = THEIRS["grad_cam/aug_smooth"]
    there = theirs.any(axis=(1, 2))  # not for all examples does something speak for the target
    assert there.sum() == 2
    ours = jv.augmented(stretched)(model, figures["inputs"][there], target=figures["target"][there], layer="features")
    np.testing.assert_allclose(ours, theirs[there], atol=1e-5)  # OpenCV resizes in float32


def test_of_an_arrangement_of_ones_own(reference):
    """`reshape_transform`: the activation of a layer is channels first, and all its positions are in one axis."""
    model, figures = reference
    settings: dict[str, Any] = {"target": figures["target"], "relu": False}
    tail, activation = model.since("features", figures["inputs"])
    odd = jnp.moveaxis(activation.reshape(3, 36, -1), 1, 2)
    of_odd = jv.Model.from_function(lambda tail, odd: tail(jnp.moveaxis(odd, 1, 2).reshape(len(odd), 6, 6, -1)), tail)
    back = lambda grid: jnp.moveaxis(grid.reshape(len(grid), 36, -1), 1, 2)
    of_grid = jv.Model.from_function(lambda tail, grid: tail(back(jv.tag(grid, "grid"))), of_odd)
    grid = jnp.moveaxis(odd, 1, 2).reshape(activation.shape)
    ours = jv.grad_cam(of_grid, grid, layer="grid", upsample=(12, 12), **settings)
    close(ours, np.asarray(jv.grad_cam(model, figures["inputs"], layer="features", **settings), np.float64))
