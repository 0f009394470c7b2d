"""What all figures have in common: independence of the user's style, notebooks, threads, labels inside the sheet."""

import concurrent.futures
import functools
import io
import sys
from types import SimpleNamespace
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from jaxviz import figures
from jaxviz.figures import canvas

HEAT = np.linspace(-1, 1, 64).reshape(8, 8)
POINTS, LABELS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), [0, 1, 1, 0]
DENSE = SimpleNamespace(path="Dense_0", kind="Dense", shape=(1, 8), parameters=40, flops=64)


def answer(x):
    return 1 / (1 + np.exp(-x.sum(axis=1)))


EVERY = {
    "heatmap": lambda: figures.heatmap(HEAT, title="title", percentile=90),
    "overlay": lambda: figures.overlay(abs(HEAT), HEAT, title="title"),
    "heatmaps": lambda: figures.heatmaps(
        [HEAT, HEAT, HEAT], titles=["a", "b", "c"], title="title", columns=2, percentile=50
    ),
    "explanations": lambda: figures.explanations(
        [abs(HEAT)] * 2, {"gradient": [HEAT] * 2}, titles=["7 → 1 (0.62)"] * 2, correct=[True, False]
    ),
    "image_grid": lambda: figures.image_grid(
        [abs(HEAT)] * 3, titles=["7 → 1 (0.62)"] * 3, correct=[True, False, True], title="title"
    ),
    "learning_curves": lambda: figures.learning_curves(
        {"loss": [1.0, 0.1, np.nan], "val_loss": [1.0, 0.2, 0.1], "a": [1.0, 2.0, 3.0]}, log=["loss"], title="t"
    ),
    "confusion_matrix": lambda: figures.confusion_matrix(np.arange(10), np.arange(10)[::-1]),
    "decision_surface": lambda: figures.decision_surface(
        answer, POINTS, LABELS, hidden=([[1.0], [1.0]], [-1.0]), resolution=20
    ),
    "decision_surfaces": lambda: figures.decision_surfaces(
        [answer] * 2, POINTS, LABELS, hidden=[([[1.0], [1.0]], [-1.0])] * 2, resolution=20, titles=["a", "b"]
    ),
    "network_diagram": lambda: figures.network_diagram(
        [HEAT[:2, :2], HEAT[:2, :1]], [[0.1, 0.2], [0.3]], activations=[[0.0, 1.0], [0.5, 0.5], [0.1]]
    ),
    "layer_diagram": lambda: figures.layer_diagram([DENSE] * 3),
    "histograms_over_steps": lambda: figures.histograms_over_steps(
        [[1, 2], [2, 1]], [0.0, 1.0, 2.0], [0, 1], title="title"
    ),
    "time_series": lambda: figures.time_series(
        HEAT[:, :2], {"gradient": HEAT[:, :2], "DeepLIFT": HEAT[:, 2]}, scale="method", title="title"
    ),
    "token_text": lambda: figures.token_text(
        [["not", "bad", "!"], ["un", "##like", "##ly"] * 9],
        [HEAT[0, :3], HEAT[:, :3].reshape(-1)[:24].tolist() + [np.nan] * 3],
        titles=["a", "b"],
        correct=[True, False],
        title="title",
        limit=0.8,
    ),
    "beeswarm": lambda: figures.beeswarm(HEAT, HEAT[::-1], most=3, limit=0.9, title="title"),
    "line_chart": lambda: figures.line_chart(
        {"a": {"one": [1.0, 0.5], "chance": [1.0, 0.9]}, "b": {"one": [1.0, np.nan]}},
        controls=["chance"],
        x_label="patches",
        y_label="score",
        title="title",
    ),
    "attribution_bars": lambda: figures.attribution_bars(
        {"gradient": HEAT[0], "DeepLIFT": HEAT[7]}, values=HEAT[1], most=3, title="title"
    ),
}


@functools.cache
def plain(name):
    return pixels(EVERY[name]())


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).copy()


@pytest.mark.parametrize("name", EVERY)
def test_a_user_s_style_is_neither_read_nor_changed(name):
    loud: Any = {
        "font.size": 25,
        "axes.grid": True,
        "axes.grid.which": "both",
        "axes.titlesize": 30,
        "axes.titleweight": "bold",
        "axes.labelsize": 30,
        "axes.linewidth": 5,
        "lines.linewidth": 7,
        "lines.linestyle": ":",
        "lines.marker": "v",
        "image.interpolation": "bilinear",
        "image.origin": "lower",
        "image.cmap": "jet",
        "xtick.direction": "in",
        "xtick.top": True,
        "xtick.minor.visible": True,
        "ytick.right": True,
        "ytick.labelsize": 30,
        "legend.fontsize": 30,
        "legend.frameon": False,
        "figure.dpi": 50,
        "figure.constrained_layout.use": True,
        "figure.titlesize": 40,
        "contour.linewidth": 8,
        "patch.linewidth": 4,
        "text.color": "red",
    }
    with matplotlib.rc_context():
        matplotlib.style.use("dark_background")
        matplotlib.rcParams.update(loud)
        before = dict(matplotlib.rcParams)
        styled = pixels(EVERY[name]())
        assert dict(matplotlib.rcParams) == before
    assert styled.shape == plain(name).shape
    assert (styled != plain(name)).any(axis=-1).mean() < 1e-3  # equal but for a few antialiased pixels


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_clipped_at_the_sheet_s_edge(name):
    border = plain(name)[..., :3]
    for edge in (border[0], border[-1], border[:, 0], border[:, -1]):
        assert (edge == 255).all()


@pytest.mark.parametrize("name", EVERY)
def test_figures_are_matplotlib_s_and_fit_a_page(name):
    figure = EVERY[name]()
    assert isinstance(figure, Figure)
    assert figure.get_figwidth() <= 8.5  # wider ones cannot be read at 700 pixels


def test_figures_show_themselves_in_notebooks_without_pyplot():
    picture = Image.open(io.BytesIO(EVERY["layer_diagram"]()._repr_png_()))
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), plain("layer_diagram")[..., :3])


def test_pyplot_keeps_no_figure():
    EVERY["heatmap"]()
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def test_threads_draw_the_same():
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda _: pixels(EVERY["heatmap"]()), range(3)))
    assert all((picture == plain("heatmap")).all() for picture in together)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.12345, "0.123"),
        (-4.0, "−4"),
        (1234567.0, "1.2e6"),
        (-0.00001234, "−1.2e−5"),
        (np.nan, "NaN"),
        (-np.inf, "−inf"),
    ],
)
def test_short_numbers(value, text):
    assert canvas.short(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (950, "950"), (999.6, "1 k"), (12_340, "12.3 k"), (4_100_000, "4.1 M"), (2e9, "2 G")]
)
def test_counts(value, text):
    assert canvas.count(value) == text


def test_the_package_lists_all_its_names():
    for name in dir(figures):
        assert callable(getattr(figures, name)), name
