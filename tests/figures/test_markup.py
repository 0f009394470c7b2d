"""Names with dollar signs are written as they are: they are not matplotlib's markup, which also fails on what it cannot read."""

import inspect
import io
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.text import Text

from jaxviz import figures

HEAT = np.linspace(-1, 1, 64).reshape(8, 8)
LOST = np.where(HEAT > 0.9, np.nan, HEAT)
POINTS = [[0.0, 0.0], [1.0, 1.0]]
UNITS = ([[1.0, 1.0], [1.0, 1.0]], [-1.0, -100.0])  # the second turns outside of the picture, and is named in a note
TEXTS = {
    *("title", "titles", "label", "x_label", "y_label", "controls"),
    *("class_names", "feature_names", "channel_names", "hidden_names", "input_names", "output_names"),
}


def answer(x):
    return x.mean(axis=1).clip(0, 1)


def layer(path, kind):
    return SimpleNamespace(path=path, kind=kind, shape=(1, 8), parameters=4, flops=None)


# For each figure its arguments, of which every text is `name` and a letter, and the letters.
DRAW = {
    "heatmap": lambda name: (figures.heatmap, {"attribution": HEAT, "title": name("a")}, "a"),
    "overlay": lambda name: (figures.overlay, {"image": abs(HEAT), "attribution": HEAT, "title": name("a")}, "a"),
    "heatmaps": lambda name: (
        figures.heatmaps,
        {"attributions": [HEAT] * 2, "titles": [name("a"), name("b")], "title": name("c")},
        "abc",
    ),
    "explanations": lambda name: (
        figures.explanations,
        {
            "images": [abs(HEAT)],
            "attributions": {name("a"): [HEAT]},
            "titles": [name("b")],
            "label": name("c"),
            "title": name("d"),
        },
        "abcd",
    ),
    "image_grid": lambda name: (
        figures.image_grid,
        {"images": [abs(HEAT)], "titles": [name("a")], "title": name("b")},
        "ab",
    ),
    "attribution_bars": lambda name: (
        figures.attribution_bars,
        {
            "attribution": {name("a"): [1.0, -1.0]},
            "feature_names": [name("b"), name("c")],
            "values": [name("d"), 1.0],
            "x_label": name("e"),
            "title": name("f"),
        },
        "abcdef",
    ),
    "beeswarm": lambda name: (
        figures.beeswarm,
        {"attributions": HEAT[:, :1], "feature_names": [name("a")], "x_label": name("b"), "title": name("c")},
        "abc",
    ),
    "time_series": lambda name: (
        figures.time_series,
        {
            "series": HEAT[:, 0],
            "attribution": {name("a"): LOST[:, 7], "another": HEAT[:, 0]},
            "scale": "method",
            "channel_names": [name("b")],
            "x_label": name("c"),
            "title": name("d"),
        },
        "abcd",
    ),
    "time_series, combined": lambda name: (
        figures.time_series,
        {
            "series": HEAT[:, :2],
            "attribution": HEAT[:, 0],
            "mode": "combined",
            "channel_names": [name("a"), name("b")],
            "x_label": name("c"),
            "title": name("d"),
        },
        "abcd",
    ),
    "token_text": lambda name: (
        figures.token_text,
        {"tokens": [[name("a")]], "attributions": [[1.0]], "titles": [name("b")], "title": name("c")},
        "abc",
    ),
    "line_chart": lambda name: (
        figures.line_chart,
        {
            "lines": {name("a"): {name("b"): [1.0, 2.0], name("c"): [2.0, 1.0]}},
            "controls": [name("c")],
            "x_label": name("d"),
            "y_label": name("e"),
            "title": name("f"),
        },
        "abcdef",
    ),
    "learning_curves": lambda name: (
        figures.learning_curves,
        {
            "history": {f"val_{name('a')}": [1.0, np.nan], f"test_{name('a')}": [1.0, 2.0]},
            "x_label": name("b"),
            "title": name("c"),
        },
        "abc",
    ),
    "confusion_matrix": lambda name: (
        figures.confusion_matrix,
        {"labels": [0, 1], "predictions": [0, 1], "class_names": [name("a"), name("b"), name("c")], "title": name("d")},
        "abcd",
    ),
    "decision_surface": lambda name: (
        figures.decision_surface,
        {
            "predict": answer,
            "points": POINTS,
            "labels": [0, 1],
            "hidden": UNITS,
            "resolution": 9,
            "class_names": [name("a"), name("b")],
            "feature_names": [name("c"), name("d")],
            "hidden_names": [name("e"), name("f")],
            "title": name("g"),
        },
        "abcdefg",
    ),
    "decision_surfaces": lambda name: (
        figures.decision_surfaces,
        {
            "predicts": [answer],
            "points": POINTS,
            "labels": [0, 1],
            "resolution": 9,
            "titles": [name("a")],
            "class_names": ["first", name("b")],  # the color bar names the second
            "feature_names": [name("c"), name("d")],
            "title": name("e"),
        },
        "abcde",
    ),
    "network_diagram": lambda name: (
        figures.network_diagram,
        {"weights": (1, 2), "input_names": [name("a")], "output_names": [name("b"), name("c")], "title": name("d")},
        "abcd",
    ),
    "layer_diagram": lambda name: (
        figures.layer_diagram,
        {"records": [layer(name("a"), name("b"))], "title": name("c")},
        "abc",
    ),
    "histograms_over_steps": lambda name: (
        figures.histograms_over_steps,
        {"counts": [[1, 2]], "edges": [0.0, 1.0, 2.0], "steps": [0], "x_label": name("a"), "title": name("b")},
        "ab",
    ),
}


@pytest.mark.parametrize("figure", DRAW)
@pytest.mark.parametrize("mark", [r"$\q$", "$5/$6"], ids=["no symbol", "a formula"])
def test_dollars_are_written(figure, mark):
    draw, arguments, letters = DRAW[figure](lambda letter: mark + letter)
    assert TEXTS & set(inspect.signature(draw).parameters) <= set(arguments), "a text is not tried"
    drawn = draw(**arguments)
    texts = [text for text in drawn.findobj(Text) if "$" in text.get_text()]
    for letter in letters:
        assert any(mark + letter in text.get_text() for text in texts), letter
    assert [text.get_text() for text in texts if text.get_parse_math()] == []
    drawn.savefig(io.BytesIO())  # what matplotlib cannot read is an error only here
