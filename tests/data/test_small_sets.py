"""Points in the plane, digits and tables."""

import importlib.util
import sys
from importlib import resources

import jax
import numpy as np
import pytest

from jaxviz.data import mnist, moons, spirals, table, xor

KEY = jax.random.key(0)


def test_xor():
    points, labels = xor()
    assert points.dtype == np.float32
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, points[:, 0] != points[:, 1])


def test_moons_lie_on_half_circles():
    points, labels = moons(101, key=KEY, noise=0.0)
    assert points.shape == (101, 2)
    assert labels.sum() == 50
    upper, lower = points[labels == 0], points[labels == 1]
    np.testing.assert_allclose(np.hypot(*upper.T), 1, rtol=1e-6)
    np.testing.assert_allclose(np.hypot(*(lower - [1, 0.5]).T), 1, rtol=1e-5)
    assert (upper[:, 1] >= 0).all()
    assert (lower[:, 1] <= 0.5).all()


def test_spirals_are_turned_copies_of_one_arm():
    points, labels = spirals(300, key=KEY, noise=0.0, classes=3, turns=1.5)
    assert np.bincount(labels).tolist() == [100, 100, 100]
    radius = np.hypot(*points.T)
    assert radius.max() <= 1 + 1e-6
    angle = np.arctan2(points[:, 1], points[:, 0])
    rest = angle / (2 * np.pi) - 1.5 * radius - labels / 3
    np.testing.assert_allclose(rest, np.round(rest), atol=1e-5)


@pytest.mark.parametrize("points", [moons, spirals])
def test_noise_and_keys(points):
    clean, noisy = points(1000, key=KEY, noise=0.0)[0], points(1000, key=KEY, noise=0.2)[0]
    assert abs((noisy - clean).std() - 0.2) < 0.02
    np.testing.assert_array_equal(points(50, key=KEY)[0], points(50, key=KEY)[0])
    assert (points(50, key=KEY)[0] != points(50, key=jax.random.key(1))[0]).any()
    labels = points(50, key=KEY)[1]
    assert labels.tolist() != sorted(labels.tolist()), "in random order"
    assert labels.tolist() != (np.arange(50) % 2).tolist()
    with pytest.raises(ValueError, match="n must be at least 2"):
        points(1, key=KEY)
    with pytest.raises(ValueError, match="noise must be in"):
        points(10, key=KEY, noise=-1.0)
    with pytest.raises(TypeError, match="key must be one key"):
        points(10, key=0)


def test_mnist():
    (images, labels), (test_images, test_labels) = mnist()
    assert images.shape == (8000, 28, 28, 1)
    assert test_images.shape == (2000, 28, 28, 1)
    assert images.dtype == test_images.dtype == np.float32
    assert labels.dtype == test_labels.dtype == np.int32
    assert (images.min(), images.max()) == (0, 1)
    assert np.bincount(test_labels).tolist() == [196, 231, 194, 221, 191, 168, 209, 211, 177, 202]
    # Ones have the least ink and zeros the most: images and labels belong together.
    ink = [images[labels == digit].mean() for digit in range(10)]
    assert np.argmin(ink) == 1
    assert np.argmax(ink) == 0
    held_out = {image.tobytes() for image in test_images}
    assert not any(image.tobytes() in held_out for image in images)


def test_the_notice_of_mnist_is_in_the_package():
    notice = resources.files("jaxviz.data").joinpath("MNIST_NOTICE.md").read_text()
    for words in ("CC BY-SA 3.0", "Yann LeCun", "Corinna Cortes"):
        assert words in notice


def test_table_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        table("iris")
    with pytest.raises(ValueError, match="unknown name 'irises'; names: breast_cancer"):
        table("irises")


@pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="scikit-learn is not installed")
@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("breast_cancer", (569, 30), 2),
        ("diabetes", (442, 10), 0),
        ("digits", (1797, 8, 8, 1), 10),
        ("iris", (150, 4), 3),
        ("wine", (178, 13), 3),
    ],
)
def test_tables(name, shape, classes):
    found = table(name)
    assert found.inputs.shape == shape
    assert found.inputs.dtype == np.float32
    assert len(found.feature_names) == np.prod(shape[1:])
    assert len(found.class_names) == classes
    assert found.targets.dtype == (np.int32 if classes else np.float32)
    if classes:
        assert set(found.targets) == set(range(classes))
