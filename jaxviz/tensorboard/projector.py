"""Points for the Projector dashboard: no events, but a configuration and files of vectors, labels and pictures."""

import math
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from google.protobuf import text_format  # type: ignore[import-untyped]  # protobuf ships no types
from tensorboard.plugins.projector import projector_config_pb2

from jaxviz.checks import check_text, given
from jaxviz.tensorboard import checks, pictures
from jaxviz.tensorboard.crc import masked_crc32c

CONFIG = "projector_config.pbtxt"
_FOLDER = "projector"
_LARGEST_SPRITE = 8192  # pixels along an edge that browsers still load


class Embedding(NamedTuple):
    """Points of the projector.

    Attributes:
        vectors: `(n, dimensions)` float32.
        metadata: column name -> n strings; the only column of plain labels is called "label".
        images: `(n, H, W, C)` uint8, or None.
    """

    vectors: np.ndarray
    metadata: dict[str, list[str]]
    images: np.ndarray | None


def write(where: str, logdir: Path, tag: str, vectors: Any, metadata: Any, images: Any) -> None:
    """Writes one embedding; it replaces an earlier one of the same tag, and others stay. See `Writer.embedding`."""
    checks.check_tag(where, tag)
    points = _points(where, vectors)
    table = None if metadata is None else _table(where, metadata, len(points))
    sprite = None if images is None else _sprite(where, images, len(points))

    stem = re.sub(r"[^\w.-]", "_", tag)
    if stem != tag:  # two tags may differ in what was replaced only
        stem += f"-{masked_crc32c(tag.encode()):08x}"
    info = projector_config_pb2.EmbeddingInfo(tensor_name=tag, tensor_shape=points.shape)
    info.tensor_path = f"{_FOLDER}/{stem}.bytes"
    try:
        (logdir / _FOLDER).mkdir(exist_ok=True)
        _replace(logdir / info.tensor_path, points.tobytes())
        if table is not None:
            info.metadata_path = f"{_FOLDER}/{stem}.tsv"
            _replace(logdir / info.metadata_path, table.encode())
        if sprite is not None:
            info.sprite.image_path = f"{_FOLDER}/{stem}.png"
            info.sprite.single_image_dim.extend(sprite[1])
            _replace(logdir / info.sprite.image_path, sprite[0])
        config = _config(logdir)
        others = [other for other in config.embeddings if other.tensor_name != tag]
        del config.embeddings[:]
        config.embeddings.extend([*others, info])
        _replace(logdir / CONFIG, text_format.MessageToString(config).encode())
    except OSError as error:
        raise OSError(error.errno, f"{where}: cannot write {tag!r} in {logdir}: {error.strerror}") from error


def read(logdir: Path) -> dict[str, Embedding]:
    """Returns the embeddings of a run's directory by their tags."""
    found = {}
    for info in _config(logdir).embeddings:
        vectors = np.fromfile(logdir / info.tensor_path, "<f4").reshape(tuple(info.tensor_shape))
        images = None
        if info.sprite.image_path:
            width, height = info.sprite.single_image_dim
            sheet = pictures.decode((logdir / info.sprite.image_path).read_bytes())
            rows, columns = sheet.shape[0] // height, sheet.shape[1] // width
            cells = (
                sheet.reshape(rows, height, columns, width, -1)
                .swapaxes(1, 2)
                .reshape(-1, height, width, sheet.shape[-1])
            )
            images = cells[: len(vectors)]
        found[info.tensor_name] = Embedding(vectors, _columns(logdir, info.metadata_path), images)
    return found


def _points(where: str, vectors: Any) -> np.ndarray:
    points = np.ascontiguousarray(checks.as_array(where, "vectors", vectors), "<f4")
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(f"{where}: vectors must have shape (n, dimensions) with no axis of size 0, got {points.shape}")
    broken = ~np.isfinite(points).all(axis=1)
    if broken.any():
        raise ValueError(
            f"{where}: vectors must be finite, got NaN or inf in {int(broken.sum())} of {len(points)} rows, first in row "
            f"{int(np.argmax(broken))}; the projector shows none of the others then"
        )
    return points


def _table(where: str, metadata: Any, n: int) -> str:
    columns = metadata if isinstance(metadata, Mapping) else {"label": metadata}
    cells: list[list[str]] = []
    for name, values in columns.items():
        if isinstance(values, str) or not (isinstance(values, Sequence) or hasattr(values, "__array__")):
            raise TypeError(
                f"{where}: metadata must be one label per vector, or a mapping of columns to such, got {given(values)}"
            )
        if len(values) != n:
            raise ValueError(
                f"{where}: metadata must hold one label per vector: column {name!r} has {len(values)}, vectors {n}"
            )
        listed = values if isinstance(values, Sequence) else np.asarray(values).tolist()
        # A tab or line end would break the table.
        cells.append([_cell(where, value) for value in listed])
    if not cells:
        raise ValueError(f"{where}: metadata must have at least one column, got {metadata!r}")
    # No header over a single column: the projector would take it for a label.
    header = ["\t".join(_cell(where, name) for name in columns)] if len(cells) > 1 else []
    return "\n".join([*header, *("\t".join(row) for row in zip(*cells, strict=True))]) + "\n"


def _cell(where: str, value: Any) -> str:
    return " ".join(check_text(where, "metadata", str(value)).split()) or "-"


def _columns(logdir: Path, path: str) -> dict[str, list[str]]:
    if not path:
        return {}
    rows = [line.split("\t") for line in (logdir / path).read_text(encoding="utf-8").splitlines()]
    if len(rows[0]) == 1:
        return {"label": [row[0] for row in rows]}
    return {name: list(column) for name, column in zip(rows[0], zip(*rows[1:], strict=True), strict=True)}


def _sprite(where: str, images: Any, n: int) -> tuple[bytes, tuple[int, int]]:
    array = checks.as_array(where, "images", images)
    pixels = pictures.as_pixels(where, array[..., None] if array.ndim == 3 else array)
    if len(pixels) != n:
        raise ValueError(f"{where}: images must hold one image per vector: got {len(pixels)} images, {n} vectors")
    _, height, width, channels = pixels.shape
    side = math.ceil(math.sqrt(n))  # the projector finds the cells by a square grid
    if side * max(height, width) > _LARGEST_SPRITE:
        raise ValueError(
            f"{where}: {n} images of {height}x{width} make a sheet of {side * height}x{side * width} pixels; browsers load up to "
            f"{_LARGEST_SPRITE}: pass smaller or fewer images"
        )
    grid = np.zeros((side * side, height, width, channels), np.uint8)
    grid[:n] = pixels
    sheet = (
        grid.reshape(side, side, height, width, channels).swapaxes(1, 2).reshape(side * height, side * width, channels)
    )
    return pictures.encode(sheet), (width, height)


def _config(logdir: Path) -> projector_config_pb2.ProjectorConfig:
    config = projector_config_pb2.ProjectorConfig()
    path = logdir / CONFIG
    return text_format.Parse(path.read_text(encoding="utf-8"), config) if path.exists() else config


def _replace(path: Path, content: bytes) -> None:
    """Writes a file that readers see either as it was or whole."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)  # a temporary file is its owner's alone, TensorBoard may be another's
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)
