"""A class activation map of what a function makes of a layer's activation and the score's gradient by it."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.cam.channels import joined
from jaxviz.attribution.cam.maps import Wanted, activations_and_gradients, finish
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.targets import Target

Combine = Callable[[jax.Array, jax.Array], jax.Array]


def mapped(combine: Combine, wanted: Wanted, model: Any, inputs: Any, target: Any) -> jax.Array:
    """The map of the weighted channels, `(batch, *grid, channels)`, that a function makes of activation and gradient."""
    inputs, prepared = prepare(wanted.function, model, inputs, target, differentiable=False)
    return _weighted_map(combine, wanted, model, inputs, prepared)


@functools.partial(jit, static_argnums=(0, 1))
def _weighted_map(combine: Combine, wanted: Wanted, model: Model, inputs: Any, target: Target) -> jax.Array:
    pairs = activations_and_gradients(wanted, model, inputs, target)
    cams = [joined(wanted, combine(*pair)) for pair in pairs]
    return finish(wanted, cams, inputs)
