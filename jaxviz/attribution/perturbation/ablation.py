"""Ablation and permutation of features: what the score loses without one group of features."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.attribution.arguments import check_count, check_key, check_like
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.perturbation import nearby, rows
from jaxviz.attribution.perturbation.game import Game, collect, game, indices, scores_of
from jaxviz.checks import check_flag, check_function
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import is_top_level
from jaxviz.static import Static
from jaxviz.targets import TargetLike


@cautious
def feature_ablation(
    model: Model,
    inputs: Any,
    *,
    target: TargetLike = None,
    mask: Any = None,
    baseline: Any = None,
    chunk_size: int | None = None,
    progress: bool = False,
) -> Any:
    """Feature ablation: what the score loses when a group of features is put to the baseline.

    `attribution[i] = score(inputs) - score(inputs with the group of feature i at the baseline)`

    Args:
        model: the model.
        inputs: an array of any rank whose axis 0 is the batch, or a tuple of such arrays. Integers (token ids) may be given.
        target: as for `gradient`.
        mask: the group of each feature: None (every feature is a group of its own), an integer array that broadcasts to one
            example or to all of inputs, or for several inputs a tuple of these, where the same number is the same group in all
            inputs. `superpixels` makes one for images. Its values make the program's shape: it cannot be traced.
        baseline: what stands for a feature that is not there: None (zeros), a number, an array that broadcasts to inputs, or a
            tuple of these for several inputs. For integer inputs it is integers.
        chunk_size: most model evaluations (groups x examples) in flight, at least one group; memory grows with it. None
            chooses by the size of the inputs.
        progress: draw a progress bar.

    Returns:
        The attribution, of the structure and shapes of inputs and of their dtype (of the score's where inputs are integers); all
        features of a group have the attribution of the group. It costs one evaluation per group, and one; for one input with
        axes between the batch and the last, where it pays, only of what the box around a group can change, as in `occlusion`; for
        a table whose rows enter a matrix product first, most often only of what follows the product.

    Raises:
        TypeError: if model is not a `Model`, mask not integers, or target or baseline of another type.
        ValueError: if inputs are empty or not finite, mask or baseline do not broadcast to them, or target does not fit.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs.prod(axis=1), ())
        >>> feature_ablation(model, jnp.array([[2.0, 3.0, 4.0]]), mask=jnp.array([0, 0, 1]), baseline=1.0)
        Array([[20., 20., 18.]], dtype=float32)
        >>> def misses(params, data):  # of a whole data set, which is one example here
        ...     model, answers = params
        ...     return jax.vmap(lambda inputs: jnp.abs(model(inputs) - answers).max())(data)
        >>> table = jnp.array([[1.0, 2.0, 3.0], [2.0, 1.0, 1.0]])
        >>> measured = jv.Model.from_function(misses, (model, jnp.array([6.0, 2.0])))
        >>> feature_ablation(measured, table[None], mask=jnp.arange(3))[0, 0]  # a column each; without one, 6 is missed
        Array([-6., -6., -6.], dtype=float32)

    Note:
        As Captum's `FeatureAblation`. The numbers in a mask need not be consecutive. Where a score is one number for all examples
        together, which Captum allows for (and reads from a data loader in `DataLoaderAttribution`), let them be one example, as
        above; so for the other methods of perturbation.

    References:
        M. D. Zeiler, R. Fergus. Visualizing and Understanding Convolutional Networks. ECCV 2014. arXiv:1311.2901.
        L. Merrick. Randomized Ablation Feature Importance. 2019. arXiv:1910.00174.
    """
    name = "feature_ablation"
    ours = game(name, model, inputs, target, mask, baseline, chunk_size)
    count = ours.groups.count
    sizes = ours.sizes(count + 1, chunk_size)
    leaves = jax.tree.leaves(ours.inputs)
    boxes = ours.groups.boxes(leaves[0]) if len(leaves) == 1 and leaves[0].ndim > 2 else None
    base = None
    if boxes is not None:
        windows = boxes[0], (1,) * len(boxes[0])
        base = nearby.base(0, windows, ours.model, ours.inputs, ours.target)
    if len(sizes) == 1 and base is None and not check_flag(name, "progress", progress):
        return _losses_at_once(ours, is_top_level())  # a small network's time is that of the calls
    variations: Any = np.arange(-1, count, dtype=np.int32)  # first without nothing: the score itself
    scores: Any = _scores_without
    if boxes is not None and base is not None:
        scores = functools.partial(_scores_without_nearby, windows, base=base)
        variations = variations, boxes[1][variations]
    step = functools.partial(scores, game=ours)
    return _losses(ours, collect(step, variations, sizes, progress=progress, label="feature ablation"))


@cautious
def feature_permutation(
    model: Model,
    inputs: Any,
    *,
    target: TargetLike = None,
    mask: Any = None,
    samples: int = 1,
    sampler: Callable[..., Any] | None = None,
    key: jax.Array | None = None,
    chunk_size: int | None = None,
    progress: bool = False,
) -> Any:
    """Feature permutation: what the score loses when a group of features has the values of another example of the batch.

    `attribution[b, i] = score(inputs)[b] - mean_s score(inputs with the group of feature i of example p_s(b))[b]`

    The mean over the examples of a data set is its permutation importance. Values of other examples are likely ones, where a
    baseline may not be.

    Args:
        model: the model.
        inputs: as for `feature_ablation`; the batch has at least 2 examples, and better many (with a sampler, 1 will do).
        target: as for `gradient`.
        mask: as for `feature_ablation`.
        samples: number of permutations, at least 1.
        sampler: what draws other values: a callable `(key, inputs) -> inputs`, a JAX function that gives what has the structure,
            shapes and dtypes of inputs, of which a group's features are taken; give the same one each time. None: a random cycle
            through the batch.
        key: a `jax.random.key`; the same key draws the same permutations, whatever chunk_size.
        chunk_size: most model evaluations (samples x groups x examples) in flight, at least one group.
        progress: draw a progress bar.

    Returns:
        The attribution, as for `feature_ablation`. It costs one evaluation per sample and group, and one.

    Raises:
        TypeError, ValueError: as for `feature_ablation`, and if key is missing, the batch has one example only, samples is less
            than 1, or sampler gives something else.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs @ jnp.array([2.0, 0.0]), ())
        >>> feature_permutation(model, jnp.array([[1.0, 5.0], [4.0, 6.0]]), key=jax.random.key(0))
        Array([[-6.,  0.],
               [ 6.,  0.]], dtype=float32)
        >>> def within_pairs(key, inputs):  # the values of an example of the same kind
        ...     return inputs.reshape(-1, 2, *inputs.shape[1:])[:, ::-1].reshape(inputs.shape)
        >>> pairs = jnp.array([[1.0, 5.0], [4.0, 6.0], [0.0, 2.0], [2.0, 3.0]])
        >>> feature_permutation(model, pairs, sampler=within_pairs, key=jax.random.key(0))[:, 0]
        Array([-6.,  6., -4.,  4.], dtype=float32)

    Note:
        Captum's `FeaturePermutation` draws from all permutations but the identity, so that in it an example may keep its own
        values, and lose nothing. Here the permutation is a cycle through the whole batch, drawn evenly from all such cycles: no
        example keeps its values, and each of the others' is equally likely. `sampler` is Captum's `perm_func`, of all inputs at
        once. Of a group that spans several inputs all values are of the same other example; in Captum each input has its own.

    References:
        L. Breiman. Random Forests. Machine Learning 45, 2001.
        A. Fisher, C. Rudin, F. Dominici. All Models are Wrong, but Many are Useful. JMLR 20, 2019. arXiv:1801.01489.
    """
    name = "feature_permutation"
    ours = game(name, model, inputs, target, mask, None, chunk_size)
    key = check_key(name, key)
    check_count(name, "samples", samples)
    if sampler is not None:
        check_function(name, "sampler", sampler, "a key and inputs")
    batch = jax.tree.leaves(ours.inputs)[0].shape[0]
    if sampler is None and batch < 2:
        raise ValueError(f"{name}: the values of other examples are needed, but the batch has only one example")
    count = ours.groups.count
    variations = np.concatenate([[-1], indices(samples * count)]).astype(np.int32)
    parts = collect(
        functools.partial(_scores_permuted, Static(sampler), game=ours, key=key),
        variations,
        ours.sizes(len(variations), chunk_size),
        progress=progress,
        label="feature permutation",
    )
    return _losses(ours, parts)


@jit
def _scores_without(without: jax.Array | np.ndarray, game: Game) -> jax.Array:
    return game.scores(jnp.arange(game.groups.count, dtype=jnp.int32)[None] != without[:, None])


@functools.partial(jit, static_argnums=1)
def _losses_at_once(game: Game, is_alone: bool) -> Any:
    """The attribution by one program.

    Args:
        game: what is explained.
        is_alone: whether the program is not part of another, which may compute both branches of a choice.
    """
    without = np.append(indices(game.groups.count), np.int32(-1))  # last without nothing: the score itself
    anew = functools.partial(_scores_without, without)
    scores = rows.scores_without(game, anew) if is_alone else None
    scores = anew(game) if scores is None else scores
    return _losses(game, [scores[-1:], scores[:-1]])


@functools.partial(jit, static_argnums=0)
def _scores_without_nearby(
    boxes: nearby.Windows, variations: tuple[jax.Array, jax.Array], game: Game, base: list[jax.Array]
) -> jax.Array:
    """As `_scores_without`, of the model evaluated only where a group's box changes it.

    Args:
        boxes: their sides; they may stand anywhere.
        variations: the group that is left out and where its box starts.
        game: the game.
        base: what `nearby.base` gave.
    """
    leaf, fill = jax.tree.leaves(game.inputs)[0], jax.tree.leaves(game.baseline)[0]
    numbers = game.groups.lay(jnp.arange(game.groups.count, dtype=jnp.int32), leaf)
    numbers = jnp.broadcast_to(numbers, (numbers.shape[0], *leaf.shape[1:]))

    def score(without: jax.Array, start: jax.Array) -> jax.Array:
        def patch(first: list[Any], shape: tuple[int, ...]) -> jax.Array:
            cut = lambda array: jax.lax.dynamic_slice(array, first, (array.shape[0], *shape[1:]))
            return jnp.where(cut(numbers) != without, cut(leaf), cut(fill))

        return nearby.scores(0, boxes, start, patch, game.model, game.inputs, game.target, base)

    return jax.vmap(score)(*variations)


def _cycled(key: jax.Array, inputs: Any) -> Any:
    """Each example's successor in a random order of all examples: one cycle."""
    batch = jax.tree.leaves(inputs)[0].shape[0]
    order = jax.random.permutation(key, batch)
    successor = jnp.zeros(batch, order.dtype).at[order].set(jnp.roll(order, 1))
    return jax.tree.map(lambda leaf: leaf[successor], inputs)


@functools.partial(jit, static_argnums=0)
def _scores_permuted(sampler: Static, variations: jax.Array, game: Game, key: jax.Array) -> jax.Array:
    def score(variation: jax.Array) -> jax.Array:
        others = (sampler.value or _cycled)(jax.random.fold_in(key, variation.astype(jnp.uint32)), game.inputs)
        check_like("feature_permutation", "sampler", others, game.inputs)
        keeps = jnp.arange(game.groups.count, dtype=jnp.int32) != jnp.where(
            variation < 0, -1, variation % game.groups.count
        )
        laid = game.groups.lay(keeps, game.inputs)
        mixed = jax.tree.map(jnp.where, laid, game.inputs, others)
        return scores_of(game.model, mixed, game.target)

    return jax.vmap(score)(variations)


@jit
def _losses(game: Game, parts: list[jax.Array]) -> Any:
    """The attribution, of the scores of the inputs and, once or several times, of the inputs without each group."""
    scores = jnp.concatenate(parts)
    losses = (scores[:1] - scores[1:]).reshape(-1, game.groups.count, scores.shape[1])
    return game.groups.attribution(losses.mean(axis=0).T, game.inputs)
