"""What has no derivative: the operations of a model for which JAX has none, named where a method needs it."""

import inspect
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz import views
from jaxviz.model import Model
from jaxviz.program import Program, Where
from jaxviz.program._compat import JaxprEqn, bind
from jaxviz.program.dependence import reached
from jaxviz.program.trace import INLINE, OWN_DERIVATIVE, Node, Step


def check_derivatives(error: Exception, method: Any, args: tuple[Any, ...], settings: dict[str, Any]) -> None:
    """Raises what says more, if an error is JAX's about an operation that has no derivative.

    Args:
        error: what a method has raised.
        method: the method, of `model` and `inputs`; the `__call__` of an object that has a `name`.
        args: what it was called with.
        settings: and by keyword.
    """
    try:
        given = inspect.signature(method).bind(*args, **settings).arguments
    except TypeError:  # the call itself is the mistake
        return
    model = given["model"]
    found = _culprits(model, given["inputs"], str(error)) if isinstance(model, Model) else {}
    if not found:
        return
    function = method.__name__ if method.__name__ != "__call__" else args[0].name
    names = " and ".join(f"{name!r} ({'; '.join(map(str, places))})" for name, places in found.items())
    raise ValueError(
        f"{function}: no derivative of the primitive {names}, through which the score depends on the inputs; give the function "
        "around it one by jax.custom_vjp, or use a method that needs none, such as jaxviz.feature_ablation or "
        f"jaxviz.kernel_shap. JAX says: {error}"
    ) from error


def _culprits(model: Model, inputs: Any, message: str) -> dict[str, dict[Where, None]]:
    """The primitives on the way from the inputs whose derivative fails with this message, and where they stand."""
    found: dict[str, dict[Where, None]] = {}
    try:
        program = views.program(model, inputs)
        on_the_way = _on_the_way(program, len(jax.tree.leaves(inputs)))
        for step in _steps(program.root):
            for equation in step.equations:
                name = equation.primitive.name
                if (id(equation) in on_the_way or name == "while") and _failure(equation) == message:
                    found.setdefault(name, {})[step.where] = None
    except Exception:  # the model itself fails at these inputs: that is said already
        return {}
    return found


def _steps(node: Node) -> Iterator[Step]:
    """All steps that are differentiated as they stand; of calls and branches, those inside."""
    for step in node.steps:
        name = step.equations[0].primitive.name
        if step.nodes and (name in INLINE - OWN_DERIVATIVE or name in ("scan", "cond")):
            for inner in step.nodes:
                yield from _steps(inner)
        else:
            yield step


def _on_the_way(program: Program, inputs: int) -> set[int]:
    """The equations that the inputs reach through floating-point values, by their `id`."""
    met = set()

    def passes(equation: JaxprEqn, result: Any) -> bool:
        met.add(id(equation))
        return bool(jnp.issubdtype(result.aval.dtype, jnp.inexact))

    count = len(program.root.jaxpr.invars)
    reached(program.root.jaxpr, [False] * (count - inputs) + [True] * inputs, passes)
    return met


def _failure(equation: JaxprEqn) -> str | None:
    """Why an equation cannot be differentiated; None if it can."""
    avals: list[Any] = [atom.aval for atom in equation.invars]
    moving = [index for index, aval in enumerate(avals) if jnp.issubdtype(aval.dtype, jnp.inexact)]

    def total(moved: list[Any], operands: list[Any]) -> Any:
        every = list(operands)
        for index, value in zip(moving, moved, strict=True):
            every[index] = value
        results = [leaf for leaf in bind(equation, every) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        return sum((jnp.real(leaf).sum().astype(jnp.float32) for leaf in results), jnp.float32(0))

    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
    try:
        jax.eval_shape(jax.grad(total, allow_int=True), [shapes[index] for index in moving], shapes)
    except Exception as failure:
        return str(failure)
    return None
