"""Evaluates a traced program, reading and changing layers' values on the way."""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.program._compat import Literal, Var, bind, scan_groups
from jaxviz.program.trace import Key, Node, Program, Site, Step

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
) -> tuple[Any, dict[Key, Any]]:
    """Evaluates a program at given arguments.

    Equations that neither the outputs nor a captured value need are left out.

    Args:
        program: the traced program.
        args: the leaves of the arguments, in order.
        capture: keys of the values to read. They are read before they are changed.
        edits: changes of layers' values. What follows in the program sees the changed value.
        outputs: whether the outputs are wanted; else None is in their place.

    Returns:
        The outputs, as the function returns them, and the captured values, each as its layer's pytree.
    """
    run = _Run(frozenset(capture), dict(edits or {}))
    wanted = [outputs] * len(program.root.jaxpr.outvars)
    leaves, captured = run.node(program.root, list(args), wanted)
    result = jax.tree.unflatten(jax.tree.structure(program.outputs), leaves) if outputs else None
    return result, {key: program.sites[key].unflatten(captured[key]) for key in program.sites if key in captured}


class _Run:
    """One evaluation: what is captured and what is changed."""

    def __init__(self, capture: frozenset[Key], edits: dict[Key, Edit]) -> None:
        self.capture = capture
        self.edits = edits
        self.keys = capture | edits.keys()

    def node(self, node: Node, args: list[Any], wanted: list[bool] | None = None) -> tuple[list[Any], Captured]:
        jaxpr = node.jaxpr
        wanted = [True] * len(jaxpr.outvars) if wanted is None else wanted
        values: dict[Var, Any] = dict(zip(jaxpr.constvars, node.consts, strict=True))
        values.update(zip(jaxpr.invars, args, strict=True))
        captured: Captured = {}

        def read(atom: Any) -> Any:
            return atom.val if isinstance(atom, Literal) else values[atom]

        for step, live in self._needed(node, wanted):
            operands = [read(atom) for equation in step.equations for atom in equation.invars]
            if step.site is not None:
                results = self._site(step, operands, captured)
            elif step.touches(self.keys):
                results, inner = _RULES[step.equations[0].primitive.name](self, step, operands, live)
                captured.update(inner)
            else:
                results = bind(step.equations[0], operands)
            values.update(zip((var for equation in step.equations for var in equation.outvars), results, strict=True))
        return [read(atom) if keep else None for atom, keep in zip(jaxpr.outvars, wanted, strict=True)], captured

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

    def _site(self, step: Step, leaves: list[Any], captured: Captured) -> list[Any]:
        site = step.site
        assert site is not None
        if site.key in self.capture:
            captured[site.key] = leaves
        if site.key in self.edits:
            leaves = self.edits[site.key].apply(site, leaves)
        # The names are left in place, so that the result of an evaluation is a program with layers again.
        return [bind(equation, [leaf])[0] for equation, leaf in zip(step.equations, leaves, strict=True)]

    def with_values(self, values: dict[Key, tuple[Any, ...]]) -> "_Run":
        """The same run with other values in the edits that have values."""
        return _Run(
            self.capture,
            self.edits | {key: replace(self.edits[key], value=value) for key, value in values.items()},
        )

    def values_in(self, node: Node) -> dict[Key, tuple[Any, ...]]:
        return {key: edit.value for key, edit in self.edits.items() if key in node.keys and edit.value is not None}


# How to go into each call primitive. A rule takes the run, the step, the operands and which results are used; it gives the
# results and what was captured.


def _inline(run: _Run, step: Step, operands: list[Any], used: list[bool]) -> tuple[list[Any], Captured]:
    return run.node(step.nodes[0], operands, used)


def _remat(run: _Run, step: Step, operands: list[Any], used: list[bool]) -> tuple[list[Any], Captured]:
    params = step.equations[0].params
    inner = jax.checkpoint(
        lambda *args: run.node(step.nodes[0], list(args)), prevent_cse=params["prevent_cse"], policy=params["policy"]
    )
    return inner(*operands)


def _scan(run: _Run, step: Step, operands: list[Any], used: list[bool]) -> tuple[list[Any], Captured]:
    params, node = step.equations[0].params, step.nodes[0]
    num_consts, num_carry = scan_groups(params)
    consts, init, xs = (
        operands[:num_consts],
        operands[num_consts : num_consts + num_carry],
        operands[num_consts + num_carry :],
    )

    def body(carry: list[Any], slices: tuple[list[Any], dict[Key, Any]]) -> tuple[list[Any], Any]:
        inputs, values = slices
        results, captured = run.with_values(values).node(node, [*consts, *carry, *inputs])
        return results[:num_carry], (results[num_carry:], captured)

    carry, (ys, captured) = jax.lax.scan(
        body,
        init,
        (xs, run.values_in(node)),
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    return [*carry, *ys], captured


def _cond(run: _Run, step: Step, operands: list[Any], used: list[bool]) -> tuple[list[Any], Captured]:
    index, *args = operands
    shapes: dict[Key, Any] = {}
    for node in step.nodes:
        shapes.update(jax.eval_shape(functools.partial(run.node, node), args)[1])

    def branch(node: Node) -> Callable[[list[Any]], Any]:
        def call(args: list[Any]) -> tuple[list[Any], Captured]:
            results, captured = run.node(node, args)
            return results, {key: captured.get(key) or [_absent(leaf) for leaf in shapes[key]] for key in shapes}

        return call

    return jax.lax.switch(index, [branch(node) for node in step.nodes], args)


def _absent(leaf: jax.ShapeDtypeStruct) -> jax.Array:
    """In place of the value of a layer in a branch that was not taken: NaN, or zero for integers."""
    floating = jnp.issubdtype(leaf.dtype, jnp.inexact)
    return jnp.full(leaf.shape, jnp.nan if floating else 0, leaf.dtype)


def _while(run: _Run, step: Step, operands: list[Any], used: list[bool]) -> tuple[list[Any], Captured]:
    params = step.equations[0].params
    condition, body = step.nodes
    inside = run.capture & (condition.keys | body.keys)
    if inside:
        raise ValueError(
            f"capture: layer {min(inside).layer!r} runs inside a while loop, which does not keep its values; "
            "use jax.lax.scan or nn.scan there"
        )
    first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    condition_consts, body_consts, init = operands[:first], operands[first:second], operands[second:]
    results = jax.lax.while_loop(
        lambda carry: run.node(condition, [*condition_consts, *carry])[0][0],
        lambda carry: run.node(body, [*body_consts, *carry])[0],
        init,
    )
    return results, {}


_RULES: dict[str, Callable[[_Run, Step, list[Any], list[bool]], tuple[list[Any], Captured]]] = {
    "jit": _inline,
    "pjit": _inline,
    "closed_call": _inline,
    "core_call": _inline,
    # A layer inside a function with a derivative rule of its own can be reached only by leaving that rule out.
    "custom_jvp_call": _inline,
    "custom_vjp_call": _inline,
    "remat2": _remat,
    "checkpoint": _remat,
    "scan": _scan,
    "while": _while,
    "cond": _cond,
}
