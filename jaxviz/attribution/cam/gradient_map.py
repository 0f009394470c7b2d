"""The class activation map of channels that are weighted by the score's gradient: what Grad-CAM and its kin have in common."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.cam.channels import channel_map
from jaxviz.attribution.cam.maps import Wanted, activations_and_gradients, finish
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.targets import Target

# Gives the weighted channels, `(batch, *grid, channels)`, from a layer's activation and the score's gradient by it.
Weighting = Callable[[jax.Array, jax.Array], jax.Array]


def gradient_map(weighting: Weighting, wanted: Wanted, model: Any, inputs: Any, target: Any) -> jax.Array:
    """The map asked for, of a layer's channels with a weighting."""
    inputs, prepared = prepare(wanted.function, model, inputs, target, differentiable=False)
    return _gradient_map(weighting, wanted, model, inputs, prepared)


@functools.partial(jit, static_argnums=(0, 1))
def _gradient_map(weighting: Weighting, wanted: Wanted, model: Model, inputs: Any, target: Target) -> jax.Array:
    pairs = activations_and_gradients(wanted, model, inputs, target)
    cams = [channel_map(wanted, weighting(*pair)) for pair in pairs]
    return finish(wanted, cams, inputs)
