"""The class activation maps against figures that pytorch-grad-cam and Captum computed with the same weights, in float64."""

from pathlib import Path

import jax
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.cam.biases import full_gradient
from jaxviz.targets import Target

THEIRS: dict[str, np.ndarray] = {}
for file in ("cam_figures.npz", "option_figures.npz"):
    with np.load(Path(__file__).parents[1] / "reference" / file) as stored:
        THEIRS |= {name: stored[name] for name in stored.files}
pytestmark = pytest.mark.parametrize("reference", ["cnn"], indirect=True)


def close(ours, theirs, tolerance=1e-5):
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


@pytest.mark.parametrize("method", ["grad_cam", "xgrad_cam", "hires_cam", "layer_cam", "score_cam", "ablation_cam"])
def test_maps(reference, method):
    model, figures = reference
    ours = getattr(jv, method)(
        model, figures["inputs"], target=figures["target"], layer="features", relu=False, upsample=False
    )
    theirs = THEIRS[method]
    if method == "ablation_cam":  # it divides by the score, not by its absolute value
        scores = figures["outputs"][np.arange(3), figures["target"]]
        theirs = theirs * np.sign(scores)[:, None, None]
        assert (scores < 0).any()
    close(ours, theirs)


@pytest.mark.parametrize("method", ["eigen_cam", "eigen_grad_cam"])
def test_components(reference, method):
    model, figures = reference
    settings = {"target": figures["target"], "layer": "features", "upsample": False}
    ours = np.asarray(getattr(jv, method)(model, figures["inputs"], relu=False, **settings))
    # The sign of a singular vector is arbitrary; ours is the one that agrees with this map.
    sign = np.sign((ours * THEIRS[method]).sum(axis=(1, 2), keepdims=True))
    close(ours, sign * THEIRS[method])
    if method == "eigen_grad_cam":
        meaning = jv.hires_cam(model, figures["inputs"], relu=False, **settings)
    else:
        meaning = model.capture(figures["inputs"], "features")["features"].sum(axis=-1)
    meaning = meaning - meaning.mean(axis=(1, 2), keepdims=True)
    assert ((ours * np.asarray(meaning)).sum(axis=(1, 2)) > 0).all()


@pytest.mark.parametrize("method", ["grad_cam", "xgrad_cam", "hires_cam", "layer_cam", "score_cam", "ablation_cam"])
def test_eigen_smooth(reference, method):
    model, figures = reference
    settings = {"target": figures["target"], "layer": "features", "upsample": False, "relu": False}
    ours = np.asarray(getattr(jv, method)(model, figures["inputs"], eigen_smooth=True, **settings))
    theirs = THEIRS[f"{method}/eigen_smooth"]
    sign = np.sign((ours * theirs).sum(axis=(1, 2), keepdims=True))
    close(ours, sign * theirs)
    plain = np.asarray(getattr(jv, method)(model, figures["inputs"], **settings))
    plain = plain - plain.mean(axis=(1, 2), keepdims=True)
    assert ((ours * plain).sum(axis=(1, 2)) > 0).all()


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_ablation_cam_of_a_share_of_the_channels(reference, share):
    model, figures = reference
    settings = {"target": figures["target"], "layer": "features", "upsample": False, "relu": False}
    ours = jv.ablation_cam(model, figures["inputs"], share=share, **settings)
    scores = figures["outputs"][np.arange(3), figures["target"]]
    close(ours, THEIRS[f"ablation_cam/{share}"] * np.sign(scores)[:, None, None])


def test_grad_cam_pp_but_for_its_epsilon(reference):
    model, figures = reference
    activation, gradient = activation_and_gradient(model, figures, "features")
    total = activation.sum(axis=(1, 2), keepdims=True)

    def formula(epsilon):
        below = 2 * gradient**2 + total * gradient**3 + epsilon
        alpha = np.where(gradient != 0, gradient**2 / np.where(below == 0, 1, below), 0)
        weights = (np.maximum(gradient, 0) * alpha).sum(axis=(1, 2), keepdims=True)
        return (weights * activation).sum(axis=-1)

    close(formula(1e-6), THEIRS["grad_cam_pp"])
    ours = jv.grad_cam_pp(
        model, figures["inputs"], target=figures["target"], layer="features", relu=False, upsample=False
    )
    close(ours, formula(0))


def activation_and_gradient(model, figures, layer):
    tail, activation = model.since(layer, figures["inputs"])
    gradient = jv.gradient(tail, activation, target=figures["target"])
    return np.asarray(activation, np.float64), np.asarray(gradient, np.float64)


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # a map that is negative everywhere is 0
def test_several_layers_but_for_their_stretching(reference):
    model, figures = reference
    settings = {"target": figures["target"], "upsample": False}
    maps = [
        np.asarray(jv.grad_cam(model, figures["inputs"], layer=layer, **settings), np.float64)
        for layer in ("BatchNorm_0", "features")
    ]
    least = lambda values: values.min(axis=(1, 2), keepdims=True)
    share = lambda values: values / np.maximum(values.max(axis=(1, 2), keepdims=True), 1e-30)  # a map may be 0
    stretch = lambda values: share(values - least(values))
    assert (least(maps[1]) > 0).any()
    close(stretch((stretch(maps[0]) + enlarged(stretch(maps[1]))) / 2), THEIRS["grad_cam/two"])
    ours = jv.grad_cam(model, figures["inputs"], target=figures["target"], layer=("BatchNorm_0", "features"))
    close(ours, (share(maps[0]) + enlarged(share(maps[1]))) / 2)


def enlarged(values):
    """Maps `(batch, 6, 6)` or `(batch, 6, 6, channels)` at twice the size, pixels being areas."""
    places = (np.arange(12) + 0.5) / 2 - 0.5
    line = lambda line: np.interp(places, np.arange(6), line)
    return np.apply_along_axis(line, 2, np.apply_along_axis(line, 1, values))


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # a map that is negative everywhere is 0
def test_guided_grad_cam(reference):
    model, figures = reference
    ours = jv.guided_grad_cam(model, figures["inputs"], target=figures["target"], layer="features")
    close(ours, THEIRS["guided_grad_cam"])


def test_full_gradient(reference):
    model, figures = reference
    target = Target(np.asarray(figures["target"], np.int32))
    layers = []

    def arrays(model, inputs, target):
        of_inputs, biases = full_gradient(model, inputs, target)
        layers.extend(layer for layer, _ in biases)
        return of_inputs, [part for _, part in biases]

    of_inputs, biases = jax.jit(arrays)(model, figures["inputs"], target)
    assert layers[:6] == ["Conv_0", "BatchNorm_0", "Conv_1", "BatchNorm_1", "Conv_2", "BatchNorm_2"]
    theirs = [THEIRS["full_grad/inputs"], *[THEIRS[f"full_grad/{i}"] for i in range(6)]]
    for part, reference_part in zip([of_inputs, *biases[:6]], theirs, strict=True):
        close(part, reference_part)
    expected = np.zeros((3, 12, 12))
    for part in theirs:  # the paper's psi; this library's is of each channel by itself
        part = np.abs(part)
        part = part - part.min(axis=(1, 2, 3), keepdims=True)
        part = part / part.max(axis=(1, 2, 3), keepdims=True)
        expected += (part if part.shape[1] == 12 else enlarged(part)).sum(axis=-1)
    close(jv.full_grad(model, figures["inputs"], target=figures["target"]), expected)
