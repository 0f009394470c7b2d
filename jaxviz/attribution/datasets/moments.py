"""Running statistics in float64: those of batches, merged into those of all."""

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True, eq=False)
class Moments:
    """Statistics of some examples, for each feature.

    Attributes:
        count: how many examples there are.
        mean: their mean.
        squares: the sum of their squared deviations from the mean.
        min: the smallest value.
        max: the largest value.
        mean_absolute: the mean of the absolute values.
    """

    count: int
    mean: np.ndarray
    squares: np.ndarray
    min: np.ndarray
    max: np.ndarray
    mean_absolute: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Moments":
        """The statistics of `(examples, *shape)`, of at least one example."""
        values = values.astype(np.float64)
        count, mean = len(values), values.mean(axis=0)
        deviations = values - mean
        # Rounding of the mean shows in the deviations, which would sum to zero without it.
        rounding = deviations.mean(axis=0)
        squares = np.square(deviations).sum(axis=0) - count * np.square(rounding)
        return cls(
            count,
            mean + rounding,
            np.maximum(squares, 0),
            values.min(axis=0),
            values.max(axis=0),
            np.abs(values).mean(axis=0),
        )

    def merge(self, other: "Moments") -> "Moments":
        """The statistics of these examples and the others, after Chan, Golub and LeVeque: nothing cancels away."""
        count = self.count + other.count
        share = other.count / count
        difference = other.mean - self.mean
        return Moments(
            count,
            self.mean + difference * share,
            self.squares + other.squares + np.square(difference) * (self.count * share),
            np.minimum(self.min, other.min),
            np.maximum(self.max, other.max),
            self.mean_absolute + (other.mean_absolute - self.mean_absolute) * share,
        )

    @property
    def variance(self) -> np.ndarray:
        """The mean squared deviation from the mean."""
        return self.squares / self.count

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it as arrays, by name."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "Moments":
        """The inverse of `arrays`."""
        rest = {name: array for name, array in arrays.items() if name != "count"}
        return cls(int(arrays["count"]), **rest)
