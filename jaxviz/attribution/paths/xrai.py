"""XRAI: the regions of an image that hold the most attribution, best first."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.attribution.arguments import check_choice, check_count, prepare
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.paths.integrated import integrated_gradients
from jaxviz.attribution.paths.regions import Regions, density, read, regions
from jaxviz.attribution.perturbation import superpixels
from jaxviz.checks import check_number, is_traced
from jaxviz.chunks import check_chunk_size
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.targets import TargetLike

# Six, as the reference has six scales, from a few large segments to many small ones.
NUMBERS = (10, 20, 35, 50, 75, 100)
ALGORITHMS = ("full", "fast")


@cautious
def xrai(
    model: Model,
    inputs: Any,
    *,
    target: TargetLike = None,
    baselines: Any = None,
    steps: int = 50,
    attribution: Any = None,
    segments: Any = None,
    dilation: int | None = None,
    area: float = 1.0,
    smallest: int | None = None,
    algorithm: str = "full",
    chunk_size: int | None = None,
    progress: bool = False,
) -> jax.Array:
    """XRAI: the regions of an image by the density of their attribution, as a map.

    The attribution of a pixel is the greatest of its channels. Among all regions, of coarse and fine segmentations together, the
    one whose pixels have the highest mean attribution is added first, then the one whose pixels that are not covered yet have,
    and so on; that mean is the value of the pixels added. The map's sum is that of the pixels' attributions.

    Args:
        model: the model.
        inputs: one floating-point array `(batch, *spatial, channels)`.
        target: as for `gradient`.
        baselines: of the integrated gradients, which are averaged over them: a sequence of what `integrated_gradients` takes as
            its baseline, such as `(0.0, 1.0)` (a tuple, too, is of several baselines, since there is but one input), or an array
            `(k, *inputs.shape[1:])`. None: each example's least and greatest value, black and white.
        steps: of the integrated gradients, at least 1. Each costs one gradient per baseline.
        attribution: in place of integrated gradients: what another method says of inputs, of their shape, or of the shape
            `(batch, *spatial)`. The model is not evaluated then.
        segments: the regions. Ints: about how many `superpixels` there are, one segmentation each; None: 10, 20, 35, 50, 75 and
            100. Or masks: an array, or a sequence of arrays, of integers (each value is a region) or of booleans (True where the
            one region is), of the shape `spatial`, `(batch, *spatial)`, or one of these with an axis of 1 behind it.
        dilation: by how many pixels regions are widened to take in the edges around them, at least 0. None: not, for masks;
            for superpixels a 45th of the image's shorter side, at most 5.
        area: regions are added until they cover more than this share of the pixels, in [0, 1]; the pixels left over have their
            mean attribution.
        smallest: regions that would add fewer pixels are left out, at least 1. None: a thousandth of the image's pixels.
        algorithm: `"full"`, or `"fast"`, which puts regions in order once, by the mean over all of their pixels, whether others
            cover them or not.
        chunk_size: of the integrated gradients.
        progress: draw a progress bar for these.

    Returns:
        The map, `(batch, *spatial)`, of the dtype of inputs. Regions are found and put in order on the host, also under
        `jax.jit`.

    Raises:
        TypeError, ValueError: as for `integrated_gradients`, and if inputs are not one array with spatial axes and channels, or
            baselines, attribution or segments do not fit them.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs[:, :2, :, 0].sum((1, 2)), ())
        >>> halves = jnp.array([[0, 0], [0, 0], [1, 1], [1, 1]])
        >>> xrai(model, jnp.ones((1, 4, 2, 1)), baselines=(0.0,), segments=halves)[0]
        Array([[1., 1.],
               [1., 1.],
               [0., 0.],
               [0., 0.]], dtype=float32)

    Note:
        As `saliency.XRAI`, given the same masks and attribution. Its own masks are Felzenszwalb's at six
        scales, of the image at 224 x 224, dilated by 5 pixels; to have these, give `skimage.segmentation.felzenszwalb`'s as
        segments, and `dilation=5`. Its integrated gradients are a plain mean over points that include both ends. It leaves
        out what adds fewer than 50 pixels, whatever the size of the image, and its fast variant goes on whatever the area. The
        ranks that it returns, 1 for the best region, are `1 + np.unique(-map[0], return_inverse=True)[1]` (what is left over
        is the last there). What takes time is the superpixels; for several maps of the same images, make them once and give them
        as segments.

    References:
        A. Kapishnikov, T. Bolukbasi, F. Viegas, M. Terry. XRAI: Better Attributions Through Regions. ICCV 2019.
        arXiv:1906.02825.
    """
    name = "xrai"
    inputs, prepared = prepare(name, model, inputs, target)
    if type(inputs) is tuple or inputs.ndim < 3:
        given = "a tuple" if type(inputs) is tuple else f"shape {inputs.shape}"
        raise ValueError(f"{name}: inputs must be one array (batch, *spatial, channels), got {given}")
    batch, *sides, _ = inputs.shape
    spatial = tuple(sides)
    pixels = int(np.prod(spatial))
    check_count(name, "steps", steps)
    check_chunk_size(name, chunk_size)
    share = float(check_number(name, "area", area, 0, 1))
    if smallest is None:
        smallest = max(round(pixels / 1000), 1)
    smallest = check_count(name, "smallest", smallest)
    check_choice(name, "algorithm", algorithm, ALGORITHMS)
    numbers, masks = _segments(name, segments, batch, spatial)
    if dilation is None:
        dilation = 0 if masks else min(round(min(spatial) / 45), 5)
    dilation = check_count(name, "dilation", dilation, at_least=0)
    if attribution is None:
        points = _baselines(name, baselines, inputs)
        parts = [
            integrated_gradients(
                model, inputs, target=prepared, baseline=point, steps=steps, chunk_size=chunk_size, progress=progress
            )
            for point in points
        ]
        attribution = _greatest(parts)
    else:
        attribution = _given(name, attribution, inputs)
    shared = regions([mask[0] for mask in masks], dilation) if masks and all(len(mask) == 1 for mask in masks) else None
    host = functools.partial(_maps, numbers, masks, shared, dilation, share, smallest, algorithm == "fast")
    if is_traced(inputs) or is_traced(attribution):
        shape = jax.ShapeDtypeStruct((batch, *spatial), inputs.dtype)
        return jax.pure_callback(host, shape, inputs, attribution, vmap_method="sequential")
    return jnp.asarray(host(inputs, attribution))


def _segments(
    function: str, segments: Any, batch: int, spatial: tuple[int, ...]
) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """Numbers of superpixels, or masks."""
    pixels = int(np.prod(spatial))
    if segments is None:
        numbers = tuple(sorted({min(number, pixels) for number in NUMBERS}))
    elif isinstance(segments, int) and not isinstance(segments, bool):
        numbers = (segments,)
    elif isinstance(segments, Sequence) and segments and all(isinstance(part, int) for part in segments):
        numbers = tuple(segments)
    else:
        return (), read(function, segments, batch, spatial)
    if len(spatial) != 2:
        raise ValueError(
            f"{function}: superpixels are of images (batch, height, width, channels), inputs have {len(spatial)} spatial axes; "
            "give masks as segments"
        )
    return tuple(check_count(function, "segments", number, at_most=pixels) for number in numbers), []


def _baselines(function: str, baselines: Any, inputs: jax.Array) -> list[Any]:
    if baselines is None:
        return list(_extremes(inputs))
    if not (isinstance(baselines, list | tuple) or (hasattr(baselines, "shape") and np.ndim(baselines))):
        raise TypeError(
            f"{function}: baselines must be None, a sequence of baselines or an array of them, got {type(baselines).__name__}"
        )
    if not len(baselines):
        raise ValueError(f"{function}: baselines has no baselines")
    return list(baselines)


def _given(function: str, attribution: Any, inputs: jax.Array) -> jax.Array:
    """An attribution that was given, with its greatest value over the channels."""
    if not hasattr(attribution, "shape") or not hasattr(attribution, "dtype"):
        raise TypeError(f"{function}: attribution must be an array, got {type(attribution).__name__}")
    if tuple(attribution.shape) not in (inputs.shape, inputs.shape[:-1]):
        raise ValueError(
            f"{function}: attribution must have the shape {inputs.shape} or {inputs.shape[:-1]}, got {tuple(attribution.shape)}"
        )
    if not is_traced(attribution) and not np.isfinite(np.asarray(attribution, np.float64)).all():
        raise ValueError(f"{function}: attribution must be finite, but it has NaN or infinite values")
    array = jnp.asarray(attribution)
    return array if array.ndim < inputs.ndim else _greatest([array])


@jit
def _extremes(inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
    axes = tuple(range(1, inputs.ndim))
    return inputs.min(axis=axes, keepdims=True), inputs.max(axis=axes, keepdims=True)


@jit
def _greatest(parts: list[jax.Array]) -> jax.Array:
    return jnp.stack(parts).mean(axis=0).max(axis=-1)


def _maps(
    numbers: tuple[int, ...],
    masks: list[np.ndarray],
    shared: Regions | None,
    dilation: int,
    area: float,
    smallest: int,
    fast: bool,
    inputs: Any,
    attribution: Any,
) -> np.ndarray:
    """The maps of a batch, `(batch, *spatial)`."""
    images, values = np.asarray(inputs), np.asarray(attribution)
    result = np.empty(values.shape, images.dtype)
    for example in range(len(values)):
        found = shared
        if found is None:
            if numbers:
                own = [superpixels(images[example], segments=number)[..., 0] for number in numbers]
            else:
                own = [mask[example % len(mask)] for mask in masks]
            found = regions(own, dilation)
        result[example] = density(values[example].ravel(), found, area, smallest, fast).reshape(values.shape[1:])
    return result
