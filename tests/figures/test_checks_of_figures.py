"""What every figure says of what it cannot draw."""

import jax
import numpy as np
import pytest

import jaxviz as jv


def test_values_inside_jit_are_none_yet():
    with pytest.raises(TypeError, match=r"heatmap: attribution is traced: inside jax.jit there are no values yet"):
        jax.jit(lambda values: jv.figures.heatmap(values) and values)(np.ones((4, 4)))


def test_a_model_is_no_list_of_layers():
    model = jv.Model.from_function(lambda params, inputs: inputs, ())
    with pytest.raises(
        TypeError, match=r"layer_diagram: records must be layers, as model.layers\(inputs\) .* got Model"
    ):
        jv.figures.layer_diagram(model)


def test_a_number_is_a_title():
    figure = jv.figures.heatmap(np.eye(3), title=3)
    assert "3" in [axes.get_title() for axes in figure.axes]


@pytest.mark.parametrize("correct", [True, [True], np.eye(2, dtype=bool)], ids=["one", "too few", "too many"])
@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda correct: jv.figures.image_grid(np.zeros((2, 3, 3)), correct=correct), "image_grid: .* image, 2"),
        (
            lambda correct: jv.figures.explanations(np.zeros((2, 3, 3)), {"a": np.ones((2, 3, 3))}, correct=correct),
            "explanations: .* image, 2",
        ),
        (
            lambda correct: jv.figures.token_text([["a"], ["b"]], [[1.0], [2.0]], correct=correct),
            "token_text: .* sentence, 2",
        ),
    ],
    ids=["image_grid", "explanations", "token_text"],
)
def test_there_is_a_verdict_for_each_example(draw, words, correct):
    with pytest.raises(ValueError, match=f"{words} in all, got {np.size(correct)}"):
        draw(correct)
    draw(np.array([True, False]))


def test_one_number_is_no_batch():
    for draw in (jv.figures.image_grid, jv.figures.heatmaps):
        with pytest.raises(TypeError, match="must be a batch or a sequence of arrays, got float"):
            draw(1.0)
