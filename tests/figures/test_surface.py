from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz import figures
from jaxviz.figures import palette
from jaxviz.figures.plane import line_in_box, places, probabilities

# Any: matplotlib annotates what artists hold too widely to be indexed
decision_surface: Any = figures.decision_surface
decision_surfaces: Any = figures.decision_surfaces


POINTS, LABELS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])
HIDDEN = (np.array([[20.0, -20.0], [20.0, -20.0]]), np.array([-10.0, 30.0]))  # OR and NAND: XOR by hand


@jax.jit
def xor(x):
    hidden = jax.nn.sigmoid(x @ jnp.asarray(HIDDEN[0], jnp.float32) + jnp.asarray(HIDDEN[1], jnp.float32)[None])
    return jax.nn.sigmoid(hidden @ jnp.full((2,), 20.0) - 30.0)


def dashed(axes):
    return [line for line in axes.lines if line.get_linestyle() == "--"]


def test_places_are_centers_of_pixels_from_the_bottom():
    np.testing.assert_array_equal(places((0, 2, 10, 14), 2), [[0.5, 11], [1.5, 11], [0.5, 13], [1.5, 13]])


def test_surface_has_the_network_s_answers_in_place():
    figure = decision_surface(xor, POINTS, LABELS, hidden=HIDDEN, bounds=(0, 1, 0, 1), resolution=4, title="XOR")
    axes = figure.axes[0]
    (picture,) = axes.images
    centers = (np.arange(4) + 0.5) / 4
    expected = np.array([[float(xor(jnp.array([[a, b]], jnp.float32))[0]) for a in centers] for b in centers])
    np.testing.assert_allclose(picture.get_array(), 1 - 0.75 * (1 - palette.paint(expected, "probability")), atol=1e-6)
    assert picture.get_extent() == [0, 1, 0, 1]
    assert picture.origin == "lower"


def test_hidden_units_lines_are_where_they_turn():
    axes = decision_surface(xor, POINTS, LABELS, hidden=HIDDEN).axes[0]
    lines = dashed(axes)
    assert len(lines) == 2
    for i, line in enumerate(lines):
        ends = line.get_xydata()
        np.testing.assert_allclose(ends @ HIDDEN[0][:, i] + HIDDEN[1][i], 0, atol=1e-9)
    named = [text.get_text() for text in axes.texts if text.get_text()]
    assert named == ["h1", "h2"]
    for i, arrow in enumerate(text for text in axes.texts if not text.get_text()):
        head = np.array(arrow.xy) @ HIDDEN[0][:, i] + HIDDEN[1][i]
        assert head > 0  # the active side


def test_points_have_their_class_and_wrong_ones_a_cross():
    axes = decision_surface(lambda x: np.full(len(x), 0.9), POINTS, LABELS).axes[0]
    drawn = {collection.get_label(): len(collection.get_offsets()) for collection in axes.collections}
    assert {name: drawn[name] for name in ("class 0", "class 1", "wrong (2)")} == {
        "class 0": 2,
        "class 1": 2,
        "wrong (2)": 2,
    }


def test_lines_outside_are_told():
    figure = decision_surface(xor, POINTS, LABELS, hidden=([[1.0, 0.0], [0.0, 0.0]], [100.0, 1.0]))
    assert dashed(figure.axes[0]) == []
    assert "Outside the picture: the lines of h1, h2." in " ".join(figure.get_supxlabel().split())


def test_several_classes_have_their_colors():
    def predict(x):
        return np.stack([np.ones(len(x)), np.zeros(len(x)), np.zeros(len(x))], axis=1)

    figure = decision_surface(predict, POINTS, [0, 0, 0, 2], resolution=2)
    color = figure.axes[0].images[0].get_array()[0, 0]
    assert color[2] > color[1] > color[0]  # blue
    assert len(figure.axes) == 1  # no bar of a probability
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["class 0", "class 2", "wrong (1)"]


def test_classes_of_any_name_are_in_the_legend():
    figure = decision_surface(xor, POINTS, LABELS, resolution=2, class_names=["_off", "$on$"])
    figure.canvas.draw()  # what is shown is what was given: no markup, and nothing is left out for its first letter
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["_off", "$on$"]
    assert not any(text.get_parse_math() for text in legend.get_texts())
    faces = [handle.get_facecolor()[0].tolist() for handle in legend.legend_handles]
    drawn = {each.get_label(): each for each in figure.axes[0].collections}
    assert faces == [drawn[name].get_facecolor()[0].tolist() for name in ("_off", "$on$")]


def test_many_networks_share_one_bar():
    figure = decision_surfaces(
        [xor] * 5, POINTS, LABELS, hidden=[HIDDEN] * 5, titles=[str(i) for i in range(5)], columns=3, resolution=8
    )
    assert [axes.get_title() for axes in figure.axes[:6]] == ["0", "1", "2", "3", "4", ""]
    assert [len(dashed(axes)) for axes in figure.axes[:5]] == [2] * 5
    assert len(figure.axes) == 7
    assert figure.axes[-1].get_ylabel() == "probability of class 1"
    assert "wrong" not in figure.get_supxlabel()
    wrong = decision_surfaces([xor, lambda x: np.full(len(x), 0.9)], POINTS, LABELS, resolution=8)
    assert wrong.get_supxlabel() == "Crossed out: wrong answers."


@pytest.mark.parametrize(
    ("weight", "bias", "expected"),
    [
        ((1.0, 0.0), -1.0, [[1, 0], [1, 2]]),
        ((0.0, 2.0), -1.0, [[0, 0.5], [2, 0.5]]),
        ((1.0, -1.0), 0.0, [[0, 0], [2, 2]]),
        ((1.0, 1.0), 5.0, None),
        ((0.0, 0.0), 1.0, None),
        ((np.nan, 1.0), 1.0, None),
        ((1.0, 1.0), 0.0, None),  # touches a corner only
    ],
)
def test_line_in_box_by_hand(weight, bias, expected):
    ends = line_in_box(np.array(weight), bias, (0, 2, 0, 2))
    if expected is None:
        assert ends is None
    else:
        assert ends is not None
        np.testing.assert_allclose(ends, expected)


def test_probabilities_of_one_output_become_two_classes():
    answers = probabilities("test", "predict", lambda x: x[:, :1], np.array([[0.25, 9.0], [1.0, 9.0]]))
    np.testing.assert_array_equal(answers, [[0.75, 0.25], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            {"predict": lambda x: x[:, 0] * 30},
            ValueError,
            "must return probabilities, got values from .* apply a sigmoid",
        ),
        ({"predict": lambda x: np.ones((len(x), 2))}, ValueError, "must return probabilities"),
        ({"predict": lambda x: np.ones(3)}, ValueError, r"must return shape .* got \(3,\)"),
        ({"predict": 3}, TypeError, "predict must be a function"),
        ({"points": np.ones((4, 3))}, ValueError, r"shape \(n, 2\), n at least 1, got \(4, 3\)"),
        ({"points": np.full((4, 2), np.nan)}, ValueError, "points must be finite, 8 values are not"),
        ({"labels": [0, 1]}, ValueError, "one entry per point, 4 in all, got 2"),
        ({"labels": [0, 1, 2, 0]}, ValueError, "labels hold class 2, but predict returns 2 classes"),
        ({"labels": [0.5, 1, 1, 0]}, TypeError, "integer classes"),
        ({"bounds": (1, 0, 0, 1)}, ValueError, "bounds must be"),
        ({"resolution": 1}, ValueError, "resolution must be at least 2"),
        ({"resolution": 5000}, ValueError, "resolution must be at most 2000"),
        ({"hidden": np.ones((2, 2, 2))}, TypeError, "hidden must be"),
        ({"hidden": (np.ones((3, 2)), np.ones(2))}, ValueError, r"got shapes \(3, 2\) and \(2,\)"),
        ({"class_names": ["a"]}, ValueError, "one entry per class, 2 in all, got 1"),
    ],
)
def test_bad_input_is_named(change, error, words):
    settings = {"predict": xor, "points": POINTS, "labels": LABELS, "resolution": 3} | change
    with pytest.raises(error, match=words):
        decision_surface(**settings)


def test_bad_sets_of_networks_are_named():
    with pytest.raises(TypeError, match="for one network call decision_surface"):
        decision_surfaces(xor, POINTS, LABELS)
    with pytest.raises(ValueError, match="1 to 64 networks, got 0"):
        decision_surfaces([], POINTS, LABELS)
    with pytest.raises(ValueError, match="hidden must have one entry per network, 1 in all, got 2"):
        decision_surfaces([xor], POINTS, LABELS, hidden=[HIDDEN, HIDDEN])
