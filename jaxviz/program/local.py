"""A program at inputs of which a window is replaced: only what the window can change is computed again.

A window of the inputs changes a patch of each feature map, which grows from one convolution to the next. Outside the patch the
values are those at the unperturbed inputs, which are computed once for all windows. `base` keeps what is needed of them;
`onward` computes the patches, each from a region that is cut out of what was kept, with the patch before pasted in. Where an
equation has no rule (a mean over the map, a dense layer), or the patch is most of the map, it is pasted into all of it, and from
there on the program is computed as it stands.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxviz.program import cost
from jaxviz.program._compat import ClosedJaxpr, Jaxpr, JaxprEqn, bind, closed, subprograms
from jaxviz.program.patch_rules import RULES
from jaxviz.program.patches import Local, Pass, Plan, Spread, Whole, raw, sizes
from jaxviz.program.spans import Spans, share
from jaxviz.program.trace import INLINE, OWN_DERIVATIVE
from jaxviz.program.variables import Variables

# Of a larger part of a map, cutting and pasting take what leaving out the rest saves.
MOST = 0.6
# Times fewer floating-point operations. A smaller gain is hardly one in time, and not worth another program to compile.
LEAST_GAIN = 1.5


def base(
    function: Callable[..., Any], args: tuple[Any, ...], inputs: Any, where: Spans, *, derived: bool = False
) -> list[jax.Array] | None:
    """What `onward` needs of the values at the unperturbed inputs.

    Args:
        function: a function of pytrees of arrays.
        args: what it takes beside the inputs.
        inputs: an array.
        where: for each axis of the inputs, where the window lies at each of its places.
        derived: whether the outputs may be differentiated.

    Returns:
        None where `onward` does not pay, or the outputs may be differentiated and it would lose a function's own derivative.
    """
    patch = np.zeros(sizes(inputs.shape, where), inputs.dtype)  # of no account in the first pass
    run = _Run(Pass([np.int32(0)] * len(where)))
    run.call(function, args, Local(inputs, patch, where))
    if derived and run.loses_derivative:
        return None
    return run.passing.kept if run.whole > LEAST_GAIN * run.partial else None


def onward(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    inputs: Any,
    where: Spans,
    places: Sequence[Any],
    patch: Any,
    kept: list[jax.Array],
) -> Any:
    """The outputs of `function(*args, inputs)`, had the inputs another patch.

    Args:
        function: as for `base`.
        args: likewise.
        inputs: likewise; of these only shape and dtype matter.
        where: likewise.
        places: for each axis of the inputs the number of the window's place, int32.
        patch: what is in the inputs at the starts of `where` at that place, of its sizes.
        kept: what `base` gave.
    """
    return _Run(Pass(places, kept)).call(function, args, Local(inputs, patch, where))


class _Run:
    """A pass through a program, and the floating-point operations there: of all of it, and of what is computed again."""

    def __init__(self, passing: Pass) -> None:
        self.passing = passing
        self.whole = self.partial = 0.0
        self.loses_derivative = False  # whether a function was gone into that has a derivative of its own

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], inputs: Local) -> Any:
        jaxpr, shape = jax.make_jaxpr(function, return_shape=True)(*args, inputs.base)
        inputs = inputs if self.passing.first else inputs._replace(base=None)
        results = map(self.settled, self.evaluate(jaxpr, [*jax.tree.leaves(args), inputs]))
        return jax.tree.unflatten(jax.tree.structure(shape), list(results))

    def evaluate(self, jaxpr: ClosedJaxpr | Jaxpr, args: list[Any]) -> list[Any]:
        jaxpr, consts = closed(jaxpr)
        variables = Variables.of(jaxpr, consts, args)
        for equation in jaxpr.eqns:
            variables.write(self.equation(equation, variables.operands(equation)), equation)
        return variables.read(jaxpr.outvars)

    def equation(self, equation: JaxprEqn, operands: list[Any]) -> list[Any]:
        name, params = equation.primitive.name, equation.params
        if not any(isinstance(operand, Local | Whole) for operand in operands):
            results = bind(equation, list(map(raw, operands)))
            if name == "broadcast_in_dim" and len(operands) == 1:
                return [Spread(results[0], raw(operands[0]), tuple(params["broadcast_dimensions"]))]
            return results
        plan: Plan | None = None
        if name in RULES and not any(isinstance(operand, Whole) for operand in operands):
            plan = RULES[name](equation, operands, self.passing)
        if plan is None and name in INLINE and any(isinstance(operand, Local) for operand in operands):
            self.loses_derivative |= name in OWN_DERIVATIVE
            return self.evaluate(subprograms(equation)[0], operands)
        part = 1.0 if plan is None else max(map(share, plan.spans))
        in_part = plan is not None and part <= MOST
        operations = cost.flops(equation)
        self.whole += operations
        self.partial += part * operations if in_part else operations
        if plan is None or not in_part:
            settled = list(map(self.settled, operands))
            return [Whole(value) for value in self.bound(equation, settled, not self.passing.first)]
        patches = plan.patches()
        bases = [operand.base if isinstance(operand, Local) else raw(operand) for operand in operands]
        return list(map(Local, self.bound(equation, bases, self.passing.first), patches, plan.spans))

    def bound(self, equation: JaxprEqn, operands: list[Any], wanted: bool) -> list[Any]:
        """The results of an equation as it stands, where they are wanted in this pass."""
        return bind(equation, operands) if wanted else [None] * len(equation.outvars)

    def settled(self, value: Any) -> Any:
        """A value in whole, as an array; None in the first pass where it depends on the window."""
        if isinstance(value, Local):
            value = self.passing.whole(value)
        return value.value if isinstance(value, Whole) else raw(value)
