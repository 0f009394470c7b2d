"""The report of where relevance went: what came to each layer, what it passed on, what it absorbed."""

import collections
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.caution import warn_unless_finite
from jaxviz.attribution.rules.assignment import Assignment
from jaxviz.attribution.rules.boxes import tally, warn_of
from jaxviz.attribution.rules.composites import Composite, as_composite
from jaxviz.attribution.rules.names import check_composite
from jaxviz.attribution.rules.propagation import propagation
from jaxviz.attribution.rules.relevance import Epsilon
from jaxviz.attribution.rules.score import relevance_score
from jaxviz.attribution.rules.usage import name_of
from jaxviz.checks import is_traced
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.targets import Target, TargetLike

_EPSILON = Epsilon()


class RelevanceFlow(NamedTuple):
    """The relevance of one operation, summed over the batch, all positions and the steps of a scan.

    Attributes:
        layer: the path of the layer that it stands in, `path#k` in its k-th further call; empty outside of all layers.
        operation: what it is ("convolution", "dense", "pooling", "sum", "softmax", ...).
        rule: its rule.
        arriving: the relevance of its outputs.
        passed: the relevance of its inputs.
        number: which one it is, from 1, where a layer has several of these operations; else 0.
    """

    layer: str
    operation: str
    rule: str
    arriving: float
    passed: float
    number: int = 0

    @property
    def absorbed(self) -> float:
        """What its biases and stabilizer kept; negative if its inputs got more than came."""
        return self.arriving - self.passed


@dataclass(frozen=True)
class RelevanceReport:
    """Where relevance went, summed over the batch. Shows itself as a table.

    Attributes:
        score: the score, from which relevance starts.
        attribution: the relevance that reached the inputs.
        flows: one record per operation that may absorb relevance, in the order of execution.
    """

    score: float
    attribution: float
    flows: tuple[RelevanceFlow, ...]

    @property
    def elsewhere(self) -> float:
        """What constants took that values were joined with, selected from or padded by, and rounding."""
        return self.score - self.attribution - sum(flow.absorbed for flow in self.flows)

    def __str__(self) -> str:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name in ("Layer", "Operation", "Rule", "Arriving", "Passed", "Absorbed"):
            table.add_column(name, justify="left" if name in ("Layer", "Operation", "Rule") else "right", no_wrap=True)
        for flow in self.flows:
            numbers = (flow.arriving, flow.passed, flow.absorbed)
            operation = f"{flow.operation} {flow.number}" if flow.number else flow.operation
            table.add_row(flow.layer or "–", operation, flow.rule, *(f"{number:.4g}" for number in numbers))
        text = io.StringIO()
        Console(file=text, width=10_000, color_system=None, highlight=False, markup=False).print(table)
        lines = [line.rstrip() for line in text.getvalue().splitlines()]
        totals = {"Score": self.score, "Reached the inputs": self.attribution, "Absorbed elsewhere": self.elsewhere}
        return "\n".join([*lines, "", *(f"{name}: {number:.4g}" for name, number in totals.items())])

    __repr__ = __str__


def relevance_report(
    model: Model, inputs: Any, *, target: TargetLike = None, composite: Any = _EPSILON
) -> RelevanceReport:
    """What becomes of the relevance of `lrp` on its way: what comes to each layer, and what biases and stabilizers absorb.

    `score = relevance of the inputs + sum over operations of (relevance arriving - relevance passed on)`

    Args:
        model: as for `lrp`.
        inputs: as for `lrp`. Relevance is summed over the batch; give one example for its own report.
        target: as for `lrp`.
        composite: as for `lrp`.

    Returns:
        A `RelevanceReport`, which prints as a table. It is made of numbers, so it cannot be had inside of `jax.jit`.

    Raises:
        TypeError, ValueError: as for `lrp`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> def apply(params, inputs):
        ...     return jax.nn.relu(inputs @ params + 1.0).sum(axis=1)
        >>> model = jv.Model.from_function(apply, jnp.array([[2.0], [-3.0]]))
        >>> print(relevance_report(model, jnp.array([[2.0, 1.0]])))  # of 2 * 2 - 3 * 1 + 1
        Layer   Operation   Rule      Arriving   Passed    Absorbed
        ───────────────────────────────────────────────────────────
        –       dense       Epsilon          2        1           1
        –       pooling     Norm             2        2   9.537e-07
        <BLANKLINE>
        Score: 2
        Reached the inputs: 1
        Absorbed elsewhere: 0
    """
    inputs, prepared = prepare("relevance_report", model, inputs, target)
    composite = as_composite("relevance_report", composite)
    found = _report(model, inputs, prepared, composite)
    if any(map(is_traced, jax.tree.leaves(found))):
        raise TypeError(
            "relevance_report: a report cannot be made inside of jax.jit, jax.vmap or jax.grad; call it outside"
        )
    score, attribution, flows, counts = found
    warn_of("relevance_report", composite, counts)
    rows = []
    counts = collections.Counter((layer, operation) for _, layer, operation, _ in flows)
    numbers: collections.Counter[tuple[str, str]] = collections.Counter()
    for (_, layer, operation, rule), flow in sorted(flows.items()):
        numbers[layer, operation] += 1
        number = numbers[layer, operation] if counts[layer, operation] > 1 else 0
        arriving, passed = map(float, np.asarray(flow))
        rows.append(RelevanceFlow(layer, operation, rule, arriving, passed, number))
    warn_unless_finite("relevance_report", "the relevance", attribution, model)
    # Values of which only a statistic is made have none.
    return RelevanceReport(float(score), float(attribution), tuple(row for row in rows if row.arriving or row.passed))


@jit
def _report(model: Model, inputs: Any, target: Target, composite: Composite) -> Any:
    kinds = check_composite("relevance_report", model, inputs, target, composite)

    def run(inputs: Any, assignment: Assignment) -> Any:
        return relevance_score(model, inputs, target, propagation(assignment))

    counted = Assignment("relevance_report", composite)
    score = jax.eval_shape(lambda inputs: run(inputs, counted), inputs)
    assignments = []

    def probed(inputs: Any, flows: Sequence[Any], tally: Any) -> Any:
        assignments.append(Assignment("relevance_report", composite, flows, tally))
        return run(inputs, assignments[-1])

    flows = [jnp.zeros(2, score.dtype) for _ in counted.usage.uses]
    score, back = jax.vjp(probed, inputs, flows, tally(composite))
    attribution, flows, counts = back(score)
    usage = assignments[-1].usage
    usage.check(kinds)
    # Relevance comes to all of them but those of statistics, and of what is evaluated once more (the body of a scan).
    named = {
        (index, use.where.layer, use.operation, name_of(use.rule)): flow
        for index, (use, flow) in enumerate(zip(usage.uses, flows, strict=True))
        if use.applied
    }
    total = sum(leaf.sum().astype(score.dtype) for leaf in jax.tree.leaves(attribution))
    return score.sum(), total, named, counts
