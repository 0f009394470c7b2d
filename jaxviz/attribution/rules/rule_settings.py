"""The settings that the rules of LRP have in common: as data or as part of the program, and checked."""

import math
from dataclasses import field
from typing import Any

import jax

from jaxviz.attribution.rules.stabilizers import KNOWN, check_stabilizer
from jaxviz.checks import check_flag, check_number

register = jax.tree_util.register_dataclass  # so that another number in a rule is new data, not a new program


def bias_setting() -> Any:
    """The setting that rules with weights have: whether the bias takes part."""
    return field(default=True, metadata={"static": True})


def check_settings(rule: Any, signed: tuple[str, ...] = ()) -> None:
    """Raises unless the settings of a rule are numbers (at least 0 those that are to be), stabilizers and flags."""
    name = type(rule).__name__
    for setting, value in list(vars(rule).items()):
        if setting == "bias":
            object.__setattr__(rule, setting, check_flag(name, setting, value))
        elif setting in ("epsilon", "stabilizer"):
            object.__setattr__(rule, setting, check_stabilizer(name, setting, value))
        elif callable(value) or isinstance(value, KNOWN | str | bool | list | None):
            check_number(name, setting, value, -math.inf if setting in signed else 0)
