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
