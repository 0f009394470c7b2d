"""Deep feature factorization: the few concepts that a layer's channels are mixtures of, and where each of them is."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxviz.attribution.arguments import check_count, prepare_without_score
from jaxviz.attribution.cam.maps import Size, Wanted, activations, finish, wanted
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.kinds import of_whole_batch, without_score
from jaxviz.checks import given
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.precision import at_least_float32
from jaxviz.program import OUTPUT
from jaxviz.targets import TargetLike

_HIGHEST = jax.lax.Precision.HIGHEST


class Factorization(NamedTuple):
    """What `feature_factorization` gives, of the activation's dtype, the strongest concept first.

    Attributes:
        maps: where each concept is, and how much of it, `(batch, *spatial, components)`; at most 1, which it is at one position
            of the layer's grid. Of a concept that is 0, where there are fewer than were asked for, it is 0, too.
        concepts: each concept as a vector of channels, `(components, channels)`, where its map is 1.
    """

    maps: jax.Array
    concepts: jax.Array


@cautious
@without_score
@of_whole_batch
def feature_factorization(
    model: Model,
    inputs: Any,
    *,
    layer: str,
    components: int = 5,
    side: str = OUTPUT,
    target: TargetLike = None,
    steps: int = 200,
    upsample: Size = True,
) -> Factorization:
    """Deep feature factorization: concepts that are shared by all examples of a batch, and where each of them is.

    `activation[b, p, c] ~ sum_k maps[b, p, k] * concepts[k, c]`, both at least 0, with the least squared error

    The parts of things that the layer tells apart (heads, wheels, water) come out as concepts, by what is common to the examples:
    the map of a concept shows the same in all of them. Whatever the target.

    Args:
        model: the model.
        inputs: as for `grad_cam`.
        layer: path of one layer, as for `grad_cam`: best the output of a ReLU, which is at least 0. What is negative elsewhere is
            lifted, each channel by its least value in the batch.
        components: how many concepts, at least 1, at most the channels, and the positions of all examples.
        side: as for `grad_cam`.
        target: taken so that the method is called as the others are; the factorization does not depend on it.
        steps: of coordinate descent; each improves the concepts, then the maps.
        upsample: as for `grad_cam`.

    Returns:
        The `maps` and `concepts`, a named tuple. It costs the model up to the layer, once, a singular value decomposition of
        `(positions of all examples, channels)`, and `steps` sweeps of products with it.

    Raises:
        TypeError, ValueError: as for `grad_cam`, and if layer is a tuple, or components or steps are out of their range.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: jv.tag(inputs, "grid").sum(axis=(1, 2)), ())
        >>> grid = jnp.array([[[4.0, 4.0, 0.0], [0.0, 0.0, 2.0], [2.0, 2.0, 0.0]]])
        >>> maps, concepts = feature_factorization(model, grid, layer="grid", components=2)
        >>> print(concepts.round(3))
        [[4. 4. 0.]
         [0. 0. 2.]]
        >>> print(maps[0].round(3))
        [[1.  0. ]
         [0.  1. ]
         [0.5 0. ]]

    Note:
        The error has several minima: the descent (hierarchical alternating least squares) starts from the singular vectors
        (NNDSVD), so that it is the same each time. pytorch-grad-cam's `DeepFeatureFactorization` starts from random numbers, and
        takes each channel's least value off even where it is positive, to add it to each of the concepts afterwards, whose
        mixtures do not give the activation back then; it stretches each map in each example to the range from 0 to 1, so that a
        concept seems to be everywhere. Here the maps keep their scale.

    References:
        E. Collins, R. Achanta, S. Suesstrunk. Deep Feature Factorization for Concept Discovery. ECCV 2018. arXiv:1806.10206.
        C. Boutsidis, E. Gallopoulos. SVD based Initialization: A Head Start for Nonnegative Matrix Factorization. Pattern
        Recognition 41, 2008.
        A. Cichocki, A.-H. Phan. Fast Local Algorithms for Large Scale Nonnegative Matrix and Tensor Factorizations. IEICE
        Transactions on Fundamentals E92-A, 2009.
    """
    name = "feature_factorization"
    components, steps = check_count(name, "components", components), check_count(name, "steps", steps)
    if not isinstance(layer, str):
        raise TypeError(f"{name}: layer must be the path of one layer, a string, got {given(layer)}")
    inputs = prepare_without_score(name, model, inputs, target)
    asked = wanted(name, layer, side, False, upsample, channels=True, takes_several=False)
    return _feature_factorization(asked, components, model, inputs, steps)


@functools.partial(jit, static_argnums=(0, 1))
def _feature_factorization(wanted: Wanted, components: int, model: Model, inputs: Any, steps: Any) -> Factorization:
    (values,) = activations(wanted, model, inputs).values()
    *places, channels = values.shape
    matrix = at_least_float32(values.reshape(-1, channels))
    most = min(matrix.shape)
    if components > most:
        raise ValueError(
            f"{wanted.function}: components must be 1 to {most}, got {components}; layer {wanted.layer!r} has {channels} "
            f"channels, and {matrix.shape[0]} positions in all examples"
        )
    matrix = matrix - jnp.minimum(matrix.min(axis=0, keepdims=True), 0)
    top = matrix.max()
    # Squares of what is very small or large are beyond float32.
    matrix = matrix / jnp.where(top == 0, jnp.ones_like(top), top)
    maps, concepts = jax.lax.fori_loop(0, steps, functools.partial(_descend, matrix), _start(matrix, components))
    largest = maps.max(axis=0)
    maps = maps / jnp.where(largest == 0, jnp.ones_like(largest), largest)[None]
    concepts = concepts * largest[None]
    strength = jnp.linalg.norm(maps, axis=0) * jnp.linalg.norm(concepts, axis=0)
    # Of more concepts than there are, what is left is rounding, whose map would still be 1 somewhere.
    is_void = strength <= 100 * jnp.finfo(matrix.dtype).eps * jnp.linalg.norm(matrix)
    maps = jnp.where(is_void[None], jnp.zeros_like(maps), maps)
    concepts = jnp.where(is_void[None], jnp.zeros_like(concepts), concepts * top)
    order = jnp.argsort(-strength)
    maps = maps[:, order].reshape(*places, components).astype(values.dtype)
    return Factorization(finish(wanted, [maps], inputs), concepts[:, order].T.astype(values.dtype))


def _start(matrix: jax.Array, components: int) -> tuple[jax.Array, jax.Array]:
    """Maps `(positions, components)` and concepts `(channels, components)` of the singular vectors' larger parts of one sign."""
    left, lengths, right = jnp.linalg.svd(matrix, full_matrices=False)
    left, lengths, right = left[:, :components], lengths[:components], right[:components].T
    norm = functools.partial(jnp.linalg.norm, axis=0, keepdims=True)
    parts = []
    for sign in (1, -1):
        pair = jax.nn.relu(sign * left), jax.nn.relu(sign * right)
        parts.append((norm(pair[0]) * norm(pair[1]), *pair))
    (above, *positive), (below, *negative) = parts
    share = jnp.maximum(above, below)
    found = []
    for one, other in zip(positive, negative, strict=True):
        part = jnp.where(above > below, one, other)
        length = norm(part)
        found.append(part / jnp.where(length == 0, jnp.ones_like(length), length) * jnp.sqrt(share * lengths[None]))
    maps, concepts = found
    return maps, concepts


def _descend(matrix: jax.Array, _: Any, factors: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    maps, concepts = factors
    concepts = _swept(concepts, maps, jnp.matmul(matrix.T, maps, precision=_HIGHEST))
    return _swept(maps, concepts, jnp.matmul(matrix, concepts, precision=_HIGHEST)), concepts


def _swept(factor: jax.Array, other: jax.Array, products: jax.Array) -> jax.Array:
    """One factor with each of its columns in turn the best for the others, at least 0."""
    squares = jnp.matmul(other.T, other, precision=_HIGHEST)
    for index in range(factor.shape[1]):
        slope = jnp.matmul(factor, squares[:, index], precision=_HIGHEST) - products[:, index]
        bend = squares[index, index]
        column = jax.nn.relu(factor[:, index] - slope / jnp.where(bend == 0, jnp.ones_like(bend), bend))
        factor = factor.at[:, index].set(jnp.where(bend == 0, factor[:, index], column))
    return factor
