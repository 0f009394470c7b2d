from typing import Any

import numpy as np
import pytest

from jaxviz import figures

# Any: matplotlib annotates what artists hold too widely to be indexed
histograms_over_steps: Any = figures.histograms_over_steps


def test_ridges_are_densities_on_one_scale():
    figure = histograms_over_steps([[2, 2], [0, 8]], [[0.0, 1.0, 2.0], [0.0, 1.0, 3.0]], [0, 10], x_label="weight")
    axes = figure.axes[0]
    first, second = (line.get_xydata() for line in axes.lines)
    # densities: 2 / 4 / 1 = 0.5 at the first step; 0 and 8 / 8 / 2 = 0.5 at the second: the tallest, three ridges high
    np.testing.assert_allclose(first, [[0, 1], [0, 4], [1, 4], [1, 4], [2, 4], [2, 1]])
    np.testing.assert_allclose(second, [[0, 0], [0, 0], [1, 0], [1, 3], [3, 3], [3, 0]])
    assert axes.get_xlabel() == "weight"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "10"]


def test_many_steps_are_thinned_and_told():
    figure = histograms_over_steps(np.ones((100, 4)), np.arange(5), np.arange(100) * 10)
    assert len(figure.axes[0].lines) == 24
    assert figure.get_supxlabel() == "24 of 100 steps are drawn."


def test_a_step_without_values():
    assert "No values at 1" in histograms_over_steps([[0, 0], [1, 0]], [0.0, 1.0, 2.0], [0, 1]).get_supxlabel()


@pytest.mark.parametrize(
    ("counts", "edges", "steps", "words"),
    [
        ([[1]], [0, 1], [], "steps must have shape"),
        ([[1], [1]], [0, 1], [1, 1], "increasing"),
        ([[1]], [0, 1], [0, 1], "one row per step, 2 in all, got 1 and 2"),
        ([[1, 2]], [0, 1], [0], r"counts\[0\] must have shape \(bins,\) and its edges"),
        ([[-1]], [0, 1], [0], "must be 0 or more"),
        ([[1]], [1, 0], [0], "edges of counts.0. must be finite and increasing"),
    ],
)
def test_bad_input_is_named(counts, edges, steps, words):
    with pytest.raises(ValueError, match=words):
        histograms_over_steps(counts, edges, steps)
