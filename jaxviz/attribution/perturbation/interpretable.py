"""Interpretable spaces: the features that LIME's surrogate is a model of, how points of them are drawn, and their inputs."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.arguments import check_like
from jaxviz.attribution.perturbation.game import Game
from jaxviz.checks import check_function, given
from jaxviz.static import Static


@dataclass(frozen=True)
class Space:
    """The space of samples: static in programs. At most one of the two callables that lead from and to the inputs is given.

    Attributes:
        sampler: what draws samples: of the space, all of them, or with `to_features` of the inputs, one by one.
        to_inputs: from a sample of the space to the inputs; None: groups of features that are there or not.
        to_features: from a sample of the inputs to the space.
    """

    sampler: Static
    to_inputs: Static
    to_features: Static

    @property
    def is_of_groups(self) -> bool:
        """Whether the features are the groups of a mask."""
        return self.to_inputs.value is None and self.to_features.value is None

    def draw(self, samples: int, count: int, key: jax.Array) -> jax.Array:
        """All samples of the space, `(samples, features)`; with `to_features`, `(samples,)` keys to draw them by."""
        if self.to_features.value is not None:
            return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(samples, dtype=jnp.int32))
        if self.sampler.value is None:
            return jax.vmap(lambda number: jax.random.bernoulli(jax.random.fold_in(key, number), shape=(count,)))(
                jnp.arange(samples, dtype=jnp.int32)
            )
        drawn = self.sampler.value(key, samples, count)
        shape = (
            f"(samples, groups) = {samples, count}" if self.is_of_groups else f"(samples, features) = ({samples}, ...)"
        )
        wrong = not hasattr(drawn, "shape")
        if wrong or drawn.ndim != 2 or len(drawn) != samples or (self.is_of_groups and drawn.shape[1] != count):
            raise ValueError(
                f"lime: sampler must give an array of shape {shape}, got {given(drawn) if wrong else drawn.shape}"
            )
        return jnp.asarray(drawn).astype(bool) if self.is_of_groups else jnp.asarray(drawn)

    def at(self, drawn: jax.Array, game: Game) -> tuple[Any, jax.Array]:
        """The inputs of one of what `draw` gave, and its features, `(features,)` or for each example `(batch, features)`."""
        if self.to_features.value is not None:
            sample = self.sampler.value(drawn, game.inputs)
            check_like("lime", "sampler", sample, game.inputs)
            features = self.to_features.value(sample, game.inputs)
            batch = jax.tree.leaves(game.inputs)[0].shape[0]
            if getattr(features, "ndim", 0) != 2 or len(features) != batch:
                raise ValueError(
                    f"lime: to_features must give an array of shape (batch, features) = ({batch}, ...), got "
                    f"{getattr(features, 'shape', given(features))}"
                )
            return sample, features
        if self.to_inputs.value is None:
            return game.perturbed(drawn), drawn
        sample = self.to_inputs.value(drawn, game.inputs)
        check_like("lime", "to_inputs", sample, game.inputs)
        return sample, drawn

    def is_there(self, sample: Any, features: jax.Array, game: Game) -> Any:
        """Which features of integer inputs count as there: those of the groups that are, or those that are as they were."""
        if self.is_of_groups:
            return game.groups.lay(features, game.inputs)
        return jax.tree.map(jnp.equal, sample, game.inputs)


def space(function: str, sampler: Any, to_inputs: Any, to_features: Any, mask: Any, baseline: Any) -> Space:
    """Checks the settings that make a space."""
    if sampler is not None and not callable(sampler):
        raise TypeError(f"{function}: sampler must be None or callable, got {type(sampler).__name__}")
    named = {"to_inputs": to_inputs, "to_features": to_features}
    own = [name for name, value in named.items() if value is not None]
    for name in own:
        check_function(function, name, named[name], "a sample and inputs")
        if sampler is None:
            raise TypeError(f"{function}: {name} needs a sampler, which draws the samples that it is a function of")
        for other, value in (("mask", mask), ("baseline", baseline)):
            if value is not None:
                raise ValueError(f"{function}: {other} is of groups of features, in place of which {name} is given")
    if len(own) == 2:
        raise ValueError(
            f"{function}: to_inputs is for samples of the space, to_features for samples of the inputs; give one of them"
        )
    return Space(Static(sampler), Static(to_inputs), Static(to_features))
