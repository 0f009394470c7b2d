"""Scales: which values get which colors. Signs, clipping of outliers, NaN and inf, and one scale for several maps."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from jaxviz.figures import checks

Sign: TypeAlias = Literal["all", "positive", "negative", "absolute"]
Reduction: TypeAlias = Literal["sum", "mean", "norm", "largest"]

SIGNS = ("all", "positive", "negative", "absolute")
REDUCTIONS = ("sum", "mean", "norm", "largest")
PERCENTILE = 99.0


@dataclasses.dataclass(frozen=True)
class Scale:
    """The range of values that the colors span, and what it leaves out.

    Attributes:
        sign: "all", "positive", "negative" or "absolute".
        limit: the magnitude at which the colors saturate; 0 where there is nothing to show.
        largest: the largest finite magnitude (of the chosen sign).
        percentile: the share of the non-zero magnitudes, in %, that `limit` covers; None where the caller set the limit.
        clipped: how many values are beyond `limit`.
        nan: how many values are NaN.
        inf: how many values are infinite.
        size: how many values there are.
    """

    sign: str
    limit: float
    largest: float
    percentile: float | None
    clipped: int
    nan: int
    inf: int
    size: int

    @classmethod
    def of_shares(cls, sign: str, clipped: int) -> "Scale":
        """The scale of colors that show shares of limits, each map or method having its own; `clipped` of all together."""
        return cls(sign, limit=1.0, largest=1.0, percentile=None, clipped=clipped, nan=0, inf=0, size=1)

    @property
    def low(self) -> float:
        """The lower end of the colors, in the units of the values."""
        return -(self.limit or 1.0) if self.sign in ("all", "negative") else 0.0

    @property
    def high(self) -> float:
        """The upper end of the colors, in the units of the values."""
        return 0.0 if self.sign == "negative" else self.limit or 1.0

    @property
    def map(self) -> str:
        """The name of the color map in `palette.MAPS`."""
        return {"all": "diverging", "absolute": "sequential"}.get(self.sign, self.sign)

    def unit(self, values: np.ndarray) -> np.ndarray:
        """Values (already of the chosen sign) as positions in the color map, [0, 1]; NaN and inf become NaN."""
        finite = np.where(np.isfinite(values), values, np.nan)
        return np.clip((finite - self.low) / (self.high - self.low), 0, 1)

    def share(self, values: np.ndarray) -> np.ndarray:
        """Values (already of the chosen sign) as shares of the limit, [-1, 1]; NaN and inf become NaN."""
        return np.clip(np.where(np.isfinite(values), values, np.nan) / (self.limit or 1.0), -1, 1)

    def missing(self, what: str = "values") -> str:
        """How many of the values are not finite: "2 NaN and 1 inf of 64 values"; nothing where all are."""
        parts = [f"{count:,} {word}" for count, word in ((self.nan, "NaN"), (self.inf, "inf")) if count]
        return f"{' and '.join(parts)} of {self.size:,} {what}" if parts else ""

    def notes(self, *, beyond: str | None = "Colors saturate at", shown: str = ", shown in yellow") -> list[str]:
        """What a reader must know that the colors cannot say, in words.

        Args:
            beyond: what the figure does to values beyond the limit, which follows; None where that is told elsewhere.
            shown: how NaN and inf are shown, where the figure does not say it itself.
        """
        said = []
        if missing := self.missing():
            said.append(f"{missing}{shown}.")
        if self.nan + self.inf == self.size:
            said.append("No finite value to show.")
        elif self.largest == 0:
            kind = {"positive": "No positive value.", "negative": "No negative value."}
            said.append(kind.get(self.sign, f"All {'finite ' if self.nan + self.inf else ''}values are 0."))
        elif self.clipped and beyond:
            why = "" if self.percentile is None else f", the {self.percentile:g}th percentile of non-zero magnitudes"
            said.append(f"{beyond} {self.limit:.3g}{why}; the largest magnitude is {self.largest:.3g}.")
        return said


def notes_of_limits(each: str, percentile: float, clipped: int) -> list[str]:
    """What is said of colors that show shares, each map or method having its own limit; one scale for all has its own notes."""
    covers = f"The limit covers {percentile:g} % of the non-zero magnitudes of each {each}; stronger ones saturate."
    return [covers] if clipped else []


def reduce_channels(attribution: npt.ArrayLike, how: Reduction = "sum") -> np.ndarray:
    """Takes the channels (last axis) of an attribution together.

    Args:
        attribution: `(..., H, W, C)`.
        how: "sum" (the default: sums keep completeness, the total stays the score's change), "mean", "norm" (Euclidean,
            not negative), or "largest" (the entry of largest magnitude, with its sign).

    Returns:
        `(..., H, W)` float64. A pixel with a NaN in any channel is NaN.

    Example:
        >>> reduce_channels([[[1.0, -3.0]]]).tolist(), reduce_channels([[[1.0, -3.0]]], "largest").tolist()
        ([[-2.0]], [[-3.0]])
    """
    checks.check_choice("reduce_channels", "how", how, REDUCTIONS)
    values = checks.as_numbers("reduce_channels", "attribution", attribution)
    if values.ndim < 3 or values.shape[-1] == 0:
        raise ValueError(f"reduce_channels: attribution must have shape (..., H, W, C), got {values.shape}")
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is NaN, and is shown as such
        if how == "sum":
            return values.sum(axis=-1)
        if how == "mean":
            return values.mean(axis=-1)
        if how == "norm":
            return np.sqrt((values**2).sum(axis=-1))
    magnitude = np.where(np.isnan(values), np.inf, np.abs(values))  # a NaN wins
    nan = np.isnan(values).any(axis=-1)
    largest = np.take_along_axis(values, magnitude.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    return np.where(nan, np.nan, largest)


def signed_part(values: np.ndarray, sign: str) -> np.ndarray:
    """The part of the values that `sign` asks for; the other part is 0. NaN and inf stay."""
    if sign == "absolute":
        return np.abs(values)
    if sign == "positive":
        return np.where(values < 0, np.where(np.isinf(values), values, 0), values)
    if sign == "negative":
        return np.where(values > 0, np.where(np.isinf(values), values, 0), values)
    return values


def shared_scale(
    where: str,
    maps: Sequence[np.ndarray],
    *,
    sign: str = "all",
    percentile: float = PERCENTILE,
    limit: float | None = None,
) -> Scale:
    """The one scale of several maps (of any shapes); `where` names the public function in errors.

    The limit is the smallest magnitude that covers `percentile` % of the non-zero finite magnitudes of all maps together. Zeros
    do not count: in a sparse map they would push the limit to 0. The percentile is one of the magnitudes, not interpolated
    between two, so fewer than 100 values are never clipped by 99 %.
    """
    checks.check_choice(where, "sign", sign, SIGNS)
    percentile = checks.check_number(where, "percentile", percentile, 0, 100)
    if percentile == 0:
        raise ValueError(f"{where}: percentile must be above 0 (100 clips nothing), got 0")
    values = np.concatenate([signed_part(part, sign).ravel() for part in maps])
    finite = np.abs(values[np.isfinite(values)])
    magnitudes = finite[finite > 0]
    largest = float(magnitudes.max()) if magnitudes.size else 0.0
    if limit is not None:
        limit = checks.check_number(where, "limit", limit, 0, np.inf)
        if not limit:
            raise ValueError(f"{where}: limit must be positive, got {limit!r}")
    at = float(limit or (np.percentile(magnitudes, percentile, method="inverted_cdf") if magnitudes.size else 0.0))
    return Scale(
        sign=sign,
        limit=at,
        largest=largest,
        percentile=None if limit else percentile,
        clipped=int((magnitudes > at).sum()),
        nan=int(np.isnan(values).sum()),
        inf=int(np.isinf(values).sum()),
        size=values.size,
    )


def normalize(
    values: npt.ArrayLike, *, sign: Sign = "all", percentile: float = PERCENTILE, limit: float | None = None
) -> np.ndarray:
    """Divides values by one limit and clips them: what is left is a share of the limit, with its sign.

    `clip(part(values) / limit, -1, 1)`, where `part` keeps what `sign` asks for and `limit` covers `percentile` % of the non-zero
    magnitudes.

    Args:
        values: any shape. All values share one scale, so a batch is comparable; for a scale each, call once for each.
        sign: "all" (as they are), "positive" or "negative" (the others become 0), "absolute" (magnitudes).
        percentile: the share of the non-zero finite magnitudes, in % (0, 100], that stays within the limit; the rest is clipped.
            100 clips nothing.
        limit: the limit itself, positive, in place of the percentile: for a scale that stays the same over time.

    Returns:
        float64 of the same shape: in [-1, 1] for "all", [0, 1] for "positive" and "absolute", [-1, 0] for "negative". NaN and inf
        become NaN. All zeros stay zeros.

    Raises:
        ValueError: sign is unknown, percentile or limit out of range.
        TypeError: values are not real numbers.

    Example:
        >>> normalize([-2.0, 0.0, 4.0]).tolist(), normalize([-2.0, 0.0, 4.0], sign="absolute").tolist()
        ([-0.5, 0.0, 1.0], [0.5, 0.0, 1.0])
        >>> magnitudes = np.sort(np.abs([1.0, -2.0, 0.0, 5.0]))  # of the chosen sign; see the note
        >>> float(magnitudes[np.searchsorted(magnitudes.cumsum(), (1 - 40 / 100) * magnitudes.sum())])
        5.0

    Note:
        Captum scales every map by itself, so that no two of its pictures compare, and saturates the largest magnitudes that make
        up `outlier_perc` % of the sum of all, by default 2, without a word. The example has its limit for 40 %, to be given as
        `limit=`: here and in all figures.
    """
    array = checks.as_numbers("normalize", "values", values)
    scale = shared_scale("normalize", [array], sign=sign, percentile=percentile, limit=limit)
    return scale.share(signed_part(array, sign))


def as_map(
    where: str,
    attribution: Any,
    channels: Reduction = "sum",
    name: str = "attribution",
    picture: tuple[int, ...] | None = None,
) -> np.ndarray:
    """One attribution as a map `(H, W)`: `(H, W, C)` has its channels reduced, `(H, W)` stays; batches of maps are refused.

    `picture` is the height and width of the image that the map is of, where there is one.
    """
    values = checks.as_numbers(where, name, attribution)
    if values.ndim == 3 and values.size:
        _check_no_batch(where, name, values.shape, picture)
        return reduce_channels(values, channels)
    if values.ndim != 2 or values.size == 0:
        hint = f"; for one example of a batch give {name}[i], for several call heatmaps" if values.ndim == 4 else ""
        raise ValueError(f"{where}: {name} must have shape (H, W) or (H, W, C), got {values.shape}{hint}")
    checks.check_choice(where, "channels", channels, REDUCTIONS)
    return values


def _check_no_batch(where: str, name: str, shape: tuple[int, ...], picture: tuple[int, ...] | None) -> None:
    """Raises where what is rather a batch `(n, H, W)` would be read as `(H, W, C)`: its rows would be drawn as columns."""
    must = f"{where}: {name} must have shape (H, W) or (H, W, C), got {shape}"
    if shape[0] == 1 and (picture is None or picture[0] > 1):
        row = f"; a picture of one row: reduce_channels({name})" if picture is None else ""
        raise ValueError(f"{must}, which looks like a batch of one map: give {name}[0]{row}")
    if picture is not None and shape[1:] == picture != shape[:2]:
        raise ValueError(
            f"{must}, whose last two axes are those of the image: for one map of a batch give {name}[i]; channels come last"
        )
