"""Makes `option_figures.npz`: options of Zennit and pytorch-grad-cam that the other figures leave at their defaults.

    python tests/reference/option_figures.py     # needs torch, captum, zennit and grad-cam; the tests need only the file

In float64, of the networks of `lrp_figures.npz` and `captum_figures.npz`. Maps are taken before pytorch-grad-cam stretches them.
"""

import sys
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from files import write

for name in ("torchvision.models", "torchvision.models.resnet"):  # those that are imported here, but not used
    sys.modules[name] = mock.MagicMock()

# ruff: noqa: E402 (after the stand-ins above)
from cam_figures import METHODS, network
from lrp_figures import HIGH, LOW, RULES, Cnn, Merge, Mlp, last, relevance
from pytorch_grad_cam import AblationCAM
from pytorch_grad_cam.ablation_layer import AblationLayer
from pytorch_grad_cam.utils.model_targets import (
    ClassifierOutputReST,
    ClassifierOutputSoftmaxTarget,
    ClassifierOutputTarget,
    FasterRCNNBoxScoreTarget,
    FinerWeightedTarget,
    SemanticSegmentationTarget,
)
from torch import nn
from zennit.attribution import Gradient, Occlusion
from zennit.composites import (
    BetaSmooth,
    EpsilonGammaBox,
    EpsilonPlus,
    EpsilonPlusFlat,
    LayerMapComposite,
    SpecialFirstLayerMapComposite,
    layer_map_base,
)
from zennit.core import Stabilizer
from zennit.rules import AlphaBeta, Epsilon, Gamma, WSquare, ZBox, ZPlus
from zennit.types import Convolution, Linear

FOLDER = Path(__file__).parent
BIASLESS = {
    "epsilon": Epsilon(zero_params="bias"),
    "gamma": Gamma(zero_params="bias"),
    "alpha2 beta1": AlphaBeta(zero_params="bias"),
    "z-plus": ZPlus(zero_params="bias"),
    "z-box": ZBox(LOW, HIGH, zero_params="bias"),
    "w-square": WSquare(zero_params="bias"),
}
STABILIZERS = {
    "clip": Stabilizer(0.1, clip=True),
    "norm": Stabilizer(0.1, norm_scale=True),
    "norm clip": Stabilizer(0.1, clip=True, norm_scale=True),
    "norm channels": Stabilizer(0.1, norm_scale=True, dim=(1,)),
    "function": lambda z: z + 0.2 * (z.sign() + (z == 0)),
}


def composites():
    """What is compared, by name; composites keep state, so each is made when it is used."""
    for name, rule in BIASLESS.items():
        if name in ("z-box", "w-square"):
            layers = [*layer_map_base(), (Linear, Epsilon(zero_params="bias"))]
            yield f"without bias {name}", SpecialFirstLayerMapComposite(layers, [(Linear, rule)], canonizers=[Merge()])
        else:
            yield f"without bias {name}", LayerMapComposite([*layer_map_base(), (Linear, rule)], canonizers=[Merge()])
    settings = {"zero_params": "bias", "epsilon": 0.1, "canonizers": [Merge()]}
    yield "without bias EpsilonPlusFlat", EpsilonPlusFlat(**settings)
    yield "without bias EpsilonGammaBox", EpsilonGammaBox(LOW, HIGH, gamma=0.5, **settings)
    for name, stabilizer in STABILIZERS.items():
        yield f"stabilizer {name}", LayerMapComposite([*layer_map_base(), (Linear, Epsilon(stabilizer))], [Merge()])
    yield "stabilizers of EpsilonPlus", EpsilonPlus(STABILIZERS["norm"], STABILIZERS["clip"], canonizers=[Merge()])
    yield "more rules", EpsilonPlus(layer_map=[(Convolution, Gamma(0.5))], canonizers=[Merge()])


def stored_network(stored, name, model):
    """A network of `lrp_figures.npz`, with its weights."""
    state = {}
    for key, value in model.state_dict().items():
        if "num_batches" in key:
            state[key] = value
            continue
        array = stored[f"{name}/weights/{key}"]
        array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T if array.ndim == 2 else array
        state[key] = torch.tensor(np.ascontiguousarray(array))
    model.load_state_dict(state)
    return model.double().eval()


def of_zennit():
    """Zennit's relevance with each option."""
    stored = np.load(FOLDER / "lrp_figures.npz")
    found = {}
    for name, kind in (("mlp", Mlp), ("cnn", Cnn)):
        model = stored_network(stored, name, kind())
        inputs, target = stored[f"{name}/inputs"], torch.tensor(stored[f"{name}/target"])
        inputs = torch.tensor(np.moveaxis(inputs, -1, 1) if inputs.ndim == 4 else inputs)
        for option, composite in composites():
            found[f"{name}/{option}"] = last(relevance(model, composite, inputs, target))
        for beta in (1.0, 10.0):
            found[f"{name}/beta smooth {beta:g}"] = last(of_one(model, BetaSmooth(beta), inputs, target))
        if name == "cnn":
            found |= others(model, inputs, target)
    return found


def of_one(model, composite, inputs, target):
    """What starts from one at the target, and not from the output."""
    one = lambda outputs: nn.functional.one_hot(target, outputs.shape[1]).to(outputs)
    with Gradient(model=model, composite=composite, attr_output=one) as attributor:
        return attributor(inputs)[1]


def others(model, inputs, target):
    """Relevance that starts from one, and occlusion with only the window seen."""
    chosen = lambda outputs: outputs * nn.functional.one_hot(target, outputs.shape[1]).to(outputs)
    composite = LayerMapComposite([*layer_map_base(), (Linear, RULES["epsilon"])], canonizers=[Merge()])
    occlusion = Occlusion(model, window=(4, 4), stride=(4, 4), attr_output=chosen)
    return {
        "cnn/relevance of one": last(of_one(model, composite, inputs, target)),
        "cnn/only the window": last(occlusion(inputs)[1]),
    }


def of_grad_cam():
    """pytorch-grad-cam's maps with `eigen_smooth`, and Ablation-CAM of some of the channels."""
    stored = np.load(FOLDER / "captum_figures.npz")
    inputs = torch.tensor(np.moveaxis(stored["cnn/inputs"], -1, 1)).double()
    targets = [ClassifierOutputTarget(int(target)) for target in stored["cnn/target"]]
    areas = lambda size: nn.Upsample(size, mode="bilinear", align_corners=False)
    found = {}

    def raw(cam, targets=targets, **settings):
        maps = []
        of_layer = cam.get_cam_image
        cam.get_cam_image = lambda *args: maps.append(of_layer(*args)) or maps[-1]
        with mock.patch.object(nn, "UpsamplingBilinear2d", areas):
            cam(inputs, targets, **settings)
        return maps[0]

    model = network(stored)
    found["grad_cam/aug_smooth"] = METHODS["grad_cam"](model, [model.features])(inputs, targets, aug_smooth=True)
    for name, (head, of_examples) in kinds_of_targets(stored, inputs).items():
        model = Head(network(stored), head)
        found[f"hires_cam/{name}"] = raw(METHODS["hires_cam"](model, [model.body.features]), of_examples)
    for name, method in METHODS.items():
        if not name.startswith("eigen"):
            model = network(stored)
            found[f"{name}/eigen_smooth"] = raw(method(model, [model.features]), eigen_smooth=True)
    for ratio in (0.25, 0.5):
        model = network(stored)
        layer = AblationLayer()
        found[f"ablation_cam/{ratio}"] = raw(
            AblationCAM(model, [model.features], ablation_layer=layer, ratio_channels_to_ablate=ratio)
        )
    return found


class Head(nn.Module):
    """Other outputs of the CNN: what a function makes of its own, and of the layer `features`."""

    def __init__(self, body, head):
        super().__init__()
        self.body, self.head = body, head

    def forward(self, x):
        kept = []
        handle = self.body.features.register_forward_hook(lambda module, inputs, output: kept.append(output))
        outputs = self.body(x)
        handle.remove()
        return self.head(outputs, kept[0])


def detector(outputs, features):
    """A box, a score and a label at each position."""
    found = features.flatten(2).transpose(1, 2)
    rows, columns = torch.meshgrid(*[torch.arange(6) + 0.5] * 2, indexing="ij")
    places = torch.stack([columns.flatten(), rows.flatten()], dim=1)
    half = 1 + found[..., :2].tanh()
    boxes = torch.cat([places - half, places + half], dim=2)
    scores, labels = found[..., 2:5].sigmoid().max(dim=2)
    return [
        dict(zip(("boxes", "scores", "labels"), one, strict=True)) for one in zip(boxes, scores, labels, strict=True)
    ]


def overlaps(one, other):
    """What torchvision's `box_iou` gives; torchvision itself is not needed."""
    low, high = torch.maximum(one[:, None, :2], other[None, :, :2]), torch.minimum(one[:, None, 2:], other[None, :, 2:])
    both = (high - low).clamp(min=0).prod(dim=2)
    area = lambda boxes: (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    return both / (area(one)[:, None] + area(other)[None] - both)


def kinds_of_targets(stored, inputs):
    """By name: outputs, as a function of the CNN's and of its features, and what of them is explained in each example."""
    classes, whole = stored["cnn/target"].tolist(), lambda outputs, features: outputs
    sys.modules["torchvision"].ops.box_iou = overlaps
    with torch.no_grad():
        found = Head(network(stored), detector)(inputs)
    return {
        "softmax": (whole, [ClassifierOutputSoftmaxTarget(one) for one in classes]),
        "ReST": (whole, [ClassifierOutputReST(one) for one in classes]),
        "finer": (whole, [FinerWeightedTarget(0, [1, 2], 0.6)] * 3),
        "segmentation": (
            lambda outputs, features: (features / 2).tanh() ** 2,
            [SemanticSegmentationTarget(2, np.arange(36).reshape(6, 6) % 3 == 0)] * 3,
        ),
        "detection": (
            detector,
            # Near the boxes that are found: at these themselves their overlap has a kink.
            [
                FasterRCNNBoxScoreTarget(one["labels"][[7, 20]].tolist(), one["boxes"][[7, 20]].numpy() + 0.1)
                for one in found
            ],
        ),
    }


def main():
    """Writes the file."""
    torch.set_default_dtype(torch.float64)
    arrays = of_zennit() | of_grad_cam()
    versions = [f"{name} {version(name)}" for name in ("torch", "zennit", "grad-cam")]
    arrays["versions"] = np.array(", ".join(versions))
    write("option_figures.npz", arrays)


if __name__ == "__main__":
    main()
