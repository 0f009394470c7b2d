"""A class activation map whose channels are weighted by chance: what the others are to be better than."""

import functools
from typing import Any

import jax

from jaxviz.attribution.arguments import check_key, prepare_without_score
from jaxviz.attribution.cam.channels import channel_map
from jaxviz.attribution.cam.maps import Layers, Size, Wanted, activations, finish, wanted
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.kinds import without_score
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import OUTPUT
from jaxviz.targets import TargetLike


@cautious
@without_score
def random_cam(
    model: Model,
    inputs: Any,
    *,
    layer: Layers,
    key: jax.Array,
    side: str = OUTPUT,
    target: TargetLike = None,
    relu: bool = True,
    upsample: Size = True,
    eigen_smooth: bool = False,
    channels: bool = False,
) -> jax.Array:
    """A layer's channels, weighted by chance; whatever the target: the baseline for comparisons of class activation maps.

    `map = relu(sum_c w_c * activation_c)`, `w_c` uniform in [-1, 1), drawn for each example and channel

    What it scores, a method has from the activation alone, and not from its weights.

    Args:
        model: the model.
        inputs: as for `grad_cam`.
        layer: as for `grad_cam`.
        key: a `jax.random.key`: the same key, the same weights of a batch of this size.
        side: as for `grad_cam`.
        target: taken so that the method is called as the others are; the map does not depend on it.
        relu: as for `grad_cam`.
        upsample: as for `grad_cam`.
        eigen_smooth: as for `grad_cam`.
        channels: as for `grad_cam`.

    Returns:
        The map, as for `grad_cam`. It costs the model up to the layer, once.

    Raises:
        TypeError, ValueError: as for `grad_cam`, and if key is no random key.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: jv.tag(inputs, "grid").sum(axis=(1, 2)), ())
        >>> found = random_cam(model, jnp.array([[[1.0], [3.0]]]), layer="grid", key=jax.random.key(0), relu=False)
        >>> print(found[0, 1] / found[0, 0])  # one weight for all positions
        3.0

    Note:
        pytorch-grad-cam's `RandomCAM`, by a key in place of NumPy's global state.

    References:
        J. Gildenblat and contributors. PyTorch library for CAM methods. 2021. https://github.com/jacobgil/pytorch-grad-cam.
    """
    name = "random_cam"
    key = check_key(name, key)
    inputs = prepare_without_score(name, model, inputs, target)
    return _random_cam(wanted(name, layer, side, relu, upsample, eigen_smooth, channels), model, inputs, key)


@functools.partial(jit, static_argnums=0)
def _random_cam(wanted: Wanted, model: Model, inputs: Any, key: jax.Array) -> jax.Array:
    cams = []
    for index, values in enumerate(activations(wanted, model, inputs).values()):
        shape = (values.shape[0], *[1] * (values.ndim - 2), values.shape[-1])
        weights = jax.random.uniform(jax.random.fold_in(key, index), shape, values.dtype, -1, 1)
        cams.append(channel_map(wanted, weights * values))
    return finish(wanted, cams, inputs)
