import itertools
from typing import Any

import numpy as np
import pytest

from jaxviz import figures
from jaxviz.figures import palette

attribution_bars: Any = figures.attribution_bars  # matplotlib annotates what artists hold too widely to be indexed


def widths(axes):
    return [patch.get_width() for patch in axes.patches]


def names(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_the_strongest_first_and_the_rest_summed():
    figure = attribution_bars([0.5, -2.0, 0.25, 0.1, -0.05], most=2, feature_names=list("abcde"))
    assert names(figure) == ["b", "a", "3 other features"]
    np.testing.assert_allclose(widths(figure.axes[0]), [-2.0, 0.5, 0.3])
    assert figure.axes[0].get_title() == "sum −1.2"  # of all features, shown or not
    assert [text.get_text().strip() for text in figure.axes[0].texts] == ["−2", "+0.5", "+0.3"]


def test_one_left_over_has_its_own_bar():
    assert names(attribution_bars([1.0, 2.0, 3.0], most=2)) == ["feature 2", "feature 1", "feature 0"]


def test_colors_tell_the_sign():
    colors = [patch.get_facecolor() for patch in attribution_bars([2.0, -1.0]).axes[0].patches]
    np.testing.assert_allclose(np.array(colors)[:, :3], [palette.rgb(palette.POSITIVE), palette.rgb(palette.NEGATIVE)])


def test_methods_share_order_and_scale():
    figure = attribution_bars({"gradient": [1.0, 0.0], "DeepLIFT": [0.0, -4.0]})
    first, second = figure.axes
    assert names(figure) == ["feature 1", "feature 0"]
    assert first.get_xlim() == second.get_xlim()
    np.testing.assert_allclose([*widths(first), *widths(second)], [0, 1, -4, 0])
    assert [axes.get_title() for axes in figure.axes] == ["gradient\nsum 1", "DeepLIFT\nsum −4"]


def test_what_is_not_finite_is_shown_first_and_told():
    figure = attribution_bars([1.0, np.nan, 2.0, -np.inf], feature_names=list("abcd"))
    assert names(figure) == ["b", "d", "c", "a"]
    assert [text.get_text().strip() for text in figure.axes[0].texts] == ["NaN", "−inf", "+2", "+1"]
    assert "1 NaN and 1 inf of 4 values" in figure.get_supxlabel()
    assert figure.axes[0].get_title() == "sum NaN"


def test_a_limit_cuts_bars_and_says_so():
    figure = attribution_bars([1.0, -8.0], limit=2.0)
    np.testing.assert_allclose(widths(figure.axes[0]), [-2, 1])
    assert figure.axes[0].texts[0].get_text().strip() == "−8"  # the value stays the true one
    assert figure.get_supxlabel() == "Bars are cut at 2; the largest magnitude is 8."


def test_values_as_one_reads_them():
    figure = attribution_bars([4.0, 3.0, 2.0, 1.0], values=[1001.0, 0.00642, "$female$", 122.8])
    assert [text.split(" = ")[1] for text in names(figure)] == ["1,001", "0.00642", "$female$", "122.8"]
    assert not any(label.get_parse_math() for label in figure.axes[0].get_yticklabels())


def test_all_zero_is_told():
    assert attribution_bars([0, 0]).get_supxlabel() == "All values are 0."


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"attribution": [[1.0, 2.0]]}, ValueError, r"must have shape \(features,\), got \(1, 2\); for one example"),
        ({"attribution": []}, ValueError, r"got \(0,\)"),
        ({"attribution": {}}, ValueError, "must hold 1 to 6 methods, got 0"),
        ({"attribution": {"a": [1.0], "b": [1.0, 2.0]}}, ValueError, r"attribution\['b'\] must have shape \(1,\)"),
        ({"attribution": ["a"]}, TypeError, "attribution must be an array of real numbers"),
        ({"attribution": [1.0], "feature_names": ["a", "b"]}, ValueError, "one entry per feature, 1 in all, got 2"),
        ({"attribution": [1.0], "values": [1.0, 2.0]}, ValueError, r"values must have shape \(1,\)"),
        ({"attribution": [1.0], "most": 0}, ValueError, "most must be at least 1"),
        ({"attribution": [1.0], "limit": -1.0}, ValueError, "limit must be"),
    ],
)
def test_bad_input_is_named(arguments, error, words):
    with pytest.raises(error, match=words):
        attribution_bars(**arguments)


def test_long_labels_of_neighbors_do_not_run_into_each_other():
    label = "evidence for malignant, in logits, of the network that was trained last"
    figure = attribution_bars({name: [1.0, -2.0] for name in "abc"}, x_label=label)
    figure.draw_without_rendering()
    boxes = [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    assert len(boxes) == 3
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert min(box.y0 for box in boxes) > 0
    assert " ".join(figure.axes[0].get_xlabel().split()) == label
