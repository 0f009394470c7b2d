"""What is told of several tensors: histograms and statistics, measured on the device and written on the host."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jaxviz.checks import check_strings
from jaxviz.watch.histogram import describe, histograms_of

STATISTICS = ("mean", "std", "norm", "zeros", "low", "high")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Described:
    """Histograms and statistics of n tensors, a few arrays for all of them.

    Attributes:
        counts: of the histograms, int32 `(n, bins)`.
        edges: of the histograms, float `(n, bins + 1)`.
        columns: the statistics by name, `(n,)` each.
        paths: of the tensors.
    """

    counts: Any
    edges: Any
    columns: dict[str, Any]
    paths: tuple[str, ...] = field(metadata={"static": True})


def check_statistics(name: str, statistics: Iterable[str]) -> tuple[str, ...]:
    """The names of the statistics to write, checked."""
    statistics = check_strings(f"watch.{name}", "statistics", statistics, "name")
    for one in statistics:
        if one not in STATISTICS:
            raise ValueError(f"watch.{name}: statistics must be of {', '.join(STATISTICS)}; got {one!r}")
    return statistics


def described(tensors: Mapping[str, jax.Array], bins: int, statistics: tuple[str, ...]) -> Described | None:
    """Histograms and the wanted statistics; None of no tensors."""
    leaves = list(tensors.values())
    if not leaves:
        return None
    if statistics:
        counted, found = describe(leaves, bins=bins)
        columns = {one: getattr(found, one) for one in statistics}
    else:  # without the sums that they need
        counted, columns = histograms_of(leaves, bins=bins), {}
    columns |= {"nan": counted.nan, "inf": counted.inf + counted.neginf}
    return Described(counted.counts, counted.edges, columns, tuple(tensors))


def write_described(
    writer: Any, step: int, name: str, values: Described | None, statistics: tuple[str, ...], histograms: bool
) -> None:
    """Writes all histograms in one event, and all scalars in one."""
    if values is None:
        return
    tables, scalars = {}, {}
    columns = {one: column.tolist() for one, column in values.columns.items()}
    for index, (path, some) in enumerate(zip(values.paths, np.any(values.counts, axis=1).tolist(), strict=True)):
        if histograms and some:
            tables[f"{name}/{path}"] = values.counts[index], values.edges[index]
        if some:
            scalars.update({f"{name}_{one}/{path}": float(columns[one][index]) for one in statistics})
        scalars.update(
            {f"{name}_{one}/{path}": float(columns[one][index]) for one in ("nan", "inf") if columns[one][index]}
        )
    if tables:
        writer.histograms(tables, step)
    if scalars:
        writer.scalars(scalars, step)
