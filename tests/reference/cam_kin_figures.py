"""Makes `cam_kin_figures.npz`: what pytorch-grad-cam's less common methods say of the CNN of `captum_figures.npz`.

    python tests/reference/cam_kin_figures.py    # needs torch, captum and grad-cam; the tests need only the file

In float64. Maps are taken before pytorch-grad-cam stretches them to the range from 0 to 1, but for those of several layers.
"""

import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from cam_figures import network, peer
from files import write
from pytorch_grad_cam.utils.model_targets import ClassifierOutputReST, ClassifierOutputTarget

KERNELS = {
    "sigmoid": {},
    "sigmoid 0.01": {"kernel": "sigmoid", "gamma": 0.01},
    "rbf": {"kernel": "rbf"},
    "rbf 0.5": {"kernel": "rbf", "gamma": 0.5},
    "polynomial": {"kernel": "poly"},
    "cosine": {"kernel": "cosine"},
    "linear": {"kernel": "linear"},
}


def methods():
    """The class, its settings and kind of target, by name."""
    logit, rest = ClassifierOutputTarget, ClassifierOutputReST
    yield "grad_cam_element_wise", peer.GradCAMElementWise, {}, logit
    yield "seg_eigen_cam", peer.SegEigenCAM, {}, logit
    yield "shapley_cam/logit", peer.ShapleyCAM, {}, logit
    yield "shapley_cam/ReST", peer.ShapleyCAM, {}, rest
    for name, settings in KERNELS.items():
        yield f"kpca_cam/{name}", peer.KPCA_CAM, settings, logit
    for deviations in (1, 2):
        yield f"fem_cam/{deviations}", peer.FEM, {"k": deviations}, logit


def raw(cam, inputs, *args, **settings):
    """The map of the one layer, with its sign and in its own range."""
    base = getattr(cam, "base_cam", cam)
    found = []
    of_layer = base.get_cam_image
    base.get_cam_image = lambda *args: found.append(of_layer(*args)) or found[-1]
    cam(inputs, *args, **settings)
    return found[0]


def main():
    """Writes the file."""
    stored = np.load(Path(__file__).parent / "captum_figures.npz")
    inputs = torch.tensor(np.moveaxis(stored["cnn/inputs"], -1, 1)).double()
    classes = stored["cnn/target"].tolist()
    arrays = {}
    for name, method, settings, kind in methods():
        model = network(stored)
        arrays[name] = raw(method(model, [model.features], **settings), inputs, [kind(one) for one in classes])
    # Classes are compared with those nearest to them: the highest with all others, and class 2 with two of them.
    model = network(stored)
    finer = peer.FinerCAM(model, [model.features], base_method=peer.HiResCAM)
    arrays["finer/highest"] = raw(finer, inputs)
    finer = peer.FinerCAM(model, [model.features], base_method=peer.HiResCAM)
    arrays["finer/of 2"] = raw(finer, inputs, alpha=0.6, target_idx=2, comparison_categories=[1, 2])
    # Of two layers: the product of their maps, each stretched and enlarged.
    model = network(stored)
    refined = peer.RefineCAM(model, [model.norms[0], model.features], base_method=peer.HiResCAM)
    arrays["refined"] = refined(inputs, [ClassifierOutputTarget(one) for one in classes])
    model = network(stored)
    several = peer.ShapleyCAM(model, [model.norms[0], model.features])
    try:
        several(inputs, [ClassifierOutputReST(one) for one in classes])
    except RuntimeError as error:
        print(f"ShapleyCAM of two layers: {error}")
    arrays["versions"] = np.array(
        ", ".join(f"{name} {version(name)}" for name in ("torch", "grad-cam", "scikit-learn"))
    )
    write("cam_kin_figures.npz", arrays)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "Using backward")
    main()
