"""The score that a target chooses."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz import targets

OUTPUTS = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (0, [0, 3]),
        (np.int64(2), [2, 5]),
        (np.array([2, 0]), [2, 3]),
        (jnp.array(1), [1, 4]),
        (lambda outputs: outputs.sum(1), [3, 12]),
    ],
)
def test_select(target, expected):
    np.testing.assert_array_equal(targets.select(jnp.asarray(OUTPUTS), target), expected)


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_one_output_per_example(shape):
    outputs = jnp.arange(2.0).reshape(shape)
    np.testing.assert_array_equal(targets.select(outputs, None), [0, 1])


def test_other_outputs_do_not_matter():
    outputs = jnp.array([[1.0, jnp.nan], [jnp.inf, 2.0]])
    np.testing.assert_array_equal(targets.select(outputs, jnp.array([0, 1])), [1, 2])
    slope = jax.grad(lambda outputs: targets.select(outputs, jnp.array([0, 1])).sum())(outputs)
    np.testing.assert_array_equal(slope, np.eye(2))


@pytest.mark.parametrize(
    ("outputs", "target", "words"),
    [
        (
            jnp.zeros((2, 3, 4)),
            1,
            r"asks for outputs of shape \(batch, n\), but they have shape \(2, 3, 4\); give one of jaxviz.unit",
        ),
        (jnp.zeros(()), None, "the model's output is a scalar"),
        ({"a": jnp.zeros(2)}, 0, "not one array; give a callable target"),
        (jnp.zeros((2, 3)), np.zeros((2, 1), int), r"target has shape \(2, 1\)"),
        (jnp.zeros(2), 0, r"but they have shape \(2,\)"),
    ],
)
def test_errors(outputs, target, words):
    with pytest.raises(ValueError, match=words):
        targets.select(outputs, target)


def test_a_ragged_target_is_told():
    with pytest.raises(TypeError, match=r"^gradient: target must be None, an int, an int array of shape \(batch,\)"):
        targets.prepare("gradient", np.zeros((2, 3)), [[0], [1, 2]])


def test_a_score_for_each_example_of_the_inputs():
    steps_first = jnp.arange(24.0).reshape(4, 3, 2)  # of a layer in a scan: 4 steps of 3 examples
    target = targets.prepare("gradient", steps_first, lambda outputs: outputs[2, :, 1], 3)
    np.testing.assert_array_equal(targets.select(steps_first, target), [13, 15, 17])
    with pytest.raises(
        ValueError, match=r"^gradient: target, a callable, .* shape \(batch,\) = \(3,\); it returned .*\(4,\)"
    ):
        targets.prepare("gradient", steps_first, lambda outputs: outputs[:, 0, 1], 3)
    with pytest.raises(
        ValueError, match=r"^gradient: the outputs have shape \(4, 3\), whose axis 0 is not the batch of 3"
    ):
        targets.prepare("gradient", steps_first[..., 0], 1, 3)


def test_what_to_give_instead_fits_the_outputs():
    with pytest.raises(ValueError, match=r"shape \(4,\), one number per example: target=None explains that"):
        targets.prepare("gradient", jnp.zeros(4), 0)
    targets.prepare("gradient", jnp.zeros(4), None)
    for wrong in (None, 1):
        with pytest.raises(ValueError, match="give one of") as error:
            targets.prepare("gradient", jnp.zeros((3, 6, 3)), wrong)
        for index in re.findall(r"jaxviz\.unit\(([\d, ]+)\)", str(error.value)):
            targets.prepare("gradient", jnp.zeros((3, 6, 3)), jv.unit(*map(int, index.split(","))))
        assert "jaxviz.unit(0, 0) to jaxviz.unit(5, 2)" in str(error.value)
