"""Rules: what an evaluation does with the equations that the explained inputs reach."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.program import paths
from jaxviz.program._compat import JaxprEqn, called
from jaxviz.program.trace import CALLS, Where


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Active:
    """A value that depends on the explained inputs; all others (parameters, constants, what is made of them) are plain arrays.

    A method that carries more than the value makes a subclass, registered and frozen as this one. Its further arrays have the
    axis of a scan in front when the value has it.

    Attributes:
        value: what the program computes.
    """

    value: Any


# Takes an equation, its operands (some of them active) and where it stands; gives the list of its results, each active or plain.
# A rule for a call may give NotImplemented: the call is then gone into.
Rule = Callable[[JaxprEqn, list[Any], Where], Any]


def enter(equation: JaxprEqn, operands: list[Any], where: Where) -> Any:
    """The rule of a call that is gone into."""
    return NotImplemented


def names_of(equation: JaxprEqn) -> tuple[str, ...]:
    """The names that rules for an equation may have, the first one first: of a call, that of the function and its primitive's."""
    name = equation.primitive.name
    return (f"{called(equation)}()", name) if name in CALLS else (name,)


@dataclass(frozen=True)
class Rules:
    """What to do with equations that have an active operand. All others are executed as they stand.

    Attributes:
        function: the name of the method, for errors.
        table: the rules. A key is the name of a primitive (`"tanh"`), or, with parentheses, of a function that the program calls
            (`"relu()"`); calls without a rule (also by their primitive, `"custom_jvp_call"`) are gone into. `"layers:tanh"`, with
            a path or pattern as in `paths.match`, is for equations whose innermost layer fits it, and goes before; of several
            that fit the last counts. `"*"` in place of a name stands for all primitives but calls.
        lift: makes a plain array active: the carry of a scan or the result of a branch that is active in other steps or branches.
        settle: what becomes of an active value that enters or leaves a scan or conditional, or that the program returns.
    """

    function: str
    table: Mapping[str, Rule]
    lift: Callable[[Any], Active] = Active
    settle: Callable[[Any], Active] = lambda active: active

    def find(self, equation: JaxprEqn, where: Where) -> Rule:
        """The rule for an equation.

        Raises:
            ValueError: if it has none.
        """
        name = equation.primitive.name
        names = names_of(equation) if name in CALLS else (*names_of(equation), "*")
        layered = [key.rsplit(":", 1) for key in self.table if ":" in key]
        for wanted in names:
            for layers, rule_for in reversed(layered):
                if rule_for == wanted and paths.match(where.layer, layers):
                    return self.table[f"{layers}:{wanted}"]
        for wanted in names:
            if wanted in self.table:
                return self.table[wanted]
        if name in CALLS:
            return enter
        raise ValueError(
            f"{self.function}: no rule for the primitive {name!r}, through which the score depends on the inputs, in {where}; "
            f"give one: rules={{{name!r}: rule}}, where rule(equation, operands, where) returns the list of results"
        )

    def check(self, equation: JaxprEqn, where: Where, results: Any) -> None:
        """Raises unless what a rule gave is a list of what has the shapes of the equation's results."""
        shapes = [getattr(var.aval, "shape", ()) for var in equation.outvars]
        if isinstance(results, list | tuple) and len(results) == len(shapes):
            found = [jnp.shape(each.value if isinstance(each, Active) else each) for each in results]
            if found == shapes:
                return
            given = f"results of shapes {found}"
        else:
            given = f"{len(results)} results" if isinstance(results, list | tuple) else type(results).__name__
        raise ValueError(
            f"{self.function}: the rule for {equation.primitive.name!r}, in {where}, must return a list of results of shapes "
            f"{shapes}, got {given}"
        )

    def settled(self, value: Any, active: bool = False) -> Any:
        """A value at the border of a scan or conditional: settled; made active where it must be and is not."""
        if isinstance(value, Active):
            return self.settle(value)
        return self.lift(value) if active else value
