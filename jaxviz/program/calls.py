"""How the evaluation goes into each call primitive."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxviz.program._compat import scan_groups
from jaxviz.program.rewrite import Active
from jaxviz.program.trace import OWN_DERIVATIVE, PLAIN_CALLS, REMAT, Key, Node, Step

if TYPE_CHECKING:
    from jaxviz.program.evaluate import Captured, Run

# Takes the run, the step, the operands and which results are used; gives the results and what was captured.
Enter = Callable[["Run", Step, list[Any], list[bool]], tuple[list[Any], "Captured"]]


def _inline(run: "Run", step: Step, operands: list[Any], used: list[bool]) -> tuple[list[Any], "Captured"]:
    return run.node(step.nodes[0], operands, used)


def _remat(run: "Run", step: Step, operands: list[Any], used: list[bool]) -> tuple[list[Any], "Captured"]:
    params = step.equations[0].params
    inner = jax.checkpoint(
        lambda *args: run.node(step.nodes[0], list(args)), prevent_cse=params["prevent_cse"], policy=params["policy"]
    )
    return inner(*operands)


def _scan(run: "Run", step: Step, operands: list[Any], used: list[bool]) -> tuple[list[Any], "Captured"]:
    params, node = step.equations[0].params, step.nodes[0]
    num_consts, num_carry = scan_groups(params)
    operands = [run.settled(operand) for operand in operands]
    consts, init, xs = (
        operands[:num_consts],
        operands[num_consts : num_consts + num_carry],
        operands[num_consts + num_carry :],
    )
    values = run.values_in(node)

    def body(carry: list[Any], slices: tuple[list[Any], dict[Key, Any]]) -> tuple[list[Any], Any]:
        inputs, values = slices
        results, captured = run.with_values(values).node(node, [*consts, *carry, *inputs])
        after = [run.settled(*pair) for pair in zip(results, map(_is_active, carry), strict=False)]
        return after, ([run.settled(result) for result in results[num_carry:]], captured)

    init = _active_from_the_start(run, body, init, (xs, values))
    carry, (ys, captured) = jax.lax.scan(
        body, init, (xs, values), length=params["length"], reverse=params["reverse"], unroll=params["unroll"]
    )
    return [*carry, *ys], captured


def _is_active(value: Any) -> bool:
    return isinstance(value, Active)


def _active_from_the_start(run: "Run", body: Callable[..., Any], init: list[Any], xs: Any) -> list[Any]:
    """The first carry, made active where it is so after any number of steps."""
    if run.rules is None:
        return init
    first = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), xs)
    while True:
        after, _ = jax.eval_shape(body, init, first)
        lifted = [run.settled(leaf, _is_active(later)) for leaf, later in zip(init, after, strict=True)]
        if list(map(_is_active, lifted)) == list(map(_is_active, init)):
            return lifted
        init = lifted


def _cond(run: "Run", step: Step, operands: list[Any], used: list[bool]) -> tuple[list[Any], "Captured"]:
    index, *args = [run.settled(operand) for operand in operands]
    if _is_active(index):
        return _every_branch(run, step, index, args)
    shapes: dict[Key, Any] = {}
    active = [False] * len(step.equations[0].outvars)
    for node in step.nodes:
        results, captured = jax.eval_shape(functools.partial(run.node, node), args)
        shapes.update(captured)
        active = [known or _is_active(result) for known, result in zip(active, results, strict=True)]

    def branch(node: Node) -> Callable[[list[Any]], Any]:
        def call(args: list[Any]) -> Any:
            results, captured = run.node(node, args)
            results = [run.settled(*pair) for pair in zip(results, active, strict=True)]
            return results, {key: captured.get(key) or jax.tree.map(_absent, shapes[key]) for key in shapes}

        return call

    return jax.lax.switch(index, [branch(node) for node in step.nodes], args)


def _every_branch(run: "Run", step: Step, index: Active, args: list[Any]) -> tuple[list[Any], "Captured"]:
    """Which branch is taken depends on the inputs: all are, and a rule chooses among their results, as under `jax.vmap`."""
    branches, captured = [], {}
    for node in step.nodes:
        results, inner = run.node(node, args)
        branches.append([run.settled(result) for result in results])
        captured.update(inner)
    results = []
    for var, cases in zip(step.equations[0].outvars, zip(*branches, strict=True), strict=True):
        aval: Any = var.aval
        select = jax.make_jaxpr(jax.lax.select_n)(
            jax.ShapeDtypeStruct((), jnp.int32), *[jax.ShapeDtypeStruct(aval.shape, aval.dtype)] * len(cases)
        )
        results.extend(run.equation(select.jaxpr.eqns[0], [index, *cases], step.where))
    return results, captured


def _absent(leaf: jax.ShapeDtypeStruct) -> jax.Array:
    """In place of the value of a layer in a branch that was not taken: NaN, or zero for integers."""
    floating = jnp.issubdtype(leaf.dtype, jnp.inexact)
    return jnp.full(leaf.shape, jnp.nan if floating else 0, leaf.dtype)


def _while(run: "Run", step: Step, operands: list[Any], used: list[bool]) -> tuple[list[Any], "Captured"]:
    params = step.equations[0].params
    condition, body = step.nodes
    inside = run.capture & (condition.keys | body.keys)
    if inside:
        raise ValueError(
            f"capture: layer {min(inside).layer!r} runs inside a while loop, which does not keep its values; "
            "use jax.lax.scan or nn.scan there"
        )
    if run.rules is not None and any(map(_is_active, operands)):
        raise ValueError(
            f"{run.rules.function}: the score depends on the inputs through a while loop, in {step.where}, whose steps are not "
            "kept; use jax.lax.scan or nn.scan there"
        )
    first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    condition_consts, body_consts, init = operands[:first], operands[first:second], operands[second:]
    results = jax.lax.while_loop(
        lambda carry: run.node(condition, [*condition_consts, *carry])[0][0],
        lambda carry: run.node(body, [*body_consts, *carry])[0],
        init,
    )
    return results, {}


ENTER: dict[str, Enter] = {
    # A layer inside a function with a derivative rule of its own can be reached only by leaving that rule out.
    **dict.fromkeys(PLAIN_CALLS | OWN_DERIVATIVE, _inline),
    **dict.fromkeys(REMAT, _remat),
    "scan": _scan,
    "while": _while,
    "cond": _cond,
}
