from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz import figures

# Any: matplotlib annotates what artists hold too widely to be indexed
learning_curves: Any = figures.learning_curves


def test_pairs_share_a_panel_and_differ_in_line_style():
    history = {
        "loss": [0.9, 0.5],
        "val_loss": ([2], [0.6]),
        "train/accuracy": jnp.array([0.5, 0.75]),
        "validation/accuracy": [0.4, 0.7],
    }
    figure = learning_curves(history, x_label="step")
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy"]
    for axes in figure.axes:
        train, validation = axes.lines
        assert train.get_linestyle() == "-"
        assert validation.get_linestyle() == "--"
        assert axes.get_xlabel() == "step"
    loss, val_loss = figure.axes[0].lines
    np.testing.assert_array_equal(loss.get_xydata(), [[1, 0.9], [2, 0.5]])
    np.testing.assert_array_equal(val_loss.get_xydata(), [[2, 0.6]])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "training (0.5)",
        "validation (0.6)",
    ]


def test_log_axis_for_the_metrics_named():
    figure = learning_curves({"loss": [1.0, 0.1], "val_loss": [2.0, 0.0], "accuracy": [0.1, 0.9]}, log=("loss",))
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "1 values ≤ 0 cannot be shown" in legend


def test_nan_breaks_the_line_and_is_told():
    figure = learning_curves({"loss": ([10, 20, 30], [1.0, np.nan, np.inf])}, x_label="step")
    axes = figure.axes[0]
    drawn = max(axes.lines, key=lambda line: len(line.get_xdata()))
    np.testing.assert_array_equal(drawn.get_ydata(), [1.0, np.nan, np.nan])
    assert "2 NaN or inf, first at step 20" in [text.get_text() for text in axes.get_legend().get_texts()]
    assert axes.get_xlim()[1] >= 30


def test_several_curves_of_one_kind_keep_their_names():
    labels = [line.get_label() for line in learning_curves({"val_loss": [1.0], "test_loss": [2.0]}).axes[0].lines]
    assert labels == ["val_loss (1)", "test_loss (2)"]


@pytest.mark.parametrize(
    ("history", "settings", "error", "words"),
    [
        ({}, {}, ValueError, "history is empty"),
        ([1.0], {}, TypeError, "must be a mapping of names to values, got list"),
        ({"loss": []}, {}, ValueError, r"history\['loss'\] must be values \(n,\)"),
        ({"loss": np.ones((2, 2))}, {}, ValueError, r"got \(2, 2\)"),
        ({"loss": ([1, 2], [1.0])}, {}, ValueError, "n at least 1"),
        ({"loss": ([np.nan], [1.0])}, {}, ValueError, "steps of 'loss' must be finite"),
        ({"loss": ["a"]}, {}, TypeError, "real numbers"),
        ({"loss": [1.0]}, {"log": ["los"]}, ValueError, r"log names \['los'\], metrics: loss"),
    ],
)
def test_bad_input_is_named(history, settings, error, words):
    with pytest.raises(error, match=words):
        learning_curves(history, **settings)


def test_a_single_epoch_has_one_tick():
    axes = figures.learning_curves({"loss": [1.0], "val_loss": [2.0]}).axes[0]
    assert list(axes.get_xticks()) == [1]
    assert axes.get_xlim() == (0.5, 1.5)
