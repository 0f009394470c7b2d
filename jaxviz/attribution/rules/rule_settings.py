"""The settings that the rules of LRP have in common: as data or as part of the program, and checked."""

from dataclasses import field
from typing import Any

import jax
import numpy as np

from jaxviz.attribution.rules.stabilizers import check_stabilizer
from jaxviz.checks import check_flag

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
        elif isinstance(value, str | bool | list | None) or callable(value):
            raise TypeError(f"{name}: {setting} must be a number, got {value!r}")
        elif setting not in signed and isinstance(value, int | float | np.number) and not value >= 0:
            raise ValueError(f"{name}: {setting} must be at least 0, got {value!r}")
