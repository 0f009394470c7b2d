"""Extreme values and texts: numbers near the largest there are, titles of pages, half characters, markup."""

import numpy as np
import pytest

from jaxviz import figures

HUGE = np.array([1.7e308, -1.7e308, 1.0])
SERIES = np.arange(3.0)
DRAW = {
    "heatmap": lambda title, values: figures.heatmap(np.tile(values, (3, 1)), title=title),
    "overlay": lambda title, values: figures.overlay(np.zeros((3, 3)), np.tile(values, (3, 1)), title=title),
    "image_grid": lambda title, values: figures.image_grid(np.tile(values, (2, 3, 1)), titles=[title, ""]),
    "attribution_bars": lambda title, values: figures.attribution_bars(
        {title: values}, feature_names=["a", title, "c"]
    ),
    "beeswarm": lambda title, values: figures.beeswarm(np.tile(values, (4, 1)), title=title),
    "time_series": lambda title, values: figures.time_series(values, {title: SERIES}, title=title),
    "time_series, combined": lambda title, values: figures.time_series(
        np.stack([values, SERIES], axis=1), {title: values}, mode="combined", channel_names=[title, "b"], title=title
    ),
    "time_series, curve": lambda title, values: figures.time_series(
        values, values, mode="curve", channel_names=[title], title=title
    ),
    "overlay, mask": lambda title, values: figures.overlay(
        np.tile(values, (3, 1)), np.tile(values, (3, 1)), mode="mask", sign="absolute", title=title
    ),
    "token_text": lambda title, values: figures.token_text(["a", title, "c"], values, title=title),
    "learning_curves": lambda title, values: figures.learning_curves({"loss": values}, title=title),
    "line_chart": lambda title, values: figures.line_chart({title: {title: values}}, title=title, y_label="y"),
    "network_diagram": lambda title, values: figures.network_diagram([values[:, None]], title=title),
}


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize(
    ("title", "values"),
    [("huge", HUGE), ("half \ud800", SERIES), (r"no markup: $\frac{$ costs $5", SERIES), ("word " * 600, SERIES)],
    ids=["huge", "half", "markup", "long"],
)
def test_is_drawn_without_a_warning(name, title, values):
    figure = DRAW[name](title, values)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert max(figure.get_size_inches()) < 30


def test_what_has_no_range_counts_as_infinite():
    assert np.isnan(figures.normalize(HUGE)[:2]).all()
    notes = figures.heatmap(HUGE[None])._supxlabel.get_text()
    assert "2 inf of 3 values" in notes
    assert np.array_equal(figures.normalize([1e300, -1e300]), [1.0, -1.0])


def test_a_long_title_is_cut():
    figure = figures.heatmap(np.eye(3), title="word " * 600)
    lines = figure.axes[0].get_title().split("\n")
    assert len(lines) == 4
    assert lines[-1].endswith("…")
    figure.draw_without_rendering()
    assert figure.axes[0].get_position().height > 0.2


def test_html_of_half_characters_can_be_written(tmp_path):
    found = figures.token_html(["a", "\ud800", "<b>"], SERIES, title=3)
    (tmp_path / "why.html").write_text(found, encoding="utf-8")
    assert ">3</div>" in found


@pytest.mark.parametrize("counts", [3.0, np.float64(3), None])
def test_histograms_of_no_rows(counts):
    with pytest.raises(TypeError, match="histograms_over_steps: counts must have one row per step, got"):
        figures.histograms_over_steps(counts, [0.0, 1.0], [0])


def test_ragged_lists_are_named():
    ragged = [[1.0, 2.0], [3.0]]
    with pytest.raises(TypeError, match="overlay: image must be an array of numbers, got list"):
        figures.overlay(ragged, np.eye(2))
    with pytest.raises((TypeError, ValueError), match=r"network_diagram: weights\[0\]"):
        figures.network_diagram([ragged, np.eye(2)])
