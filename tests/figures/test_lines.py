from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz import figures
from jaxviz.figures import palette

# Any: matplotlib annotates what artists hold too widely to be indexed
line_chart: Any = figures.line_chart


def test_lines_are_where_the_values_are():
    figure = line_chart({"a": jnp.array([1.0, 0.5]), "b": [0, 2]}, x=[0, 5], x_label="patches", y_label="score")
    (axes,) = figure.axes
    a, b = axes.lines
    np.testing.assert_array_equal(a.get_xydata(), [[0, 1.0], [5, 0.5]])
    np.testing.assert_array_equal(b.get_xydata(), [[0, 0.0], [5, 2.0]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("patches", "score")


def test_a_line_looks_the_same_in_all_panels_and_stands_once_in_the_legend():
    figure = line_chart({"left": {"a": [1.0, 2.0], "b": [1.0, 3.0]}, "right": {"b": [0.0, 1.0], "c": [4.0, 5.0]}})
    left, right = figure.axes
    assert [axes.get_title() for axes in (left, right)] == ["left", "right"]
    assert left.lines[1].get_color() == right.lines[0].get_color() != left.lines[0].get_color()
    assert left.get_ylim() == right.get_ylim()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]


def test_fourteen_lines_and_three_controls_are_told_apart():
    names = [f"line {i}" for i in range(14)]
    lines = line_chart({name: [1.0, 2.0] for name in names}, controls=names[-3:]).axes[0].lines
    looks = {(line.get_color(), str(line._dash_pattern)) for line in lines}
    assert len(looks) == 14
    assert [line.get_color() for line in lines[-3:]] == [palette.MUTED] * 3
    assert palette.MUTED not in [line.get_color() for line in lines[:-3]]


def test_a_control_takes_no_color_from_the_others():
    plain = line_chart({"a": [1.0], "b": [2.0]}).axes[0].lines
    compared = line_chart({"chance": [0.0], "a": [1.0], "b": [2.0]}, controls=["chance"]).axes[0].lines
    assert [line.get_color() for line in plain] == [line.get_color() for line in compared[1:]]


def test_nan_breaks_the_line_and_is_counted():
    figure = line_chart({"a": [1.0, np.nan, np.inf, 2.0]})
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [1.0, np.nan, np.nan, 2.0])
    assert figure._supxlabel.get_text() == "2 NaN or inf values are left out."


def test_points_between_gaps_are_seen():
    figure = line_chart({"a": [np.nan, 1.0, np.nan, 2.0, 3.0], "b": [1.0] * 5})
    a, b = figure.axes[0].lines
    assert (a.get_marker(), a.get_markevery()) == ("o", [1])
    assert b.get_marker() == "None"


@pytest.mark.parametrize(
    ("lines", "settings", "error", "words"),
    [
        ([1.0], {}, TypeError, "must be a mapping of names to values, got list"),
        ({}, {}, ValueError, "must hold at least one line"),
        ({1: [1.0], "1": [2.0]}, {}, ValueError, "two lines are named '1'"),
        ({"a": [1.0]}, {"controls": 3}, TypeError, "controls must be a sequence of names, got 3"),
        ({"panel": {}}, {}, ValueError, "at least one line for 'panel'"),
        ({"a": {"b": [1.0]}, "c": [1.0]}, {}, TypeError, "not some"),
        ({str(i): [1.0] for i in range(15)}, {}, ValueError, "1 to 14 names, got 15"),
        ({str(i): {"a": [1.0]} for i in range(5)}, {}, ValueError, "at most 4 panels, got 5"),
        ({"a": []}, {}, ValueError, r"lines\['a'\] must have shape \(n,\)"),
        ({"p": {"a": np.ones((2, 2))}}, {}, ValueError, r"lines\['p'\]\['a'\] must have shape \(n,\), .* got \(2, 2\)"),
        ({"a": ["x"]}, {}, TypeError, "real numbers"),
        ({"a": [1.0, 2.0], "b": [1.0]}, {}, ValueError, "one length, 2 as the first, got 1 of 'b'"),
        ({"a": [1.0, 2.0]}, {"x": [0]}, ValueError, r"x must have shape \(2,\), finite and increasing"),
        ({"a": [1.0, 2.0]}, {"x": [1, 1]}, ValueError, "increasing"),
        ({"a": [1.0]}, {"controls": "a"}, TypeError, "controls must be a sequence of names, got 'a'"),
        ({"a": [1.0]}, {"controls": ["b"]}, ValueError, "at most 3 of a; got"),
    ],
)
def test_bad_input_is_named(lines, settings, error, words):
    with pytest.raises(error, match=f"line_chart: .*{words}"):
        line_chart(lines, **settings)
