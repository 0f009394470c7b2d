import itertools
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from jaxviz import figures
from jaxviz.figures import palette

# Any: matplotlib annotates what artists hold too widely to be indexed
network_diagram: Any = figures.network_diagram


WEIGHTS = [np.array([[1.0, -4.0], [0.5, 2.0]]), np.array([[3.0], [-1.5]])]
BIASES = [np.array([0.25, -0.75]), np.array([0.125])]
ACTIVATIONS = [np.array([0.0, 1.0]), np.array([0.6, 0.9]), np.array([0.467])]
GRADIENTS = [np.array([[0.01, -0.02], [0.03, 0.04]]), np.array([[-0.05], [0.06]])]
BIAS_GRADIENTS = [np.array([0.07, -0.08]), np.array([0.09])]


def article():
    return network_diagram(
        WEIGHTS,
        BIASES,
        activations=ACTIVATIONS,
        gradients=GRADIENTS,
        bias_gradients=BIAS_GRADIENTS,
        input_names=["a", "b"],
        output_names=["XOR"],
    )


def test_every_number_of_a_small_network_is_written():
    texts = "\n".join(text.get_text() for text in article().axes[0].texts).split("\n")
    for arrays, prefix in ((WEIGHTS, ""), (BIASES, "b "), (GRADIENTS, "∂ "), (BIAS_GRADIENTS, "∂ "), (ACTIVATIONS, "")):
        for value in np.concatenate([array.ravel() for array in arrays]):
            assert f"{prefix}{value:.3g}".replace("-", "−") in texts
    assert {"a", "b", "h1", "h2", "XOR", "inputs (2)", "hidden (2)", "outputs (1)"} <= set(texts)


def test_texts_do_not_overlap():
    figure = article()
    figure.canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in figure.axes[0].texts if text.get_text()]
    for (name, box), (other, second) in itertools.combinations(boxes, 2):
        assert not box.overlaps(second), (name, other)
    frame = figure.bbox
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= frame.x1 and box.y1 <= frame.y1 for _, box in boxes)


def test_weights_are_color_and_width_on_one_scale():
    axes = article().axes[0]
    collections = [item for item in axes.collections if isinstance(item, LineCollection)]
    colored: Any = [item for item in collections if len(np.unique(item.get_linewidth())) > 1]
    assert [len(item.get_segments()) for item in colored] == [4, 2]
    first = colored[0]
    assert first.get_linewidth()[-1] == 6.0  # the strongest, −4, drawn last
    np.testing.assert_allclose(first.get_colors()[-1][:3], palette.table("diverging")[0], atol=1e-6)
    second = colored[1]
    assert second.get_linewidth()[-1] == pytest.approx(0.8 + 5.2 * 3 / 4)  # 3 on the scale of 4


def test_scale_is_symmetric_and_said():
    weights, activations = article().axes[1:]
    assert weights.get_xlim() == (-4.0, 4.0)
    assert weights.get_xlabel() == "weight"
    assert activations.get_xlim() == (0.0, 1.0)
    assert activations.get_xlabel() == "activation"


def test_activations_color_the_neurons():
    patches = article().axes[0].patches
    assert len(patches) == 5
    np.testing.assert_allclose(patches[0].get_facecolor()[:3], palette.rgb(palette.NEUTRAL))
    np.testing.assert_allclose(patches[1].get_facecolor()[:3], palette.table("sequential")[-1])


def test_negative_activations_get_the_diverging_map():
    figure = network_diagram(WEIGHTS, activations=[[-1.0, 2.0], [0.0, np.nan], [0.5]])
    np.testing.assert_allclose(figure.axes[0].patches[3].get_facecolor()[:3], palette.rgb(palette.NAN))
    assert figure.axes[2].get_xlim() == (-2.0, 2.0)


def notes(figure):
    """The texts at the foot, below the color bars."""
    return [text for text in figure.axes[0].texts if text.get_position()[1] < 0.3]


def test_what_is_not_finite_is_told():
    weights = [np.array([[1.0, np.nan], [0.5, np.inf]]), WEIGHTS[1]]
    figure = network_diagram(weights, activations=[[0.0, np.nan], [-np.inf, 0.9], [np.nan]], title="title")
    [note] = notes(figure)
    assert note.get_text() == "1 NaN and 1 inf of 6 weights, 2 NaN and 1 inf of 5 activations, shown in yellow."
    figure.canvas.draw()
    box = note.get_window_extent()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert all(box.y1 < bar.get_tightbbox().y0 for bar in figure.axes[1:])
    large = network_diagram([np.full((20, 20), np.nan)])  # too many lines for numbers
    assert [text.get_text() for text in notes(large)] == ["400 NaN of 400 weights, shown in yellow."]
    assert notes(article()) == []


def test_a_note_takes_room_of_its_own():
    whole = network_diagram(WEIGHTS, activations=ACTIVATIONS)
    broken = network_diagram(WEIGHTS, activations=[ACTIVATIONS[0], [np.nan, 0.9], ACTIVATIONS[2]])
    added = broken.get_figheight() - whole.get_figheight()
    assert added > 0.1
    middles = [[patch.center[1] for patch in figure.axes[0].patches] for figure in (whole, broken)]
    np.testing.assert_allclose(np.subtract(*middles[::-1]), added)


def test_sizes_alone():
    figure = network_diagram((3, 5, 4, 2))
    assert len(figure.axes) == 1
    assert len(figure.axes[0].patches) == 14
    assert sum(len(item.get_segments()) for item in figure.axes[0].collections) == 15 + 20 + 8


def test_large_layers_have_no_numbers_unless_there_is_room():
    generator = np.random.default_rng(0)
    figure = network_diagram([generator.normal(size=(32, 16)), generator.normal(size=(16, 10))])
    assert figure.get_figheight() < 11
    assert not any("." in text.get_text() for text in figure.axes[0].texts)


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "words"),
    [
        ([[]], {}, TypeError, "must be a sequence of arrays"),
        ([(33, 2)], {}, ValueError, r"at most 32 neurons .* got sizes \(33, 2\); layer_diagram shows larger networks"),
        ([(3,)], {}, ValueError, "at least 2 layers"),
        ([(3, 0)], {}, ValueError, "must be at least 1"),
        ([3], {}, TypeError, "must be a sequence of arrays"),
        (
            [[np.ones((2, 3)), np.ones((2, 1))]],
            {},
            ValueError,
            r"weights\[1\] has 2 inputs, but weights\[0\] has 3 outputs",
        ),
        ([[np.ones(3)]], {}, ValueError, r"weights\[0\] must have shape \(inputs, outputs\), got \(3,\)"),
        ([(2, 1), [[1.0]]], {}, ValueError, "biases and gradients need weights"),
        ([WEIGHTS, [np.ones(3), np.ones(1)]], {}, ValueError, r"biases\[0\] must have shape \(2,\), got \(3,\)"),
        ([WEIGHTS], {"activations": ACTIVATIONS[1:]}, ValueError, "one array per layer of neurons, 3 in all, got 2"),
        ([WEIGHTS], {"activations": [np.ones((1, 2))] * 3}, ValueError, r"one example of a batch give activation\[i\]"),
        (
            [WEIGHTS],
            {"gradients": [np.ones((2, 2)), np.ones((1, 2))]},
            ValueError,
            r"gradients\[1\] must have shape \(2, 1\)",
        ),
        ([WEIGHTS], {"input_names": ["a"]}, ValueError, "one entry per input, 2 in all, got 1"),
        ([[np.ones((5, 5))]], {"values": True}, ValueError, "at most 16 connections between two layers, got 25"),
    ],
)
def test_bad_input_is_named(arguments, settings, error, words):
    with pytest.raises(error, match=words):
        network_diagram(*arguments, **settings)


def test_a_tiny_activation_is_not_said_to_be_zero():
    texts = [
        text.get_text() for text in network_diagram(WEIGHTS, activations=[[0.0, 1e-5], [1.0, 1.0], [1.0]]).axes[0].texts
    ]
    assert "≈0" in texts
    assert "0" in texts
