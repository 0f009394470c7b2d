"""Test-time augmentation around methods, against the copies written out."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

RANDOM = np.random.default_rng(0)
WEIGHTS = jnp.asarray(RANDOM.normal(size=(4, 6, 2)), jnp.float32)
IMAGES = jnp.asarray(RANDOM.normal(size=(2, 4, 6, 2)), jnp.float32)


def square(weights: Any, x: Any) -> Any:
    return (weights[None] * jv.tag(x**2, "grid")).sum(axis=(1, 2, 3))


MODEL = jv.Model.from_function(square, WEIGHTS)


def test_a_map_by_hand():
    found = jv.augmented(jv.hires_cam)(MODEL, IMAGES, layer="grid", relu=False)
    images, weights = np.asarray(IMAGES, np.float64), np.asarray(WEIGHTS, np.float64)
    # Flipped inputs meet the weights of the other side.
    both = weights + weights[:, ::-1]
    expected = (images**2 * both).sum(axis=-1) / 2 * np.mean([0.81, 1.0, 1.21])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_what_has_the_shape_of_inputs():
    found = jv.augmented(jv.gradient, flips=(1,), factors=(2.0,))(MODEL, IMAGES)
    np.testing.assert_allclose(found, 4 * np.asarray(IMAGES) * np.asarray(WEIGHTS)[::-1], rtol=1e-5)
    found = jv.augmented(jv.gradient, flips=(None,), factors=(1.0,))(MODEL, IMAGES)
    np.testing.assert_array_equal(found, jv.gradient(MODEL, IMAGES))


def test_of_several_inputs_those_with_the_axis_are_flipped():
    def apply(params: Any, inputs: Any) -> Any:
        return square(WEIGHTS, inputs[0]) * (inputs[1] @ jnp.array([1.0, -2.0, 3.0]))

    model = jv.Model.from_function(apply, ())
    inputs = (IMAGES, jnp.ones((2, 3)))
    one, other = jv.augmented(jv.gradient, flips=(2,), factors=(1.0,))(model, inputs)
    np.testing.assert_allclose(one, 4 * np.asarray(IMAGES) * np.asarray(WEIGHTS)[:, ::-1], rtol=1e-5)
    scores = np.asarray(square(WEIGHTS, IMAGES[:, :, ::-1]))
    np.testing.assert_allclose(other, scores[:, None] * [1.0, -2.0, 3.0], rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"flips": (0,)}, ValueError, "augmented: an axis of flips must be at least 1, got 0"),
        ({"flips": ()}, TypeError, "augmented: flips must be a tuple of at least one entry"),
        ({"factors": [1.0]}, TypeError, r"augmented: factors must be a tuple of at least one entry, got \[1\.0\]"),
        ({"factors": (np.nan,)}, ValueError, "augmented: a factor must be"),
        (
            {"flips": (3,)},
            ValueError,
            r"augmented\(gradient\): flips has axis 3, but no input of shapes \[\(2, 4, 6, 2\)\]",
        ),
    ],
)
def test_errors(settings, error, words):
    with pytest.raises(error, match=words):
        jv.augmented(jv.gradient, **settings)(MODEL, IMAGES)


def test_what_cannot_be_flipped_back():
    with pytest.raises(TypeError, match=r"augmented: method must be an attribution method such as .*, got str"):
        jv.augmented("grad_cam")
    model = jv.Model.from_function(lambda params, x: jv.tag(x.sum((1, 2)), "flat").sum(axis=1), ())
    with pytest.raises(ValueError, match=r"result of shape \[\(2, 2\)\] has no axis 2 to be flipped back"):
        jv.augmented(jv.at_layer(jv.gradient, "flat"))(model, IMAGES)
