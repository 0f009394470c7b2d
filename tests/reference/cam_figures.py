"""Makes `cam_figures.npz`: what pytorch-grad-cam and Captum say of the CNN of `captum_figures.npz`.

    python tests/reference/cam_figures.py        # needs torch, captum and grad-cam; the tests need only the file

In float64. Maps are taken before pytorch-grad-cam stretches them to the range from 0 to 1; Score-CAM's masks are enlarged as its
maps are; FullGrad's biases are brought into order. It imports torchvision for functions that are not used here: a stand-in does.
"""

import sys
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from captum.attr import GuidedGradCam
from captum_figures import Cnn, last
from files import write

for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
    sys.modules[name] = mock.MagicMock()

import pytorch_grad_cam as peer  # noqa: E402 (after the stand-ins above)
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: E402 (likewise)

METHODS = {
    "grad_cam": peer.GradCAM,
    "grad_cam_pp": peer.GradCAMPlusPlus,
    "xgrad_cam": peer.XGradCAM,
    "hires_cam": peer.HiResCAM,
    "layer_cam": peer.LayerCAM,
    "score_cam": peer.ScoreCAM,
    "ablation_cam": peer.AblationCAM,
    "eigen_cam": peer.EigenCAM,
    "eigen_grad_cam": peer.EigenGradCAM,
}


def network(stored):
    """The CNN with the stored weights."""
    model = Cnn()
    state = {}
    for key, value in model.state_dict().items():
        array = stored[f"cnn/weights/{key}"]
        array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T if array.ndim == 2 else array
        state[key] = torch.tensor(np.ascontiguousarray(array)).to(value.dtype)
    model.load_state_dict(state)
    return model.double().eval()


def maps(stored, inputs, targets):
    """The map of each method at the layer `features`, with its sign and in its own range."""
    found = {}
    for name, method in METHODS.items():
        model = network(stored)
        cam = method(model, [model.features])
        raw = []
        of_layer = cam.get_cam_image
        cam.get_cam_image = lambda *args, of_layer=of_layer, raw=raw: raw.append(of_layer(*args)) or raw[-1]
        # With the centers of pixels in place of those of the corners, as maps are enlarged by OpenCV.
        areas = lambda size: torch.nn.Upsample(size, mode="bilinear", align_corners=False)
        with mock.patch.object(torch.nn, "UpsamplingBilinear2d", areas):
            cam(inputs, targets)
        found[name] = raw[0]
    return found


def full_gradient(stored, inputs, targets):
    """FullGrad's parts, before absolute values are taken."""
    found = {}
    model = network(stored)
    # It pairs biases in the order in which modules were registered with gradients in the order of execution: make these the same.
    in_order = [module for pair in zip(model.convs, model.norms, strict=True) for module in pair]
    convs, norms = list(model._modules.pop("convs")), list(model._modules.pop("norms"))
    model.__dict__.update(convs=convs, norms=norms)
    model.in_order = torch.nn.ModuleList(in_order)
    cam = peer.FullGrad(model, [])

    def parts(input_tensor, targets, eigen_smooth):
        found["full_grad/inputs"] = last(input_tensor.grad * input_tensor)
        for index, (bias, gradient) in enumerate(zip(cam.bias_data, cam.activations_and_grads.gradients, strict=True)):
            found[f"full_grad/{index}"] = last(torch.tensor(bias)[None, :, None, None] * gradient)
        return np.zeros((len(inputs), 1, 1, 1))

    cam.compute_cam_per_layer = parts
    cam(inputs.clone().requires_grad_(), targets)
    return found


def main():
    """Writes the file."""
    folder = Path(__file__).parent
    stored = np.load(folder / "captum_figures.npz")
    inputs = torch.tensor(np.moveaxis(stored["cnn/inputs"], -1, 1)).double()
    targets = [ClassifierOutputTarget(int(target)) for target in stored["cnn/target"]]
    arrays = maps(stored, inputs, targets) | full_gradient(stored, inputs, targets)
    model = network(stored)
    # Two layers by the library's own way: each stretched and enlarged, the mean, which is stretched.
    arrays["grad_cam/two"] = peer.GradCAM(model, [model.norms[0], model.features])(inputs, targets)
    model = network(stored)
    guided = GuidedGradCam(model, model.features)
    arrays["guided_grad_cam"] = last(
        guided.attribute(inputs, target=torch.tensor(stored["cnn/target"]), interpolate_mode="bilinear")
    )
    arrays["versions"] = np.array(
        f"torch {torch.__version__}, grad-cam {version('grad-cam')}, captum {version('captum')}"
    )
    write("cam_figures.npz", arrays)


if __name__ == "__main__":
    main()
