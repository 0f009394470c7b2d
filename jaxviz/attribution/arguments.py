"""Arguments that all methods share, checked at the public edge and brought into one form.

Checks of shapes and types work under `jax.jit`; checks of values (NaN, a target out of range) are left out there.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

from jaxviz import finite, host, meanwhile, targets
from jaxviz.checks import check_choice as check_choice
from jaxviz.checks import check_count as check_count
from jaxviz.checks import check_key as check_key
from jaxviz.model import Model, check_model
from jaxviz.program.steady import is_steady
from jaxviz.shardings import automatic, is_explicit
from jaxviz.targets import Target


def prepare(function: str, model: Any, inputs: Any, target: Any, *, differentiable: bool = True) -> tuple[Any, Target]:
    """Checks model, inputs and target.

    Args:
        function: the name of the caller, for error messages.
        model: the model.
        inputs: an array or a tuple of arrays.
        target: what is explained.
        differentiable: whether inputs must be floating point. Methods that only evaluate the model take integers, too.

    Returns:
        The inputs as JAX arrays, and the target in the form that jitted functions take.
    """
    check_model(function, model)
    known: dict[Any, _Passed] = model._known
    kinds = _kinds(inputs, differentiable)
    passed = known.get(kinds)
    if passed is not None:
        meanwhile.may_put_off(passed.quick if passed.is_steady and not callable(target) else None, function)
        meanwhile.put_off(lambda: _check_finite(function, inputs))
        return inputs, passed.target(function, target)
    explicit = any(map(is_explicit, jax.tree.leaves(inputs)))
    inputs = _arrays(function, model, inputs, differentiable)
    _check_finite(function, inputs)
    batch = (inputs[0] if type(inputs) is tuple else inputs).shape[0]
    passed = _Passed(*_shapes(function, model, inputs), batch)
    prepared = passed.target(function, target)
    if kinds is not None and not explicit:
        if len(known) >= _MOST_KNOWN:
            known.clear()
        known[kinds] = passed
    return inputs, prepared


def prepare_without_score(function: str, model: Any, inputs: Any, target: Any) -> Any:
    """The inputs for what does not look at the score, integers included: without a target any outputs will do."""
    return prepare(function, model, inputs, Target() if target is None else target, differentiable=False)[0]


_MOST_KNOWN = 256  # kinds of inputs of a model


class _Passed:
    """What is known of a model at inputs of some kinds, which have passed all checks but those of their values.

    Attributes:
        is_steady: whether the model takes as long whatever the values.
        quick: the functions that have been quick, and put off the checks of values.
    """

    def __init__(self, outputs: Any, is_steady: bool, batch: int) -> None:
        self._outputs, self._batch = outputs, batch
        self._indices: set[Any] = set()  # the kinds of arrays that are prepared as they are
        self.is_steady = is_steady
        self.quick: set[str] = set()

    def target(self, function: str, target: Any) -> Target:
        """The target in the form that jitted functions take."""
        if not isinstance(target, jax.Array) or isinstance(target, jax.core.Tracer):
            return targets.prepare(function, self._outputs, target, self._batch)
        if target.aval in self._indices and not target.committed:
            meanwhile.put_off(lambda: targets.check_range(function, target, self._outputs.shape[1]))
            return Target(target)
        prepared = targets.prepare(function, self._outputs, target, self._batch)
        if prepared.index is target:
            self._indices.add(target.aval)
        return prepared


def _kinds(inputs: Any, differentiable: bool) -> Any:
    """What the checks but those of values depend on; None where arrays have to be converted first."""
    leaves = inputs if type(inputs) is tuple else (inputs,)
    kinds = [leaf.aval for leaf in leaves if isinstance(leaf, jax.Array)]
    if len(kinds) < len(leaves):
        return None
    return type(inputs) is tuple, differentiable, jax.config.read("jax_enable_x64"), *kinds


def _arrays(function: str, model: Model, inputs: Any, differentiable: bool) -> Any:
    if not (type(inputs) is tuple or hasattr(inputs, "shape")):
        raise TypeError(
            f"{function}: inputs must be an array, or a tuple of arrays for several inputs, got {type(inputs).__name__}"
        )
    several = type(inputs) is tuple
    leaves = inputs if several else (inputs,)
    if not leaves:
        raise TypeError(f"{function}: inputs must be an array, or a tuple of arrays for several inputs, got ()")
    for index, leaf in enumerate(leaves):
        if not isinstance(leaf, jax.Array):
            _check_array(function, _name(several, index), leaf)
    kinds = tuple([(leaf.shape, leaf.dtype) for leaf in leaves])
    _check_kinds(function, several, kinds)
    if differentiable:
        for index, (_, dtype) in enumerate(kinds):
            if not finite.is_floating(dtype):
                raise TypeError(
                    f"{function}: {_name(several, index)} has dtype {dtype}, which cannot be differentiated; "
                    f"{_instead(function, model, inputs)}"
                )
    if any(map(is_explicit, leaves)):
        if AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types:
            raise ValueError(
                f"{function}: inputs are spread over a mesh with explicit axes, and such a mesh is set for all that is computed; "
                "call outside of jax.set_mesh, or make the mesh with axis_types=(jax.sharding.AxisType.Auto,)"
            )
        leaves = automatic(leaves)
    arrays = [leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf) for leaf in leaves]
    return tuple(arrays) if several else arrays[0]


def _check_finite(function: str, inputs: Any) -> None:
    """Raises if values of inputs are known not to be finite."""
    several = type(inputs) is tuple
    arrays = inputs if several else (inputs,)
    for leaf in arrays:
        if isinstance(leaf, jax.core.Tracer):
            return
    if all(map(_finite, arrays)):
        return
    counts = {_name(several, i): int(np.sum(~np.isfinite(leaf))) for i, leaf in enumerate(arrays)}
    found = [f"{count} of the values of {name}" for name, count in counts.items() if count]
    are = "is" if sum(counts.values()) == 1 else "are"
    raise ValueError(f"{function}: inputs must be finite, but {' and '.join(found)} {are} NaN or infinite")


def _check_array(function: str, name: str, leaf: Any) -> None:
    """Raises unless something that is not JAX's is an array all the same."""
    if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
        raise TypeError(f"{function}: {name} must be an array, got {type(leaf).__name__}")
    if isinstance(leaf, np.ma.MaskedArray):
        raise TypeError(f"{function}: {name} is a masked array; say what stands for what is masked: {name}.filled(...)")


def _name(several: bool, index: int) -> str:
    return f"inputs[{index}]" if several else "inputs"


@functools.lru_cache(maxsize=256)  # what has passed once passes
def _check_kinds(function: str, several: bool, kinds: tuple[tuple[Any, Any], ...]) -> None:
    """Raises unless arrays of these shapes and dtypes can be a model's inputs."""
    for index, (shape, dtype) in enumerate(kinds):
        name = _name(several, index)
        if not (jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)):
            raise TypeError(f"{function}: {name} must be an array of numbers, got dtype {dtype}")
        if not shape:
            raise ValueError(f"{function}: {name} is a scalar; axis 0 must be the batch")
        if 0 in shape:
            raise ValueError(f"{function}: {name} has shape {tuple(shape)}, in which there is nothing to explain")
        if shape[0] != kinds[0][0][0]:
            raise ValueError(
                f"{function}: all inputs must have the same batch size on axis 0, "
                f"got shapes {[tuple(shape) for shape, _ in kinds]}"
            )


# What `at_layer` does not take: they are told a layer already, or give no attribution of inputs.
_NOT_AT_LAYERS = frozenset(
    ("conductance", "internal_influence", "neuron_conductance", "guided_grad_cam", "full_grad", "relevance_report")
)


def _instead(function: str, model: Model, inputs: Any) -> str:
    """What to do with integer inputs: the embedding layers to attribute at."""
    try:
        layers = [layer.path for layer in model.layers(inputs) if layer.kind.startswith("Embed")]
    except Exception:  # the model does not run on these inputs: what follows is no hint then
        layers = []
    if layers and function in _NOT_AT_LAYERS:
        return (
            f"explain what follows an embedding layer instead ({', '.join(map(repr, layers))}): "
            f"tail, embedded = model.since({layers[0]!r}, inputs); jaxviz.{function}(tail, embedded, ...)"
        )
    if layers:
        return (
            f"attribute at an embedding layer instead ({', '.join(map(repr, layers))}): "
            f"jaxviz.at_layer({function}, {layers[0]!r})(model, inputs, ...)"
        )
    return (
        "give floating-point inputs, and what is not to be explained (lengths, masks, indices) as a keyword of the model's "
        "constructor"
    )


def _shapes(function: str, model: Model, inputs: Any) -> tuple[Any, bool]:
    """The model's outputs as shapes and dtypes, and whether it is steady; an error of the model says what it was applied to."""
    leaves, structure = jax.tree.flatten((model, inputs))
    # An array's own type, where it has one: `jax.typeof` takes its time.
    kinds = [leaf.aval if isinstance(leaf, jax.Array) else jax.typeof(leaf) for leaf in leaves]
    try:
        return _shapes_of(structure, tuple(kinds), jax.config.read("jax_enable_x64"))
    except Exception as error:
        shapes = " and ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(inputs))
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{function}: the model cannot be applied to inputs, {shapes}: {error}") from error


# For models that are made again, of which nothing is known: what has been traced is known by their shapes.
@functools.lru_cache(maxsize=1024)
def _shapes_of(structure: Any, kinds: tuple[Any, ...], wide: bool) -> tuple[Any, bool]:
    leaves = [jax.ShapeDtypeStruct(kind.shape, kind.dtype, weak_type=kind.weak_type) for kind in kinds]
    model, inputs = structure.unflatten(leaves)
    return _outputs.eval_shape(model, inputs), is_steady(_outputs.trace(model, inputs).jaxpr)


@jax.jit
def _outputs(model: Model, inputs: Any) -> Any:
    return model(inputs)


def check_like(function: str, name: str, value: Any, inputs: Any) -> None:
    """Raises unless what a callable of the user gave has the structure, shapes and dtypes of inputs."""
    kinds = lambda tree: jax.tree.map(lambda leaf: (jnp.shape(leaf), str(getattr(leaf, "dtype", type(leaf)))), tree)
    if kinds(value) != kinds(inputs):
        raise ValueError(
            f"{function}: {name} must give what has the structure, shapes and dtypes of inputs, {kinds(inputs)}, got "
            f"{kinds(value)}"
        )


def all_finite(tree: Any) -> bool:
    """Whether all values of some arrays are finite, or not known yet, inside `jax.jit`."""
    return all(isinstance(leaf, jax.core.Tracer) or _finite(leaf) for leaf in jax.tree.leaves(tree))


@jax.jit
def _all_finite(leaf: jax.Array) -> jax.Array:
    return jnp.isfinite(leaf).all()


def _finite(leaf: jax.Array) -> bool:
    if host.sees(leaf):
        return finite.is_finite(host.fetch(leaf))
    result = _all_finite(leaf)
    # Constants inside a jitted function are not looked at.
    return isinstance(result, jax.core.Tracer) or bool(result)
