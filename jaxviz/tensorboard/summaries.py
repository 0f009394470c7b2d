"""What is logged, as TensorBoard's protos: one function per kind, value in, entries out. Nothing here touches a file."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tensorboard.compat.proto import summary_pb2, types_pb2
from tensorboard.compat.proto.summary_pb2 import SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.audio import plugin_data_pb2 as audio_pb2
from tensorboard.plugins.pr_curve import plugin_data_pb2 as pr_curve_pb2

from jaxviz.checks import check_count, check_text, given
from jaxviz.tensorboard import checks, pictures, sounds


class Entry(NamedTuple):
    """A value of one tag at one step; its metadata go to the file with the tag's first value only."""

    tag: str
    tensor: TensorProto
    metadata: SummaryMetadata


def metadata(plugin: str, data_class: int, content: bytes = b"") -> SummaryMetadata:
    """Returns what tells TensorBoard which dashboard a tag belongs to."""
    plugin_data = SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return SummaryMetadata(plugin_data=plugin_data, data_class=data_class)


_AUDIO_CONTENT = audio_pb2.AudioPluginData(encoding=audio_pb2.AudioPluginData.WAV).SerializeToString()

SCALAR = metadata("scalars", summary_pb2.DATA_CLASS_SCALAR)
HISTOGRAM = metadata("histograms", summary_pb2.DATA_CLASS_TENSOR)
IMAGE = metadata("images", summary_pb2.DATA_CLASS_BLOB_SEQUENCE)
TEXT = metadata("text", summary_pb2.DATA_CLASS_TENSOR)
AUDIO = metadata("audio", summary_pb2.DATA_CLASS_BLOB_SEQUENCE, _AUDIO_CONTENT)

MOST_BINS = 65_536  # of a histogram, or thresholds of a curve: far beyond what a dashboard shows
MOST_FRAMES = 1_000_000  # per second; a WAV file counts bytes per second in 32 bits

_RANK_0 = TensorShapeProto()
_LARGEST = float(np.finfo(np.float32).max)


@functools.lru_cache(maxsize=64)  # most tables of a run have one of a few shapes
def _shape(sizes: tuple[int, ...]) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])


def numbers(array: np.ndarray) -> TensorProto:
    """Returns a float32 tensor."""
    content = np.ascontiguousarray(array, "<f4").tobytes()
    return TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape=_shape(array.shape), tensor_content=content)


def strings(values: Sequence[bytes], shape: tuple[int, ...] | None = None) -> TensorProto:
    """Returns a string tensor, of rank 1 unless `shape` says otherwise."""
    sizes = (len(values),) if shape is None else shape
    return TensorProto(dtype=types_pb2.DT_STRING, tensor_shape=_shape(tuple(sizes)), string_val=values)


def scalar(where: str, tag: str, value: Any) -> Entry:
    """Returns one number; NaN and inf pass."""
    checks.check_tag(where, tag)
    number = checks.as_scalar(where, "value" if where.endswith(".scalar") else repr(tag), value)
    return Entry(tag, TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape=_RANK_0, float_val=[number]), SCALAR)


def histogram(where: str, tag: str, values: Any, bins: int) -> list[Entry]:
    """Returns the counts of the finite values in `bins` bins of equal width from their minimum to their maximum.

    The numbers of NaN and infinite values follow, where there are any, as the scalars `tag/nan` and `tag/inf`.
    """
    checks.check_tag(where, tag)
    bins = check_count(where, "bins", bins, at_most=MOST_BINS)
    array = checks.as_array(where, "values", values)
    if array.size == 0:
        raise ValueError(f"{where}: values must hold at least one number, got shape {array.shape}")
    with np.errstate(over="ignore"):  # what float32 cannot hold is counted as infinite
        array = array.astype(np.float32, copy=False).reshape(-1)
    finite = np.isfinite(array)
    if finite.all():
        return _table(tag, array, bins)
    table = _table(tag, array[finite], bins) if finite.any() else [_histogram_of_nothing(tag, bins)]
    return [*table, *not_finite(tag, array)]


def _table(tag: str, values: np.ndarray, bins: int) -> list[Entry]:
    counts, edges = _binned(values, bins)
    return _buckets([tag], counts[None], edges[None])


def histogram_counts(where: str, tag: str, counts: Any, edges: Any) -> Entry:
    """Returns a histogram that was counted elsewhere: `counts` (k,) between `edges` (k+1,)."""
    return histograms(where, {tag: (counts, edges)})[0]


def histograms(where: str, tables: Mapping[str, tuple[Any, Any]]) -> list[Entry]:
    """Returns histograms that were counted elsewhere: tag -> `counts` (k,) and `edges` (k+1,)."""
    if not isinstance(tables, Mapping) or not all(
        isinstance(table, tuple | list) and len(table) == 2 for table in tables.values()
    ):
        raise TypeError(f"{where}: tables must be a mapping of tags to (counts, edges), got {given(tables)}")
    groups: dict[int, list[tuple[str, np.ndarray, np.ndarray]]] = {}
    for tag, (counts, edges) in tables.items():
        checks.check_tag(where, tag)
        count, edge = checks.as_array(where, "counts", counts), checks.as_array(where, "edges", edges)
        if count.ndim != 1 or edge.shape != (count.size + 1,) or count.size == 0:
            raise ValueError(
                f"{where}: counts must have shape (k,) and edges (k+1,) with k at least 1, got shapes {count.shape} and "
                f"{edge.shape}"
            )
        groups.setdefault(count.size, []).append((tag, count, edge))
    entries: dict[str, Entry] = {}
    for group in groups.values():  # those of as many bins together: a few calls of NumPy for all of them
        tags, counts, edges = zip(*group, strict=True)
        entries.update(zip(tags, _counted(where, tags, np.array(counts, float), np.array(edges, float)), strict=True))
    return [entries[tag] for tag in tables]


def _counted(where: str, tags: Sequence[str], counts: np.ndarray, edges: np.ndarray) -> list[Entry]:
    """Entries of `counts` (n, k) between `edges` (n, k+1)."""
    if wrong := counts[~(counts >= 0) | np.isinf(counts)].tolist():
        raise ValueError(f"{where}: counts must be finite and at least 0, got {wrong[0]}")
    if wrong := edges[~np.isfinite(edges)].tolist():
        raise ValueError(f"{where}: edges must be finite, got {wrong[0]}; count NaN and inf as scalars")
    rows, places = np.nonzero(edges[:, 1:] < edges[:, :-1])
    if rows.size:
        row, at = rows[0], places[0]
        raise ValueError(
            f"{where}: edges must not decrease, got {edges[row, at]} before {edges[row, at + 1]} at index {at}"
        )
    for row in np.flatnonzero(edges[:, 0] == edges[:, -1]):
        edges[row] = np.linspace(*_widened(edges[row, 0], edges[row, -1], counts.shape[1]), edges.shape[1])
    return _buckets(tags, counts, edges)


def _binned(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    low, high = float(values.min()), float(values.max())
    if high - low > 1e38:  # NumPy would take differences in float32
        values = values.astype(np.float64)
    return np.histogram(values, bins, _widened(low, high, bins))


def _widened(low: float, high: float, bins: int) -> tuple[float, float]:
    """Widens a range that is a point, by 1 % to both sides, or so narrow that float32 cannot tell its `bins` + 1 edges apart."""
    middle = (low + high) / 2
    if low == high:
        half = abs(middle) * 0.01 or 1e-3
    else:
        half = abs(middle) * bins * 2.0**-22
    return (low, high) if high - low >= 2 * half else (middle - half, middle + half)


def _buckets(tags: Sequence[str], counts: np.ndarray, edges: np.ndarray) -> list[Entry]:
    """Entries of `counts` (n, k) between `edges` (n, k+1): buckets of low, high and count."""
    edges = np.clip(edges, -_LARGEST, _LARGEST)
    tables = np.stack([edges[:, :-1], edges[:, 1:], counts], axis=2).astype("<f4")
    return [Entry(tag, numbers(table), HISTOGRAM) for tag, table in zip(tags, tables, strict=True)]


def _histogram_of_nothing(tag: str, bins: int) -> Entry:
    return Entry(tag, numbers(np.zeros((bins, 3))), HISTOGRAM)  # as TensorBoard's own summaries have it


def not_finite(tag: str, array: np.ndarray) -> list[Entry]:
    """Returns the scalars that count the NaN and the infinite values of `array`."""
    where = "not_finite"
    return [
        scalar(where, f"{tag}/nan", float(np.isnan(array).sum())),
        scalar(where, f"{tag}/inf", float(np.isinf(array).sum())),
    ]


def image(where: str, tag: str, images: Any) -> list[Entry]:
    """Returns one or several images under one tag; pixels that are not finite are yellow, and counted in two scalars."""
    checks.check_tag(where, tag)
    array = checks.as_array(where, "image", images)
    pixels = pictures.as_pixels(where, array)
    entry = pngs(tag, [pictures.encode(each) for each in pixels])
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return [entry, *not_finite(tag, array)]
    return [entry]


def pngs(tag: str, encoded: Sequence[bytes]) -> Entry:
    """Returns ready PNGs of one size as one entry."""
    width, height = pictures.size(encoded[0])
    return Entry(tag, strings([str(width).encode(), str(height).encode(), *encoded]), IMAGE)


def text(where: str, tag: str, markdown: Any) -> Entry:
    """Returns a text, or several, in markdown."""
    checks.check_tag(where, tag)
    parts = [markdown] if isinstance(markdown, str) else markdown
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise TypeError(f"{where}: markdown must be a string or a sequence of strings, got {given(markdown)}")
    return Entry(tag, strings([check_text(where, "markdown", part).encode() for part in parts]), TEXT)


def audio(where: str, tag: str, samples: Any, sample_rate: Any) -> Entry:
    """Returns one or several sounds of equal length under one tag."""
    checks.check_tag(where, tag)
    rate = check_count(where, "sample_rate", sample_rate, at_most=MOST_FRAMES)
    clips = sounds.as_clips(where, checks.as_array(where, "samples", samples))
    return Entry(tag, strings([sounds.encode(clip, rate) for clip in clips]), AUDIO)


def pr_curve(where: str, tag: str, labels: Any, scores: Any, thresholds: int) -> Entry:
    """Returns true and false positives and negatives, precision and recall at thresholds from 0 to 1 of equal distance."""
    checks.check_tag(where, tag)
    n = check_count(where, "thresholds", thresholds, at_least=2, at_most=MOST_BINS)
    truth = checks.as_array(where, "labels", labels).reshape(-1).astype(np.float64)
    score = checks.as_array(where, "scores", scores).reshape(-1).astype(np.float64)
    if truth.size != score.size or truth.size == 0:
        raise ValueError(
            f"{where}: labels and scores must have the same size, at least 1; got {truth.size} and {score.size}"
        )
    if not np.isin(truth, (0, 1)).all():
        raise ValueError(
            f"{where}: labels must be 0 or 1, got {truth[~np.isin(truth, (0, 1))][0]:g}; one curve per class"
        )
    if not ((score >= 0) & (score <= 1)).all():
        outside = score[~((score >= 0) & (score <= 1))]
        raise ValueError(
            f"{where}: scores must be probabilities in [0, 1], got {outside[0]:g} ({outside.size} are outside)"
        )
    at = np.linspace(0, 1, n)
    reached = np.searchsorted(at, score, side="right") - 1  # the highest threshold that a score is not below
    positives, negatives = (np.bincount(reached, weights, minlength=n) for weights in (truth, 1 - truth))
    tp, fp = (np.cumsum(found[::-1])[::-1] for found in (positives, negatives))
    tn, fn = fp[0] - fp, tp[0] - tp
    precision, recall = tp / np.maximum(tp + fp, 1), tp / np.maximum(tp + fn, 1)  # 0 where nothing is found
    content = pr_curve_pb2.PrCurvePluginData(num_thresholds=n).SerializeToString()
    table = numbers(np.stack([tp, fp, tn, fn, precision, recall]))
    return Entry(tag, table, metadata("pr_curves", summary_pb2.DATA_CLASS_TENSOR, content))


def scalars(where: str, values: Mapping[str, Any]) -> list[Entry]:
    """Returns several numbers of one step."""
    if not isinstance(values, Mapping):
        raise TypeError(f"{where}: values must be a mapping of tags to numbers, got {type(values).__name__}")
    return [scalar(where, tag, value) for tag, value in values.items()]
