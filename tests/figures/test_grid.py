from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex

from jaxviz import figures
from jaxviz.figures import palette

# Any: matplotlib annotates what artists hold too widely to be indexed
answers: Any = figures.answers
image_grid: Any = figures.image_grid


def test_answers_in_words():
    texts, correct = answers(
        np.array([7, 2]), np.array([1, 2]), probabilities=np.array([0.618, 1.0]), class_names="abcdefgh"
    )
    assert texts == ["h → b (0.62)", "c → c (1.00)"]
    assert correct == [False, True]


def test_frames_tell_right_from_wrong_by_color_and_width():
    figure = image_grid(np.zeros((3, 5, 5)), titles=["a", "b", "c"], correct=[True, False, True], columns=2)
    assert len(figure.axes) == 4
    assert not figure.axes[3].axison
    frames = [axes.spines["top"] for axes in figure.axes[:3]]
    colors = [to_hex(frame.get_edgecolor()).upper() for frame in frames]
    assert colors == [palette.RIGHT, palette.WRONG, palette.RIGHT]
    assert frames[1].get_linewidth() > 2 * frames[0].get_linewidth()
    assert figure.get_supxlabel().startswith("2 of 3 right")


def test_images_are_shown_as_they_are():
    image = np.array([[[0, 128, 255]], [[1, 2, 3]]], np.uint8)
    np.testing.assert_array_equal(image_grid([image]).axes[0].images[0].get_array(), image)


def test_images_of_several_sizes_and_kinds():
    figure = image_grid([np.zeros((3, 3)), np.ones((5, 4, 1)), np.full((2, 2, 3), -1.0)])
    shapes = [axes.images[0].get_array().shape for axes in figure.axes]
    assert shapes == [(3, 3, 3), (5, 4, 3), (2, 2, 3)]
    assert "stretched" in figure.get_supxlabel()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: image_grid([]), ValueError, "1 to 400 images, got 0"),
        (lambda: image_grid(np.zeros((401, 2, 2))), ValueError, "got 401"),
        (lambda: image_grid(np.zeros((2, 2))), ValueError, r"images\[0\] must have shape .* got \(2,\)"),
        (lambda: image_grid(np.zeros((2, 3, 3)), titles=["a"]), ValueError, "one entry per image, 2 in all, got 1"),
        (lambda: image_grid(np.zeros((2, 3, 3)), correct=[True]), ValueError, "correct must have one entry per image"),
        (lambda: answers([1, 2], [1]), ValueError, "one shape"),
        (lambda: answers([1.0], [1.0]), TypeError, "labels must be integer classes"),
        (lambda: answers([-1], [1]), ValueError, "got -1"),
        (lambda: answers([3], [1], class_names=["a"]), ValueError, "1 names, but there is a class 3"),
        (lambda: answers([3], [1], probabilities=[1.5]), ValueError, r"in \[0, 1\]"),
        (lambda: answers([3], [1], probabilities=[0.5, 0.5]), ValueError, r"shape \(1,\)"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
