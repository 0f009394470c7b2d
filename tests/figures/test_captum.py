"""Captum's visualizations by the settings of ours; its figures are made by `tests/reference/visualization_figures.py`."""

import re
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pytest

from jaxviz import figures

README = Path(figures.__file__).with_name("README.md").read_text(encoding="utf-8")
FILE = Path(__file__).parents[1] / "reference" / "visualization_figures.npz"
SIGNS = ("all", "positive", "negative", "absolute")
time_series: Any = figures.time_series  # matplotlib annotates what artists hold too widely to be indexed


@pytest.fixture(scope="module")
def captum():
    with np.load(FILE) as file:
        return dict(file)


def limit_of(values, sign, outliers=2):
    """Captum's limit, as the note of `normalize` has it."""
    magnitudes = np.sort(np.abs(figures.normalize(values, sign=sign, limit=np.abs(values).max())), axis=None)
    share = magnitudes[np.searchsorted(magnitudes.cumsum(), (1 - outliers / 100) * magnitudes.sum())]
    return share * np.abs(values).max()


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("outliers", [2, 10])
def test_heat_map(captum, sign, outliers):
    heat = captum["heat"].sum(axis=-1)
    found = figures.normalize(heat, sign=sign, limit=limit_of(heat, sign, outliers))
    expected = captum[f"heat_map/{sign}/{outliers}"]
    np.testing.assert_allclose(found, -expected if sign == "negative" else expected, atol=1e-12)
    assert (np.abs(found) == 1).sum() >= (1 if outliers == 2 else 2)  # what is cut, and Captum does not say so


@pytest.mark.parametrize("sign", SIGNS[1:])
def test_masked_image(captum, sign):
    limit = limit_of(captum["heat"].sum(axis=-1), sign)
    found = figures.overlay_rgb(captum["image"], captum["heat"], mode="mask", sign=sign, limit=limit)
    difference = found.astype(int) - captum[f"masked_image/{sign}"]
    assert set(np.unique(difference)) == {0, 1}  # Captum rounds down


@pytest.mark.parametrize("sign", SIGNS[1:])
def test_alpha_scaling(captum, sign):
    limit = limit_of(captum["heat"].sum(axis=-1), sign)
    found = figures.overlay_rgb(captum["image"], captum["heat"], mode="alpha", sign=sign, limit=limit)
    picture = captum[f"alpha_scaling/{sign}"].astype(float)
    alpha = picture[..., 3:] / 255
    np.testing.assert_allclose(found, alpha * picture[..., :3] + (1 - alpha) * 255, atol=1.5)


@pytest.mark.parametrize("sign", SIGNS)
def test_colored_graph(captum, sign):
    limit = limit_of(captum["moments"], sign)
    figure = time_series(captum["series"], captum["moments"], mode="curve", sign=sign, limit=limit)
    found = np.stack([axes.collections[0].get_array() for axes in figure.axes[:3]], axis=1)
    expected = captum[f"colored_graph/{sign}"]
    expected = -expected if sign == "negative" else expected
    np.testing.assert_allclose(np.clip(found / limit, -1, 1), expected, atol=1e-12)


@pytest.mark.parametrize("sign", SIGNS)
def test_overlay_combined(captum, sign):
    limit = limit_of(captum["moments"].sum(axis=1), sign)
    figure = time_series(captum["series"], captum["moments"], mode="combined", sign=sign, limit=limit)
    found = np.clip(figure.axes[0].images[0].get_array()[0] / limit, -1, 1)
    gray = captum[f"overlay_combined/{sign}"]  # Captum's colors, here from black to white, of 256
    np.testing.assert_allclose((found + 1) / 2 if sign == "all" else np.abs(found), gray, atol=1 / 255)


CALLS = re.findall(r"`((?:figures|axes)\.[^`]*|\[f\"[^`]*)`", README)


@pytest.mark.parametrize("call", CALLS)
def test_what_the_readme_says_to_call_runs(call):
    random = np.random.default_rng(0)
    names = {
        "figures": figures,
        "axes": matplotlib.figure.Figure().add_subplot(),
        "image": random.uniform(size=(12, 10, 3)),
        "attribution": random.normal(size=(12, 10)),
        "segments": np.arange(12)[:, None] // 4 + np.zeros((1, 10), int),
        "series": random.normal(size=(9, 3)),
        "moments": random.normal(size=(9, 3)),
        "times": np.arange(9) ** 2,
        "names": ["a", "b", "c"],
        "sentences": [["not", "bad"], ["<b>"]],
        "attributions": [np.array([2.0, -1.0]), np.array([1.0])],
        "titles": ["first", "second"],
        "correct": [True, False],
        "labels": [0, 2],
        "predictions": [0, 1],
        "shares": [0.9, 0.5],
    }
    given = eval(call, names)
    assert isinstance(
        given, matplotlib.figure.Figure | matplotlib.artist.Artist | np.ndarray | str | list | tuple | None
    )


def test_the_readme_tells_every_method_of_captum():
    assert len(CALLS) == 22
    methods = ["heat_map", "blended_heat_map", "original_image", "masked_image", "alpha_scaling"]
    methods += ["overlay_individual", "overlay_combined", "colored_graph", "visualize_text"]
    missing = [name for name in methods if f"`{name}`" not in README]
    assert not missing
