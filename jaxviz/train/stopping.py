"""Early stopping."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from jaxviz.checks import check_choice, check_count, check_flag, check_number, check_text


@dataclass(frozen=True)
class EarlyStopping:
    """Stops a training whose monitored value no longer gets better.

    Args:
        monitor: a value of the epochs: "loss", "val_loss", a metric's name, or "val_" and a metric's name.
        patience: after how many epochs without improvement to stop; at least 1.
        min_delta: what counts as an improvement: a change of more than this.
        mode: "min", "max", or "auto": "max" for a monitor whose name has "accuracy", "min" for all others.
        restore_best: whether the state returned is that of the best epoch, rather than of the last.

    Raises:
        TypeError, ValueError: a setting of another type, or out of its range.

    References:
        L. Prechelt. Early stopping - but when? Neural Networks: Tricks of the Trade, 1998.
    """

    monitor: str = "val_loss"
    patience: int = 3
    min_delta: float = 0.0
    mode: str = "auto"
    restore_best: bool = True

    def __post_init__(self) -> None:
        check_text("EarlyStopping", "monitor", self.monitor)
        check_count("EarlyStopping", "patience", self.patience)
        check_number("EarlyStopping", "min_delta", self.min_delta, 0)
        check_choice("EarlyStopping", "mode", self.mode, ("auto", "min", "max"))
        check_flag("EarlyStopping", "restore_best", self.restore_best)

    def check(self, values: Mapping[str, object]) -> None:
        """Raises unless the monitored value is among those of the epochs."""
        if self.monitor not in values:
            hint = "; give validation_data" if self.monitor.startswith("val_") else ""
            raise ValueError(
                f"EarlyStopping: monitor {self.monitor!r} is not recorded{hint}. Recorded: {', '.join(values)}"
            )

    def better(self, value: float, best: float) -> bool:
        """Whether a value improves on the best so far. NaN never does."""
        highest = self.mode == "max" or (self.mode == "auto" and "accuracy" in self.monitor)
        return math.isnan(best) or (value > best + self.min_delta if highest else value < best - self.min_delta)


@dataclass(frozen=True)
class Patience:
    """What early stopping has seen.

    Attributes:
        best: the best value, NaN before the first.
        epoch: the epoch of the best value, counted from 0.
        waited: epochs since then.
    """

    best: float = math.nan
    epoch: int = -1
    waited: int = 0

    def after(self, rule: EarlyStopping, epoch: int, value: float) -> "Patience":
        """What has been seen after one more epoch; `waited` is 0 if it was the best."""
        if not math.isnan(value) and rule.better(value, self.best):
            return Patience(value, epoch, 0)
        return replace(self, waited=self.waited + 1)
