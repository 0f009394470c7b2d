"""`Case`: what a diagnosis looks at, and what it notes of it."""

import functools
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jaxviz import views
from jaxviz.attribution.diagnosis.findings import Finding
from jaxviz.attribution.diagnosis.measurements import Backward, Forward, Numbers, Place, measure
from jaxviz.model import Model
from jaxviz.program.flow import Flow
from jaxviz.targets import Target


@dataclass
class Case:
    """One model with its inputs and the score that is explained, what was measured, and the findings so far.

    Attributes:
        model: the model.
        inputs: an array or a tuple of arrays.
        target: the checked target.
        batch: the number of examples.
        places: the values of layers that were measured.
        forward: what one evaluation told, but for the numbers of the places.
        backward: the gradients at the inputs, or, of integers, at the first place, and at the outputs; None where there are none.
    """

    model: Model
    inputs: Any
    target: Target
    batch: int
    places: tuple[Place, ...]
    forward: Forward
    backward: Backward | None
    findings: list[Finding] = field(default_factory=list)

    @functools.cached_property
    def activations(self) -> tuple[Numbers, ...]:
        """The numbers of all places: measured where something is amiss, since this takes long to compile."""
        settings: Any = {"watched": self.places, "counted": True, "followed": None}
        return jax.device_get(measure(self.model, self.inputs, self.target, **settings))[0].activations

    @functools.cached_property
    def gradients(self) -> tuple[Numbers, ...]:
        """The numbers of the gradients at all places, likewise."""
        settings: Any = {"watched": self.places, "followed": self.places}
        return jax.device_get(measure(self.model, self.inputs, self.target, **settings))[1].activations

    @functools.cached_property
    def flow(self) -> Flow:
        """Where the values of the traced program come from."""
        return Flow(views.program(self.model, self.inputs))

    def note(self, code: str, examples: Any, meaning: str, advice: str, **measured: Any) -> None:
        """Adds a finding, if it is of any example.

        Args:
            code: see `diagnose`.
            examples: which examples it is of, a mask `(batch,)`.
            meaning: see `Finding`.
            advice: see `Finding`.
            measured: what was measured. Of an array `(batch,)` those of the examples are kept.
        """
        found = np.flatnonzero(examples)
        if not len(found):
            return
        chosen = {
            name: tuple(np.asarray(value)[found].tolist()) if np.shape(value) == (self.batch,) else value
            for name, value in measured.items()
        }
        self.findings.append(Finding(code, tuple(found.tolist()), chosen, meaning, advice))

    def within(self, *codes: str) -> np.ndarray:
        """The examples of the findings with these codes, as a mask."""
        mask = np.zeros(self.batch, bool)
        for finding in self.findings:
            if finding.code in codes:
                mask[list(finding.examples)] = True
        return mask


def in_short(value: Any) -> str:
    """A number as messages show it."""
    return f"{float(value):.3g}"
