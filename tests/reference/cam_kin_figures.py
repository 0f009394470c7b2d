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
from sklearn.decomposition import NMF

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


def singular_parts(matrix, components):
    """NNDSVD: of each pair of singular vectors the parts of one sign that make the larger product, `(c, k)` and `(k, n)`."""
    left, lengths, right = np.linalg.svd(matrix, full_matrices=False)
    found = []
    for one, length, other in zip(left.T[:components], lengths, right, strict=False):
        pairs = [(np.maximum(sign * one, 0), np.maximum(sign * other, 0)) for sign in (1, -1)]
        one, other = max(pairs, key=lambda pair: np.linalg.norm(np.outer(*pair)))
        product = np.linalg.norm(one) * np.linalg.norm(other)
        scale = np.sqrt(length * product)
        found.append((scale * one / np.linalg.norm(one), scale * other / np.linalg.norm(other)))
    concepts, maps = zip(*found, strict=True)
    return np.stack(concepts, axis=1), np.stack(maps)


def factorizations(model, inputs):
    """scikit-learn's from the singular vectors, after some steps; and its squared errors from random numbers."""
    kept = []
    model.features.register_forward_hook(lambda module, arguments, output: kept.append(output.detach().numpy()))
    model(inputs)
    matrix = np.moveaxis(kept[0], 1, 0).reshape(8, -1)
    for components, steps in ((3, 20), (5, 4)):
        concepts, maps = singular_parts(matrix, components)
        solver = NMF(components, init="custom", tol=0, max_iter=steps)
        concepts = solver.fit_transform(matrix, W=concepts.copy(), H=maps.copy())
        yield f"factorization/{components}/concepts", concepts
        yield f"factorization/{components}/maps", solver.components_
        errors = [
            NMF(components, init="random", random_state=seed, max_iter=2000).fit(matrix).reconstruction_err_
            for seed in range(10)
        ]
        yield f"factorization/{components}/errors", np.square(errors)


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
    arrays |= dict(factorizations(network(stored), inputs))
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
