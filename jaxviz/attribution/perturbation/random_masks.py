"""RISE: which parts of the inputs were seen when the score was high, over smooth random masks."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import chunks
from jaxviz.attribution.arguments import check_count, check_key
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.perturbation.game import Game, game, indices, scores_of, weighted_sum
from jaxviz.attribution.perturbation.groups import attribution_dtype
from jaxviz.checks import check_number, given, is_traced
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.targets import TargetLike


@cautious
def rise(
    model: Model,
    inputs: Any,
    *,
    target: TargetLike = None,
    mask: Any = None,
    baseline: Any = None,
    samples: int = 4000,
    grid: int | tuple[int, ...] = 7,
    keep: float = 0.5,
    key: jax.Array | None = None,
    chunk_size: int | None = None,
    progress: bool = False,
) -> Any:
    """RISE: the mean score of randomly masked inputs, over the masks through which a feature is seen.

    `attribution[i] = sum_s score(m_s * inputs + (1 - m_s) * baseline) * m_s[i] / (samples * keep)`

    A mask `m_s` is a random grid of cells, each seen (1) with probability `keep`, else not (0), enlarged to the size of the
    inputs by linear interpolation and shifted by a random part of a cell. All examples have the same masks, so that an example's
    attribution does not depend on the batch it is in.

    Args:
        model: the model; its score should be a probability, or at least 0: what is high everywhere is high in all of the map.
        inputs: as for `feature_ablation`; integers only with a mask.
        target: as for `gradient`.
        mask: None, or groups of features as for `feature_ablation`, which take the place of the grid: a group is seen or not.
        baseline: as for `feature_ablation`.
        samples: number of masks, at least 1.
        grid: number of cells. An int is the number along every axis between the batch and the channels (the last axis; where
            inputs have two axes, the last is no channels), or the axis' length if that is less. A tuple has one per axis after
            the batch, trailing axes left out. Along axes without one, channels most often, a mask is constant.
        keep: the probability with which a cell is seen, between 0 and 1.
        key: a `jax.random.key`; the same key draws the same masks, whatever chunk_size.
        chunk_size: most model evaluations (masks x examples) in flight, at least one mask; memory grows with it, and not with
            samples. None chooses by the size of the inputs.
        progress: draw a progress bar.

    Returns:
        The attribution, as for `feature_ablation`. It costs an evaluation per sample.

    Raises:
        TypeError, ValueError: as for `feature_ablation`, and if key is missing, a setting is out of its range, or no mask is
            given for inputs that are integers or several.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs[:, 2, 3, 0], ())
        >>> attribution = rise(model, jnp.ones((1, 8, 8, 1)), grid=4, samples=500, key=jax.random.key(0))
        >>> jnp.unravel_index(attribution.argmax(), (8, 8))[0]
        Array(2, dtype=int32)

    Note:
        As the paper's implementation, which has a baseline of zeros, 8 cells and `keep=0.1`; the defaults here are the paper's.

    References:
        V. Petsiuk, A. Das, K. Saenko. RISE: Randomized Input Sampling for Explanation of Black-box Models. BMVC 2018.
        arXiv:1806.07421.
    """
    name = "rise"
    ours = game(name, model, inputs, target, mask, baseline, chunk_size)
    key = check_key(name, key)
    check_count(name, "samples", samples)
    if is_traced(keep):
        raise TypeError(f"{name}: keep must be a number, got {given(keep)}")
    keep = float(check_number(name, "keep", keep))
    if not 0 < keep < 1:
        raise ValueError(f"{name}: keep is a probability between 0 and 1, got {given(keep)}")
    if mask is None:
        if type(inputs) is tuple:
            raise ValueError(f"{name}: a grid is laid over one input; for several inputs give a mask, one for each")
        if not jnp.issubdtype(ours.inputs.dtype, jnp.floating):
            raise TypeError(
                f"{name}: inputs of dtype {ours.inputs.dtype} cannot be blended with the baseline; give a mask, whose groups "
                "are seen or not, such as jnp.arange of their shape"
            )
        cells = _cells(name, grid, ours.inputs.shape[1:])
        shape = tuple(side if number else 1 for side, number in zip(ours.inputs.shape[1:], cells, strict=True))
    else:
        cells, shape = None, (ours.groups.count,)
    total = chunks.fold(
        functools.partial(_add_seen, cells=cells, game=ours, key=key, keep=np.float32(keep)),
        _nothing(math.prod(shape), ours),
        indices(samples),
        ours.sizes(samples, chunk_size),
        progress=progress,
        label="RISE",
    )
    return _attribution(cells, ours, total, np.asarray(samples * keep, total.dtype))


def _cells(function: str, grid: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The number of cells along each axis after the batch; 0 where a mask is constant."""
    if not shape:
        raise ValueError(f"{function}: inputs of shape (batch,) have no axis to lay a grid over")
    whole = not isinstance(grid, tuple | list)
    given = (grid,) * max(len(shape) - 1, 1) if whole else tuple(grid)
    if any(isinstance(number, bool) or not hasattr(number, "__index__") for number in given):
        raise TypeError(f"{function}: grid must be an int or a tuple of ints, got {grid!r}")
    if not 0 < len(given) <= len(shape):
        raise ValueError(
            f"{function}: grid has {len(given)} entries, but inputs have {len(shape)} axes after the batch"
        )
    if any(number < 1 or (number > side and not whole) for number, side in zip(given, shape, strict=False)):
        raise ValueError(f"{function}: grid must be between 1 and the inputs' {shape}, got {grid!r}")
    cells = [min(int(number), side) for number, side in zip(given, shape, strict=False)]
    return (*cells, *[0] * (len(shape) - len(cells)))


def _smooth_mask(cells: tuple[int, ...], shape: tuple[int, ...], key: jax.Array, keep: jax.Array) -> jax.Array:
    """A random mask, float32, of the sides of shape, or 1 where there are no cells."""
    seen_key, shift_key = jax.random.split(key)
    mask = jax.random.bernoulli(seen_key, keep, [max(number, 1) for number in cells]).astype(jnp.float32)
    for axis, (number, side) in enumerate(zip(cells, shape, strict=True)):
        if not number:
            weights = jnp.ones((1, 1), jnp.float32)
        else:
            # Enlarged to one cell more than fits, so that there is one cell to shift by.
            cell = -(-side // number)
            shift = jax.random.randint(jax.random.fold_in(shift_key, axis), (), 0, cell, jnp.int32)
            place = (jnp.arange(side, dtype=jnp.int32) + shift).astype(jnp.float32) + 0.5
            place = jnp.clip(place * (number / ((number + 1) * cell)) - 0.5, 0, number - 1)
            distance = jnp.abs(place[None] - jnp.arange(number, dtype=jnp.float32)[:, None])
            weights = jnp.maximum(1 - distance, 0)
        # Takes the first axis away, and adds one at the end: after all axes they are in their order again.
        mask = jnp.tensordot(mask, weights, axes=(0, 0))
    return mask


@functools.partial(jit, static_argnums=0)
def _nothing(count: int, game: Game) -> jax.Array:
    """The sum over no masks: `(count, batch)`, of the dtype of the scores."""
    scores = jax.eval_shape(scores_of, game.model, game.inputs, game.target)
    return jnp.zeros((count, *scores.shape), scores.dtype)


@functools.partial(jit, static_argnames="cells")
def _add_seen(
    total: jax.Array, numbers: jax.Array, cells: tuple[int, ...] | None, game: Game, key: jax.Array, keep: jax.Array
) -> jax.Array:
    """Adds what is seen through masks, times its score: `(features, batch)`."""

    def seen(number: jax.Array) -> tuple[jax.Array, jax.Array]:
        mask_key = jax.random.fold_in(key, number)
        if cells is None:
            coalition = jax.random.bernoulli(mask_key, keep, (game.groups.count,))
            return coalition.astype(jnp.float32), scores_of(game.model, game.perturbed(coalition), game.target)
        mask = _smooth_mask(cells, game.inputs.shape[1:], mask_key, keep)
        laid = mask[None].astype(game.inputs.dtype)
        masked = game.baseline + laid * (game.inputs - game.baseline)
        return mask.reshape(-1), scores_of(game.model, masked, game.target)

    masks, scores = jax.vmap(seen)(numbers)
    return total + weighted_sum(masks.astype(total.dtype), scores.astype(total.dtype))


@functools.partial(jit, static_argnums=0)
def _attribution(cells: tuple[int, ...] | None, game: Game, total: jax.Array, expected: jax.Array) -> Any:
    means = (total / expected).T
    if cells is None:
        return game.groups.attribution(means, game.inputs)
    sides = [side if number else 1 for side, number in zip(game.inputs.shape[1:], cells, strict=True)]
    attribution = jnp.broadcast_to(means.reshape(-1, *sides), game.inputs.shape)
    return attribution.astype(attribution_dtype(game.inputs, means))
