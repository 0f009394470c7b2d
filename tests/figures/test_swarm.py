from typing import Any

import numpy as np
import pytest

from jaxviz import figures
from jaxviz.figures.swarm import stacked

beeswarm: Any = figures.beeswarm  # matplotlib annotates what artists hold too widely to be indexed


def points(figure, row):
    """The offsets of all points of a row, and what colors them."""
    drawn = [group for group in figure.axes[0].collections if len(group.get_offsets())]
    inside = [group for group in drawn if (np.abs(group.get_offsets()[:, 1] - row) < 0.45).all()]
    shades = [group.get_array() for group in inside]
    return np.concatenate([group.get_offsets() for group in inside]), shades


def names(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_rows_by_mean_magnitude_and_points_by_example():
    table = np.array([[0.1, -2.0, 1.0], [-0.1, 2.0, 0.5], [0.2, 0.0, 1.0]])
    figure = beeswarm(table, feature_names=["a", "b", "c"])
    assert names(figure) == ["b", "c", "a"]
    for row, column in enumerate((1, 2, 0)):
        where, _ = points(figure, row)
        np.testing.assert_allclose(sorted(where[:, 0]), sorted(table[:, column]))


def test_the_rest_is_summed_example_by_example():
    table = np.array([[3.0, 0.1, 0.2, -0.5], [3.0, 0.1, 0.1, 0.5]])
    figure = beeswarm(table, most=1)
    assert names(figure) == ["feature 0", "3 other features"]
    np.testing.assert_allclose(sorted(points(figure, 1)[0][:, 0]), [-0.2, 0.7])


def test_colors_span_the_feature_s_own_values():
    values = np.stack([np.arange(101.0), np.arange(101.0) * 1000], axis=1)
    figure = beeswarm(np.stack([np.linspace(-1, 1, 101), np.linspace(0, 0.1, 101)], axis=1), values)
    for row, factor in ((0, 1), (1, 1000)):
        groups = [group for group in figure.axes[0].collections if len(group.get_offsets())]
        (group,) = [group for group in groups if abs(group.get_offsets()[0, 1] - row) < 0.45]
        assert group.get_clim() == (5 * factor, 95 * factor)
    assert [text.get_text() for text in figure.axes[1].get_yticklabels()] == ["low", "high"]


def test_points_of_one_place_are_stacked_to_both_sides():
    up = stacked(np.array([0.0, 0.0, 0.0, 1.0]), 0.0, 1.0)
    assert up[3] == 0
    np.testing.assert_allclose(sorted(up[:3]), [-0.05, 0, 0.05])
    assert np.abs(stacked(np.zeros(1000), 0.0, 1.0)).max() == pytest.approx(0.4)


def test_what_is_missing_is_told():
    figure = beeswarm([[1.0, np.nan], [2.0, 0.5]], [[np.nan, 1.0], [1.0, 1.0]])
    assert [text.get_text() for text in figure.axes[0].texts] == ["1 not finite"]
    assert "1 NaN of 4 values." in figure.get_supxlabel()
    assert "Rings: the feature's value is missing." in figure.get_supxlabel()
    assert "No finite value" in beeswarm([[np.nan]]).get_supxlabel()


def test_a_limit_keeps_far_points_at_the_edge():
    figure = beeswarm([[1.0], [-9.0]], limit=2.0)
    np.testing.assert_allclose(sorted(points(figure, 0)[0][:, 0]), [-2, 1])
    assert figure.get_supxlabel() == "The axis ends at 2; the largest magnitude is 9. Triangles are beyond it."


def test_many_examples_are_thinned_and_told():
    figure = beeswarm(np.linspace(-1, 1, 5000)[:, None])
    assert len(points(figure, 0)[0]) == 2000
    assert figure.get_supxlabel() == "2,000 of 5,000 examples are drawn."


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([1.0, 2.0],), ValueError, r"\(examples, features\), got \(2,\); for one example call attribution_bars"),
        ((np.zeros((0, 3)),), ValueError, r"got \(0, 3\)"),
        (([[1.0]], [[1.0, 2.0]]), ValueError, r"values must have the shape of attributions, \(1, 1\), got \(1, 2\)"),
        (([["a"]],), TypeError, "attributions must be an array of real numbers"),
    ],
)
def test_bad_input_is_named(arguments, error, words):
    with pytest.raises(error, match=words):
        beeswarm(*arguments)
