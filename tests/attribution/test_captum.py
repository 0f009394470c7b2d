"""The methods against figures that Captum computed with the same weights."""

from typing import Any

import jax
import numpy as np
import pytest

import jaxviz as jv

TOLERANCE = 1e-5  # of the largest value


def close(ours: Any, theirs: np.ndarray) -> None:
    theirs = theirs.astype(np.float64)
    assert ours.shape == theirs.shape
    assert np.abs(np.asarray(ours, np.float64) - theirs).max() <= TOLERANCE * np.abs(theirs).max()


def test_outputs(reference):
    close(reference.model(reference.figures["inputs"]), reference.figures["outputs"])


@pytest.mark.parametrize("method", ["saliency", "input_x_gradient"])
def test_one_gradient(reference, method):
    model, figures = reference
    close(getattr(jv, method)(model, figures["inputs"], target=figures["target"]), figures[method])


@pytest.mark.parametrize(
    "quadrature", ["gauss_legendre", "riemann_left", "riemann_right", "riemann_middle", "trapezoid"]
)
def test_integrated_gradients(reference, quadrature):
    model, figures = reference
    theirs = figures[f"integrated_gradients/{quadrature}"]
    if quadrature == "trapezoid":  # its weights sum to (n - 1) / n in Captum
        theirs = theirs * 12 / 11
    attribution = jv.integrated_gradients(
        model,
        figures["inputs"],
        target=figures["target"],
        baseline=figures["baseline"],
        steps=12,
        quadrature=quadrature,
    )
    close(attribution, theirs)


def test_integrated_gradients_without_the_factor(reference):
    model, figures = reference
    attribution = jv.integrated_gradients(
        model, figures["inputs"], target=figures["target"], steps=12, multiply_by_inputs=False
    )
    close(attribution, figures["mean_gradient"])


@pytest.mark.parametrize(
    ("reduce", "captum"), [("mean", "smoothgrad"), ("square", "smoothgrad_sq"), ("variance", "vargrad")]
)
def test_smooth_with_the_same_noise(reference, reduce, captum):
    model, figures = reference
    inputs = figures["inputs"]
    noise = iter(figures["noise"].reshape(len(inputs), 6, *inputs.shape[1:]).swapaxes(0, 1))

    def with_given_noise(model: jv.Model, inputs: jax.Array, *, target: Any, chunk_size: int | None) -> jax.Array:
        return jv.saliency(model, inputs + next(noise), target=target)

    smoothed = jv.smooth(with_given_noise, samples=6, noise=0.0, reduce=reduce)
    close(smoothed(model, inputs, target=figures["target"], key=jax.random.key(0)), figures[captum])


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # a map that is negative everywhere is 0
@pytest.mark.parametrize(("relu", "captum"), [(False, "grad_cam"), (True, "grad_cam_relu")])
def test_grad_cam(reference, relu, captum):
    model, figures = reference
    if captum not in figures:
        pytest.skip("a network without a grid")
    cam = jv.grad_cam(model, figures["inputs"], target=figures["target"], layer="features", relu=relu, upsample=False)
    close(cam[..., None], figures[captum])
