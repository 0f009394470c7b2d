"""Evaluates a traced program: reads and changes layers' values on the way, and applies rules in place of equations."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.program._compat import JaxprEqn, bind
from jaxviz.program.calls import ENTER
from jaxviz.program.rewrite import Active, Rules
from jaxviz.program.trace import Key, Node, Program, Site, Step, Where
from jaxviz.program.variables import Variables

Captured = dict[Key, list[Any]]


@dataclass(frozen=True)
class Edit:
    """A change of one layer's value.

    Attributes:
        name: what makes the change, for errors.
        function: takes the value (the layer's pytree) and, where `value` is given, its counterpart; returns the new value.
        value: None, or arrays of the shapes of the site's leaves. Inside a scan each step sees its own slice of them.
    """

    name: str
    function: Callable[..., Any]
    value: tuple[Any, ...] | None = None

    def apply(self, site: Site, leaves: list[Any]) -> list[Any]:
        """The changed arrays of a site."""
        args = () if self.value is None else (site.unflatten(self.value),)
        changed = self.function(site.unflatten(leaves), *args)
        structure = jax.tree.structure(changed)
        if structure != site.structure.treedef:
            raise ValueError(
                f"{self.name}: the new value of layer {site.key.layer!r} has the structure {structure}, "
                f"not {site.structure.treedef}"
            )
        return [
            fit(self.name, site.key.layer, new, old) for new, old in zip(jax.tree.leaves(changed), leaves, strict=True)
        ]


def fit(function: str, layer: str, new: Any, old: Any) -> jax.Array:
    """A new value in the shape and dtype of the old one (an array, or its shape and dtype), if it broadcasts to it.

    A Python number takes the layer's dtype, where it is one of the same kind or wider: no float becomes an integer.
    """
    new = jnp.asarray(new)
    if new.dtype != old.dtype and not (new.weak_type and _rank(new.dtype) <= _rank(old.dtype)):
        raise TypeError(
            f"{function}: the new value of layer {layer!r} has dtype {new.dtype}, the layer has {old.dtype}"
        )
    try:
        return jnp.broadcast_to(new.astype(old.dtype), old.shape)
    except ValueError:
        raise ValueError(
            f"{function}: the new value of layer {layer!r} has shape {new.shape}, the layer has {old.shape}"
        ) from None


def _rank(dtype: Any) -> int:
    kinds = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)
    return next(rank for rank, kind in enumerate(kinds) if jnp.issubdtype(dtype, kind))


def evaluate(
    program: Program,
    args: Iterable[Any],
    *,
    capture: Iterable[Key] = (),
    edits: Mapping[Key, Edit] | None = None,
    outputs: bool = True,
    rules: Rules | None = None,
) -> tuple[Any, dict[Key, Any]]:
    """Evaluates a program at given arguments.

    Equations that neither the outputs nor a captured value need are left out.

    Args:
        program: the traced program.
        args: the leaves of the arguments, in order.
        capture: keys of the values to read. They are read before they are changed.
        edits: changes of layers' values. What follows in the program sees the changed value.
        outputs: whether the outputs are wanted; else None is in their place.
        rules: what to do with the equations that have an `Active` operand, where some of args are active. Values that depend on
            these are then active, also among the outputs and captured values.

    Returns:
        The outputs, as the function returns them, and the captured values, each as its layer's pytree.
    """
    run = Run(frozenset(capture), dict(edits or {}), rules)
    wanted = [outputs] * len(program.root.jaxpr.outvars)
    leaves, captured = run.node(program.root, list(args), wanted)
    leaves = [run.settled(leaf) for leaf in leaves]
    result = jax.tree.unflatten(jax.tree.structure(program.outputs), leaves) if outputs else None
    return result, {key: program.sites[key].unflatten(captured[key]) for key in program.sites if key in captured}


class Run:
    """One evaluation: what is captured, what is changed, and the rules for active values."""

    def __init__(self, capture: frozenset[Key], edits: dict[Key, Edit], rules: Rules | None) -> None:
        self.capture = capture
        self.edits = edits
        self.rules = rules
        self.keys = capture | edits.keys()

    def node(self, node: Node, args: list[Any], wanted: list[bool] | None = None) -> tuple[list[Any], Captured]:
        """The results of a program (None where they are not wanted) and what was captured in it."""
        jaxpr = node.jaxpr
        wanted = [True] * len(jaxpr.outvars) if wanted is None else wanted
        variables = Variables.of(jaxpr, node.consts, args)
        captured: Captured = {}
        for step, live in self._needed(node, wanted):
            variables.write(self._step(step, variables.operands(*step.equations), live, captured), *step.equations)
        return [
            variables.read([atom])[0] if keep else None for atom, keep in zip(jaxpr.outvars, wanted, strict=True)
        ], captured

    def _needed(self, node: Node, wanted: list[bool]) -> list[tuple[Step, list[bool]]]:
        """The steps to execute, each with which of its results are used."""
        live = {id(atom) for atom, keep in zip(node.jaxpr.outvars, wanted, strict=True) if keep}
        needed = []
        for step in reversed(node.steps):
            used = [id(var) in live for equation in step.equations for var in equation.outvars]
            if any(used) or step.touches(self.capture) or any(equation.effects for equation in step.equations):
                needed.append((step, used))
                live.update(id(atom) for equation in step.equations for atom in equation.invars)
        return needed[::-1]

    def _step(self, step: Step, operands: list[Any], used: list[bool], captured: Captured) -> list[Any]:
        equation = step.equations[0]
        if equation.primitive.name == "name":
            return self._named(step, operands, captured)
        if not step.touches(self.keys):
            results = self.equation(equation, operands, step.where)
            if results is not NotImplemented:
                return results
        results, inner = ENTER[equation.primitive.name](self, step, operands, used)
        captured.update(inner)
        return results

    def equation(self, equation: JaxprEqn, operands: list[Any], where: Where) -> Any:
        """The results of an equation: as it stands, or by its rule if an operand is active.

        `NotImplemented` for a call with an active operand that is to be gone into.
        """
        if self.rules is None or not any(isinstance(operand, Active) for operand in operands):
            return bind(equation, operands)
        results = self.rules.find(equation, where)(equation, operands, where)
        if results is not NotImplemented:
            self.rules.check(equation, where, results)
        return results

    def _named(self, step: Step, leaves: list[Any], captured: Captured) -> list[Any]:
        site = step.site
        if site is not None and site.key in self.capture:
            captured[site.key] = leaves
        if site is not None and site.key in self.edits:
            leaves = self.edits[site.key].apply(site, leaves)
        # The names are left in place, so that the result of an evaluation is a program with layers again.
        return [_bind_name(equation, leaf) for equation, leaf in zip(step.equations, leaves, strict=True)]

    def settled(self, value: Any, active: bool = False) -> Any:
        """See `Rules.settled`."""
        return value if self.rules is None else self.rules.settled(value, active)

    def with_values(self, values: dict[Key, tuple[Any, ...]]) -> "Run":
        """The same run with other values in the edits that have values."""
        edits = self.edits | {key: replace(self.edits[key], value=value) for key, value in values.items()}
        return Run(self.capture, edits, self.rules)

    def values_in(self, node: Node) -> dict[Key, tuple[Any, ...]]:
        """The values of the edits in a program."""
        return {key: edit.value for key, edit in self.edits.items() if key in node.keys and edit.value is not None}


def _bind_name(equation: JaxprEqn, leaf: Any) -> Any:
    if isinstance(leaf, Active):
        return replace(leaf, value=bind(equation, [leaf.value])[0])
    return bind(equation, [leaf])[0]
