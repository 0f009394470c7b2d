"""The variables of a program while it is executed."""

from collections.abc import Iterable
from typing import Any

from jaxviz.program._compat import Jaxpr, JaxprEqn, Literal, Var


class Variables:
    """What each variable of a program holds."""

    def __init__(self, values: dict[Var, Any]) -> None:
        self._values = values

    @staticmethod
    def of(jaxpr: Jaxpr, consts: list[Any], args: list[Any]) -> "Variables":
        """The variables of a program before its first equation."""
        values: dict[Var, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
        return Variables(values | dict(zip(jaxpr.invars, args, strict=True)))

    def read(self, atoms: Iterable[Any]) -> list[Any]:
        """The values of variables and literals."""
        return [atom.val if isinstance(atom, Literal) else self._values[atom] for atom in atoms]

    def operands(self, *equations: JaxprEqn) -> list[Any]:
        """The operands of one equation, or of several, in order."""
        return self.read(atom for equation in equations for atom in equation.invars)

    def write(self, results: Iterable[Any], *equations: JaxprEqn) -> None:
        """Keeps the results of one equation, or of several, in order."""
        self._values.update(zip((var for equation in equations for var in equation.outvars), results, strict=True))
