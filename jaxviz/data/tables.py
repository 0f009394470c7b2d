"""Small real data sets that come inside scikit-learn, where it is installed."""

import importlib
from typing import NamedTuple

import numpy as np

from jaxviz.checks import given

TABLES = ("breast_cancer", "diabetes", "digits", "iris", "wine")


class Table(NamedTuple):
    """A data set with names to show beside an explanation.

    Args:
        inputs: float32 `(examples, features)`; the digits' are images `(1797, 8, 8, 1)` in [0, 1].
        targets: int32 labels `(examples,)`; the diabetes' are float32 measures.
        feature_names: one name per feature; of images, per pixel.
        class_names: one name per label; empty for the diabetes.
    """

    inputs: np.ndarray
    targets: np.ndarray
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]


def table(name: str) -> Table:
    """Returns a small real data set from scikit-learn: tables for networks without images, in their own units.

    Args:
        name: "breast_cancer" (569 x 30, 2 classes), "diabetes" (442 x 10, regression), "digits" (1,797 images, 10 classes),
            "iris" (150 x 4, 3 classes) or "wine" (178 x 13, 3 classes).

    Returns:
        The `Table`, not shuffled (iris and wine are sorted by class: `split` with `stratify`).

    Raises:
        ValueError: no table has that name.
        ImportError: scikit-learn is not installed.
    """
    if not isinstance(name, str):
        raise TypeError(f"table: name must be a string, got {given(name)}")
    if name not in TABLES:
        raise ValueError(f"table: unknown name {name!r}; names: {', '.join(TABLES)}")
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise ImportError(
            f"table: {name!r} comes with scikit-learn, which is not installed: pip install scikit-learn "
            "(or use mnist, moons, spirals or xor, which need nothing)"
        ) from error
    options = {"scaled": False} if name == "diabetes" else {}
    loaded = getattr(datasets, f"load_{name}")(**options)
    inputs = loaded.data.astype(np.float32)
    if name == "digits":
        inputs = inputs.reshape(-1, 8, 8, 1) / np.float32(16)
    targets = loaded.target.astype(np.float32 if name == "diabetes" else np.int32)
    classes = () if name == "diabetes" else tuple(str(label) for label in loaded.target_names)
    return Table(inputs, targets, tuple(map(str, loaded.feature_names)), classes)
