"""A model's score as a game: its players are groups of features; a coalition is worth the score without the others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import chunks
from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.baselines import baseline_like
from jaxviz.attribution.perturbation.groups import Groups, feature_count, groups
from jaxviz.compilation import jit
from jaxviz.finite import is_floating
from jaxviz.model import Model
from jaxviz.precision import at_least_float32
from jaxviz.targets import Target, TargetLike, select

MOST_REGRESSED = 4096  # groups: a matrix of 64 MiB


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Game:
    """What is to be explained: the score of inputs of which some groups stand at the baseline."""

    model: Model
    inputs: Any
    baseline: Any
    groups: Groups
    target: Target

    @property
    def _is_explicit(self) -> bool:
        """Whether an array is of a mesh with explicit axes: of what is checked none is, so that it is the model's."""
        return self.model._is_explicit

    def perturbed(self, coalition: jax.Array) -> Any:
        """The inputs, with the baseline where a group is not in the coalition, bool `(groups,)`."""
        return jax.tree.map(jnp.where, self.groups.lay(coalition, self.inputs), self.inputs, self.baseline)

    def scores(self, coalitions: jax.Array) -> jax.Array:
        """The worth of coalitions, bool `(n, groups)`, to each example: `(n, batch)`."""
        return jax.vmap(lambda coalition: scores_of(self.model, self.perturbed(coalition), self.target))(coalitions)

    def sizes(self, count: int, chunk_size: int | None) -> tuple[int, ...]:
        """The sizes of chunks of so many evaluations; see `chunks.sizes`."""
        leaves = jax.tree.leaves(self.inputs)
        if not count:
            return ()
        values = feature_count(*leaves)
        # Rows of a table: the activations of maps and tokens are many times as large as these.
        if all(leaf.ndim <= 2 and is_floating(leaf.dtype) for leaf in leaves):
            values = max(values // 4, 1)
        return chunks.sizes(count, leaves[0].shape[0], chunk_size, values=values)


def game(
    function: str,
    model: Any,
    inputs: Any,
    target: TargetLike,
    mask: Any,
    baseline: Any,
    chunk_size: int | None,
) -> Game:
    """Checks the arguments that all methods with a mask have in common."""
    inputs, prepared = prepare(function, model, inputs, target, differentiable=False)
    chunks.check_chunk_size(function, chunk_size)
    return Game(model, inputs, baseline_like(function, baseline, inputs), groups(function, mask, inputs), prepared)


def scores_of(model: Callable[[Any], Any], inputs: Any, target: Target) -> jax.Array:
    """The scores of inputs, `(batch,)`, in float32 at least: unchecked and not jitted."""
    return at_least_float32(select(model(inputs), target))


def scores_with(number: int, model: Model, inputs: Any, target: Target, leaf: jax.Array) -> jax.Array:
    """As `scores_of`, with another array in place of one of the inputs."""
    leaves, structure = jax.tree.flatten(inputs)
    return scores_of(model, jax.tree.unflatten(structure, [*leaves[:number], leaf, *leaves[number + 1 :]]), target)


@jit
def ends(game: Game) -> jax.Array:
    """The worth of no group at all, and of all: `(2, batch)`."""
    return game.scores(end_coalitions(game))


def end_coalitions(game: Game) -> jax.Array:
    """No group at all, and all: bool `(2, groups)`."""
    return jnp.array([[False], [True]]) & jnp.ones((1, game.groups.count), bool)


def collect(
    step: Callable[[Any], Any], variations: Any, sizes: tuple[int, ...], *, progress: bool, label: str
) -> list[Any]:
    """What a jitted step gives for each chunk of variations."""

    def append(parts: list[Any], part: Any) -> list[Any]:
        return [*parts, step(part)]

    return chunks.fold(append, [], variations, sizes, progress=progress, label=label)


@jit
def scores_in(numbers: jax.Array, coalitions: jax.Array, game: Game) -> jax.Array:
    """What those coalitions of a list, bool `(n, groups)`, are worth that have these numbers."""
    return game.scores(coalitions[numbers])


def check_regression(function: str, count: int) -> None:
    """Raises if there are more groups than a regression on them takes memory for."""
    if count > MOST_REGRESSED:
        raise ValueError(
            f"{function}: a regression on {count} groups takes a matrix of {count} x {count}; at most {MOST_REGRESSED} groups "
            "are taken: give a mask with fewer groups (jaxviz.superpixels makes one for images), or use shapley_sampling"
        )


def indices(count: int) -> np.ndarray:
    """The numbers of so many variations."""
    return np.arange(count, dtype=np.int32)


def weighted_sum(weights: jax.Array, values: jax.Array) -> jax.Array:
    """`sum_n weights[n, ...] * values[n, ...]`, an outer product over the other axes, in full precision on every device."""
    return jax.lax.dot_general(weights, values, (((0,), (0,)), ((), ())), precision=jax.lax.Precision.HIGHEST)
