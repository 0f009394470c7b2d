"""What all class activation maps have in common: the layers they are of, and the size they are wanted in."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import views
from jaxviz.attribution import batches
from jaxviz.attribution.cam import tokens
from jaxviz.checks import check_choice, check_flag, given
from jaxviz.inputs import SIDES
from jaxviz.model import Model
from jaxviz.program import OUTPUT, Edit, Program, Site, evaluate, paths
from jaxviz.targets import Target, select

Layers = str | tuple[str, ...]
Size = bool | tuple[int, ...]
_SHOWN = 8  # layers in a message, the last ones: class activation maps are mostly of these
Score = Callable[[list[jax.Array]], tuple[jax.Array, Any]]


@dataclass(frozen=True)
class Wanted:
    """What a map is asked for: the static part of a call."""

    function: str
    layer: Layers
    side: str
    relu: bool
    upsample: Size
    eigen_smooth: bool = False
    channels: bool = False  # whether maps have the layer's channels, as their last axis
    takes_several: bool = True  # whether the function takes a tuple of layers


def wanted(
    function: str,
    layer: Any,
    side: Any,
    relu: Any,
    upsample: Any,
    eigen_smooth: Any = False,
    channels: Any = False,
    takes_several: bool = True,
) -> Wanted:
    """The settings that all methods have, checked."""
    if isinstance(layer, list):
        layer = tuple(layer)
    if not isinstance(layer, str) and not (
        isinstance(layer, tuple) and layer and all(isinstance(item, str) for item in layer)
    ):
        raise TypeError(
            f"{function}: layer must be the path of a layer, a string, or a tuple of paths and patterns, got {given(layer)}"
        )
    check_choice(function, "side", side, SIDES)
    if isinstance(upsample, list):
        upsample = tuple(upsample)
    if not isinstance(upsample, bool | tuple) or (isinstance(upsample, tuple) and any(map(_is_flag, upsample))):
        raise TypeError(
            f"{function}: upsample must be True, False or the size wanted as a tuple of ints, got {given(upsample)}"
        )
    relu, eigen_smooth = check_flag(function, "relu", relu), check_flag(function, "eigen_smooth", eigen_smooth)
    if check_flag(function, "channels", channels) and eigen_smooth:
        raise ValueError(
            f"{function}: channels=True keeps channels apart, of which eigen_smooth=True makes one map; give one"
        )
    return Wanted(function, layer, side, relu, upsample, eigen_smooth, channels, takes_several)


def _is_flag(side: Any) -> bool:
    return isinstance(side, bool | np.bool_)


def sites(wanted: Wanted, model: Model, program: Program, inputs: Any, *, differentiable: bool = True) -> list[Site]:
    """The layers' values in the program, with all that can be told of them by their shapes checked."""
    known = {key.layer: site for key, site in program.sites.items() if key.side == wanted.side}
    if isinstance(wanted.layer, str) and wanted.layer in known:
        chosen: tuple[str, ...] = (wanted.layer,)
    else:
        patterns = (wanted.layer,) if isinstance(wanted.layer, str) else wanted.layer
        chosen = paths.choose(wanted.function, patterns, known)
    if isinstance(wanted.layer, str) and len(chosen) > 1:
        mean = f", or the tuple ({wanted.layer!r},) for the mean of their maps" if wanted.takes_several else ""
        raise ValueError(
            f"{wanted.function}: layer {wanted.layer!r} fits {len(chosen)} layers; give one of them{mean}: {', '.join(chosen)}"
        )
    larger = batches.of_one_more(lambda inputs: views.program(model, inputs).sites, inputs) or {}
    for layer in chosen:
        what = f"layer {layer!r}" if wanted.side == OUTPUT else f"the input of layer {layer!r}"
        more = larger.get(known[layer].key)
        _check(f"{wanted.function}: {what}", known[layer].leaves, more, inputs, differentiable)
        if wanted.upsample is True:
            _check_aspect(f"{wanted.function}: {what}", known[layer].leaves[0].shape, known, inputs)
    return [known[layer] for layer in chosen]


def _check(what: str, leaves: Any, more: Site | None, inputs: Any, differentiable: bool) -> None:
    """Raises unless the activation is a float array with a batch, 1 to 3 spatial axes, and channels.

    Args:
        what: what the message calls it.
        leaves: shapes and dtypes of the activation.
        more: the layer with one example more, by which axis 0 is known as the batch: the steps of a scan may be as many.
        inputs: of the model.
        differentiable: whether it is differentiated.
    """
    if len(leaves) != 1:
        raise ValueError(f"{what} has {len(leaves)} arrays as its activation, not one map")
    (activation,) = leaves
    if not 3 <= len(activation.shape) <= 5:
        raise ValueError(
            f"{what} has an activation of shape {activation.shape}, without spatial axes; choose a "
            "layer whose activation is (batch, *spatial, channels), a convolution for instance"
        )
    batch = jax.tree.leaves(inputs)[0].shape[0]
    place = None if more is None else batches.axis(activation.shape, more.leaves[0].shape, batch)
    if activation.shape[0] != batch or place not in (None, 0):
        raise ValueError(f"{what} has an activation of shape {activation.shape}, whose axis 0 is not the batch")
    if not jnp.issubdtype(activation.dtype, jnp.floating):
        raise TypeError(
            f"{what} has an activation of {activation.dtype}, "
            f"{'which cannot be differentiated' if differentiable else 'not of floating-point numbers'}"
        )


def _check_aspect(what: str, shape: tuple[int, ...], known: dict[str, Site], inputs: Any) -> None:
    """Raises if such a map would be stretched over inputs of quite another aspect ratio: it is not of their places."""
    shapes = [spatial for spatial in tokens.spatial_shapes(inputs) if len(spatial) == len(shape) - 2]
    if not shapes or tokens.have_place(shape, inputs):
        return
    fit = [layer for layer, site in known.items() if len(site.leaves) == 1 and _is_grid(site.leaves[0].shape, inputs)]
    raise ValueError(
        f"{what} has an activation of shape {shape}, whose axes {shape[1:-1]} are no grid of the inputs' spatial axes "
        f"{shapes[0]}, which are of another aspect ratio (tokens and heads?); layers with a grid or a row of tokens: "
        f"{', '.join(fit[-_SHOWN:]) or 'none'}. If they are one all the same, give the size: grad_cam(..., upsample={shapes[0]})"
    )


def _is_grid(shape: tuple[int, ...], inputs: Any) -> bool:
    batch = jax.tree.leaves(inputs)[0].shape[0]
    return 3 <= len(shape) <= 5 and shape[0] == batch and tokens.have_place(shape, inputs)


def activations(wanted: Wanted, model: Model, inputs: Any) -> OrderedDict[str, jax.Array]:
    """The layers' activations by path, `(batch, *grid, channels)` each."""
    program = views.program(model, inputs)
    found = sites(wanted, model, program, inputs, differentiable=False)
    leaves = jax.tree.leaves((model.params, model.keywords, inputs))
    _, captured = evaluate(program, leaves, capture=[site.key for site in found], outputs=False)
    # Ordered, since JAX sorts the keys of a plain dict.
    grids = _grids(wanted, program, found, captured, inputs)
    return OrderedDict(zip([site.key.layer for site in found], grids, strict=True))


def activations_and_gradients(
    wanted: Wanted, model: Model, inputs: Any, target: Target
) -> list[tuple[jax.Array, jax.Array]]:
    """The layers' activations and the score's derivatives by them, `(batch, *grid, channels)` each: forward and backward once."""
    program, found, score, shifts = _shifted(wanted, model, inputs, target)
    gradients, captured = jax.grad(score, has_aux=True)(shifts)
    named = dict(zip([site.key for site in found], gradients, strict=True))
    grids = [_grids(wanted, program, found, values, inputs) for values in (captured, named)]
    return list(zip(*grids, strict=True))


def with_curvatures(
    wanted: Wanted, model: Model, inputs: Any, target: Target
) -> list[tuple[jax.Array, jax.Array, jax.Array]]:
    """Activations and derivatives as above, and the score's second derivatives by each activation, times this activation."""
    program, found, score, shifts = _shifted(wanted, model, inputs, target)
    pairs = activations_and_gradients(wanted, model, inputs, target)
    _, captured = score(shifts)
    products = {
        site.key: _second_derivatives(score, shifts, index, captured[site.key]) for index, site in enumerate(found)
    }
    grids = _grids(wanted, program, found, products, inputs)
    return [(*pair, product) for pair, product in zip(pairs, grids, strict=True)]


def _second_derivatives(score: Score, shifts: list[jax.Array], index: int, activation: jax.Array) -> jax.Array:
    """Those by one of the shifts, the others being 0, times an activation."""

    def slope(shift: jax.Array) -> jax.Array:
        return jax.grad(lambda shift: score([*shifts[:index], shift, *shifts[index + 1 :]])[0])(shift)

    # Backwards twice: a function with a derivative of its own may have no forward one.
    return jax.vjp(slope, shifts[index])[1](activation)[0]


def _shifted(
    wanted: Wanted, model: Model, inputs: Any, target: Target
) -> tuple[Program, list[Site], Score, list[jax.Array]]:
    """The program; the layers; the scores' sum and the activations, as a function of what is added to these; zeros to add."""
    program = views.program(model, inputs, lambda outputs: select(outputs, target))
    found = sites(wanted, model, program, inputs)
    leaves = jax.tree.leaves((model.params, model.keywords, inputs))

    def score(shifts: list[jax.Array]) -> tuple[jax.Array, Any]:
        # By a shift that is added, not by the activation itself: of several layers each is then seen through the others.
        edits = {site.key: Edit(wanted.function, jnp.add, (shift,)) for site, shift in zip(found, shifts, strict=True)}
        scores, captured = evaluate(program, leaves, capture=[site.key for site in found], edits=edits)
        return scores.sum(), captured

    return program, found, score, [jnp.zeros(site.leaves[0].shape, site.leaves[0].dtype) for site in found]


def _grids(wanted: Wanted, program: Program, found: list[Site], values: Any, inputs: Any) -> list[jax.Array]:
    return [tokens.to_grid(wanted.function, site.key, values[site.key], inputs, program) for site in found]


def finish(wanted: Wanted, cams: list[jax.Array], inputs: Any) -> jax.Array:
    """The map asked for, of those of the layers: negative values left out, in the size wanted; of several layers the mean."""
    axes = cams[0].ndim - 1 - wanted.channels
    depths = [str(cam.shape[-1]) for cam in cams]
    if wanted.channels and len(set(depths)) > 1:
        raise ValueError(
            f"{wanted.function}: the layers have different numbers of channels, {', '.join(depths)}; give channels=False"
        )
    if wanted.upsample is False:
        sizes = {cam.shape[1 : 1 + axes] for cam in cams}
        if len(sizes) > 1:
            raise ValueError(
                f"{wanted.function}: the layers have grids of several sizes, {', '.join(map(str, sorted(sizes)))}; give "
                "upsample=True, or the size wanted"
            )
        return mean_over_layers(wanted, cams, None)
    size = wanted.upsample if isinstance(wanted.upsample, tuple) else _spatial(wanted.function, axes, inputs)
    for cam in cams:
        if len(size) != cam.ndim - 1 - wanted.channels or not all(
            hasattr(side, "__index__") and side >= 1 for side in size
        ):
            raise ValueError(
                f"{wanted.function}: upsample must be one positive int for each of the layer's "
                f"{cam.ndim - 1 - wanted.channels} spatial axes, got {size}"
            )
    return mean_over_layers(wanted, cams, size)


def mean_over_layers(
    wanted: Wanted, cams: list[jax.Array], size: tuple[int, ...] | None, interpolation: str = "linear"
) -> jax.Array:
    """The map of one layer as it is; of a tuple of layers the mean, each as a share of its largest value in an example."""
    cams = [jax.nn.relu(cam) if wanted.relu else cam for cam in cams]
    if isinstance(wanted.layer, str):
        return resized(cams[0], size, interpolation)
    shares = [resized(_share(cam), size, interpolation) for cam in cams]
    return sum(shares[1:], shares[0]) / len(shares)


def _share(cam: jax.Array) -> jax.Array:
    largest = jnp.abs(cam).max(axis=tuple(range(1, cam.ndim)), keepdims=True)
    return cam / jnp.where(largest == 0, jnp.ones_like(largest), largest)


def resized(values: jax.Array, size: tuple[int, ...] | None, interpolation: str = "linear") -> jax.Array:
    """Values `(batch, *grid)` or `(batch, *grid, channels)` in another size of the grid."""
    if size is None:
        return values
    rest = values.shape[1 + len(size) :]
    return jax.image.resize(values, (values.shape[0], *size, *rest), interpolation, antialias=False)


def _spatial(function: str, axes: int, inputs: Any) -> tuple[int, ...]:
    """The spatial axes of the input that the map is of; token ids have no channels behind them."""
    leaves = jax.tree.leaves(inputs)
    shapes = {leaf.shape[1:-1] for leaf in leaves if leaf.ndim == axes + 2}
    shapes |= {leaf.shape[1:] for leaf in leaves if leaf.ndim == axes + 1 and jnp.issubdtype(leaf.dtype, jnp.integer)}
    if len(shapes) == 1:
        return shapes.pop()
    found = [leaf.shape for leaf in leaves]
    raise ValueError(
        f"{function}: the layer's map has {axes} spatial axes, and the inputs of shapes {found} do not tell one "
        "size for it; give upsample=(size, ...) or upsample=False"
    )
