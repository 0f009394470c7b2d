"""What is known of the attributions of a whole data set."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxviz.tables import as_text


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of the attributions of some examples: arrays, or pytrees of arrays, of the shape of one example's attribution.

    Attributes:
        count: how many examples there are.
        mean: the mean over the examples, float64, as all of these.
        variance: the mean squared deviation from it (divided by the count).
        min: the smallest value.
        max: the largest value.
        mean_absolute: the mean of the absolute values: how much a feature counts, whatever the direction.
    """

    count: int
    mean: Any
    variance: Any
    min: Any
    max: Any
    mean_absolute: Any


@dataclass(frozen=True, eq=False)
class DatasetAttribution(Statistics):
    """What `explain_dataset` found, which prints as a table.

    Attributes:
        count, mean, variance, min, max, mean_absolute: of all examples; see `Statistics`.
        classes: label -> `Statistics`, in the order of the labels; empty where there are none.
        left_out: how many examples are not in the statistics, since their attributions had NaN or infinite values.
        attributions: those of all examples, in order, if they were kept; else None.
    """

    classes: dict[Any, Statistics]
    left_out: int
    attributions: Any

    def __str__(self) -> str:
        rows = [[name, *_cells(one)] for name, one in (("all", self), *((str(k), v) for k, v in self.classes.items()))]
        lines = as_text(("Class", "Examples", "Mean", "Deviation", "Min", "Max", "Mean absolute"), rows)
        if self.left_out:
            lines.append(f"\nLeft out, for NaN or infinite attributions: {self.left_out}")
        return "\n".join([*lines, "", "Over all features; the arrays have each."])

    __repr__ = __str__


def _cells(one: Statistics) -> list[str]:
    """What a table says of statistics: those of the values of all examples and features."""
    join = lambda tree: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
    means = join(one.mean)
    deviation = np.sqrt((join(one.variance) + np.square(means - means.mean())).mean())
    values = means.mean(), deviation, join(one.min).min(), join(one.max).max(), join(one.mean_absolute).mean()
    return [f"{one.count:,}", *(f"{value:.4g}" for value in values)]
