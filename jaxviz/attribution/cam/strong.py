"""FEM: where the channels of a layer are active far beyond their mean."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.arguments import prepare_without_score
from jaxviz.attribution.cam.channels import channel_map, positions
from jaxviz.attribution.cam.maps import Layers, Size, Wanted, activations, finish, wanted
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.kinds import without_score
from jaxviz.checks import check_number
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.precision import at_least_float32
from jaxviz.program import OUTPUT
from jaxviz.targets import TargetLike


@cautious
@without_score
def fem_cam(
    model: Model,
    inputs: Any,
    *,
    layer: Layers,
    side: str = OUTPUT,
    target: TargetLike = None,
    deviations: float = 2.0,
    relu: bool = True,
    upsample: Size = True,
    eigen_smooth: bool = False,
    channels: bool = False,
) -> jax.Array:
    """FEM, the feature explanation method: where features are strong, weighted by their channels' means; whatever the target.

    `map = relu(sum_c m_c * (activation_c > m_c + deviations * s_c))`: `m_c` and `s_c` are the mean and the standard deviation of
    a channel over the positions

    Args:
        model: the model.
        inputs: as for `grad_cam`.
        layer: as for `grad_cam`.
        side: as for `grad_cam`.
        target: taken so that the method is called as the others are; the map does not depend on it.
        deviations: how many standard deviations above its mean a feature is strong, at least 0. One position of `n` lies at most
            `sqrt(n - 1)` above: on a grid of 2 x 2 nothing is above 2.
        relu: False keeps the map's negative values, where the means of the channels that are strong there sum to less than 0.
        upsample: as for `grad_cam`.
        eigen_smooth: as for `grad_cam`.
        channels: as for `grad_cam`.

    Returns:
        The map, as for `grad_cam`. It costs the model up to the layer, once.

    Raises:
        TypeError, ValueError: as for `grad_cam`, and if deviations is negative.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: jv.tag(inputs, "grid").sum(axis=(1, 2)), ())
        >>> fem_cam(model, jnp.array([[[0.0], [0.0], [1.0], [7.0]]]), layer="grid", deviations=1)  # mean 2, deviation 2.9
        Array([[0., 0., 0., 2.]], dtype=float32)

    Note:
        The formula is the paper's as Xplique gives it. pytorch-grad-cam's `FEM` weighs the whole activation of a channel by the
        share of its positions that are strong, in place of these positions by the channel's mean: its map is bright where nothing
        is strong, too. A channel that is constant has no strong features.

    References:
        K. A. A. Fuad, P.-E. Martin, R. Giot, R. Bourqui, J. Benois-Pineau, A. Zemmari. Features Understanding in 3D CNNs for
        Actions Recognition in Video. IPTA 2020.
    """
    name = "fem_cam"
    deviations = check_number(name, "deviations", deviations, 0)
    inputs = prepare_without_score(name, model, inputs, target)
    return _fem_cam(wanted(name, layer, side, relu, upsample, eigen_smooth, channels), model, inputs, deviations)


@functools.partial(jit, static_argnums=0)
def _fem_cam(wanted: Wanted, model: Model, inputs: Any, deviations: Any) -> jax.Array:
    grids = activations(wanted, model, inputs).values()
    return finish(wanted, [channel_map(wanted, _strong(values, deviations)) for values in grids], inputs)


def _strong(values: jax.Array, deviations: Any) -> jax.Array:
    """Each channel's mean where it is strong, elsewhere 0; means and deviations in float32 at least."""
    wide = at_least_float32(values)
    over: dict[str, Any] = {"axis": positions(values), "keepdims": True}
    mean = wide.mean(**over)
    is_strong = wide > mean + jnp.asarray(deviations, wide.dtype) * wide.std(**over)
    is_constant = wide.max(**over) == wide.min(**over)  # where rounding alone may be above the mean
    shown = (is_strong & ~is_constant) | jnp.isnan(mean)  # NaN is not hidden: nothing is above it
    return jnp.where(shown, mean, jnp.zeros_like(mean)).astype(values.dtype)
