"""A method with all that it is called with, but the data: what a pass calls for each batch, and is known by."""

import contextlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxviz.attribution.datasets.examples import Batch
from jaxviz.attribution.datasets.identity import identity, program_identity
from jaxviz.model import Model


@dataclass(frozen=True)
class Call:
    """A method with all that it is called with but the data."""

    method: Callable[..., Any]
    model: Model
    key: jax.Array | None
    settings: dict[str, Any]

    def __call__(self, batch: Batch) -> Any:
        """The attribution of a batch."""
        keys = {} if self.key is None else {"key": jax.random.fold_in(self.key, batch.number)}
        points = {"baseline": batch.baseline} if "baseline" in self.settings else {}
        try:
            return self.method(self.model, batch.inputs, target=batch.target, **self.settings | points, **keys)
        except Exception as error:
            error.add_note(
                f"explain_dataset: in batch {batch.number}, examples {batch.start} to {batch.start + batch.size - 1}"
            )
            raise

    def identity(self, first: Batch, batches: int | None, target: Any, keep: bool) -> dict[str, str]:
        """What the pass is, by names that messages can use."""
        shapes = jax.tree.map(lambda leaf: f"{leaf.dtype}{['examples', *leaf.shape[1:]]}", first.inputs)
        return {
            "the method": identity(self.method),
            "the model's program": program_identity(self.model, first.inputs),
            "the model's parameters": identity(jax.tree.leaves((self.model.params, self.model.keywords))),
            **{f"the setting {name}": identity(value) for name, value in sorted(self.settings.items())},
            "key": identity(self.key),
            "keep": identity(keep),
            # One index per example is told with the data.
            "target": "one per example" if np.ndim(target) and not callable(target) else identity(target),
            "the shape of the inputs": identity(shapes),
            "the number of batches": identity(batches),
            "batch_size": identity(first.size),
        }


def check_takes_key(method: Callable[..., Any]) -> None:
    """Raises if a method has no argument `key`."""
    with contextlib.suppress(ValueError):  # it has no signature
        parameters = inspect.signature(method).parameters
        if "key" not in parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            raise TypeError(
                f"explain_dataset: key is given, but {getattr(method, '__name__', type(method).__name__)} takes none"
            )
