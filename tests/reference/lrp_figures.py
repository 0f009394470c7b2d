"""Relevance by Zennit, for `tests/attribution/rules/test_lrp_zennit.py`; needs torch and zennit (made with 0.5.1).

    python tests/reference/lrp_figures.py

writes `lrp_figures.npz` beside this file: weights (kernels as Flax has them), inputs, targets, and Zennit's relevance in float64,
channels last. Relevance starts as the chosen output, as `jaxviz.lrp` has it.
"""

import sys
from importlib.metadata import version
from unittest.mock import MagicMock

import numpy as np
import torch
from files import write

try:
    import torchvision  # noqa: F401 (only whether it is there)
except ImportError:  # Zennit imports it for canonizers of its networks, of which none is used here
    for module in ("torchvision", "torchvision.models", "torchvision.models.resnet"):
        sys.modules[module] = MagicMock()

from torch import nn
from zennit.attribution import Gradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import (
    EpsilonAlpha2Beta1,
    EpsilonAlpha2Beta1Flat,
    EpsilonGammaBox,
    EpsilonPlus,
    EpsilonPlusFlat,
    ExcitationBackprop,
    LayerMapComposite,
    SpecialFirstLayerMapComposite,
    layer_map_base,
)
from zennit.layer import Sum
from zennit.rules import AlphaBeta, Epsilon, Flat, Gamma, WSquare, ZBox, ZPlus
from zennit.types import Linear

LOW, HIGH = -3.0, 3.0
RULES = {
    "epsilon": Epsilon(),
    "epsilon 0.1": Epsilon(0.1),
    "gamma": Gamma(),
    "gamma 1": Gamma(1.0),
    "alpha2 beta1": AlphaBeta(),
    "alpha3 beta2": AlphaBeta(3.0, 2.0),
    "z-plus": ZPlus(),
    "z-box": ZBox(LOW, HIGH),
    "w-square": WSquare(),
    "flat": Flat(),
}


class Merge(SequentialMergeBatchNorm):
    """Zennit's merging of batch norms, without what it leaves of them: it keeps their eps, which scales by 1 / sqrt(1 + eps)."""

    def register(self, linears, batch_norm):
        super().register(linears, batch_norm)
        self.eps, batch_norm.eps = batch_norm.eps, 0.0

    def remove(self):
        super().remove()
        self.batch_norm.eps = self.eps


class Mlp(nn.Module):
    """Dense layers, with an activation of another kind after each."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 10), *(nn.Linear(10, 10) for _ in range(4)), nn.Linear(10, 3)])
        self.activations = nn.ModuleList([nn.Tanh(), nn.ReLU(), nn.GELU(), nn.SiLU(), nn.Sigmoid()])

    def forward(self, x):
        for layer, activation in zip(self.layers[:-1], self.activations, strict=True):
            x = activation(layer(x))
        return self.layers[-1](x)


class Activations(nn.Sequential):
    """Every other activation function that Zennit passes relevance through."""

    def __init__(self):
        kinds = (nn.ELU, nn.CELU, nn.SELU, nn.LeakyReLU, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.ReLU6)
        kinds += (nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish)
        layers = [part for kind in kinds for part in (nn.Linear(10, 10), kind())]
        super().__init__(*layers, nn.Linear(10, 3))


class Cnn(nn.Sequential):
    """Convolutions with and without bias, batch norms, max- and average-pooling, strides and groups."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(2, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 6, 3, stride=2, groups=2, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(6, 12),
            nn.ReLU(),
            nn.Linear(12, 4),
        )


class Residual(nn.Module):
    """Two residual blocks and a mean; `functional` for sums that no module makes."""

    def __init__(self, functional=False):
        super().__init__()
        self.functional = functional
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(6, 6, 3, padding=1),
                nn.BatchNorm2d(6),
                nn.ReLU(),
                nn.Conv2d(6, 6, 3, padding=1),
                nn.BatchNorm2d(6),
            )
            for _ in range(2)
        )
        self.sums = nn.ModuleList(Sum() for _ in range(2))
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(2))
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 4)

    def forward(self, x):
        x = self.stem(x)
        for block, add, relu in zip(self.blocks, self.sums, self.relus, strict=True):
            y = block(x)
            x = relu(x + y if self.functional else add(torch.stack([x, y], dim=-1)))
        return self.head(self.pool(x).flatten(1))


def weights(model):
    """Arrays by name, kernels as Flax has them: dense (in, out), convolutions (height, width, in, out)."""
    arrays = {}
    for name, value in model.state_dict().items():
        if "num_batches" not in name:
            array = value.numpy()
            arrays[name] = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T if array.ndim == 2 else array
    return arrays


def last(array):
    """Channels last, as numpy."""
    array = array.detach().numpy()
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


def composites():
    """What is compared, by name; composites keep state, so each is made when it is used."""
    canonizers = {"canonizers": [Merge()]}
    for name, rule in RULES.items():
        if name in ("z-box", "w-square", "flat"):  # for the first layer
            first = [(Linear, rule)]
            layer_map = [*layer_map_base(), (Linear, Epsilon())]
            yield name, SpecialFirstLayerMapComposite(layer_map=layer_map, first_map=first, **canonizers)
        else:
            yield name, LayerMapComposite([*layer_map_base(), (Linear, rule)], **canonizers)
    yield "EpsilonGammaBox", EpsilonGammaBox(LOW, HIGH, **canonizers)
    presets = (EpsilonPlus, EpsilonPlusFlat, EpsilonAlpha2Beta1, EpsilonAlpha2Beta1Flat, ExcitationBackprop)
    for preset in presets:
        yield preset.__name__, preset(**canonizers)


def relevance(model, composite, inputs, target):
    """Zennit's relevance of the inputs."""

    def chosen(outputs):
        return outputs * nn.functional.one_hot(target, outputs.shape[1]).to(outputs)

    with Gradient(model=model, composite=composite, attr_output=chosen) as attributor:
        return attributor(inputs)[1]


def main():
    """Writes the file."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    arrays = {"versions": np.array(f"torch {torch.__version__}, zennit {version('zennit')}")}
    with torch.random.fork_rng():  # added later: the others stay as they were
        activations = Activations()
    for name, model, shape in [
        ("mlp", Mlp(), (5, 6)),
        ("cnn", Cnn(), (3, 2, 12, 12)),
        ("residual", Residual(), (3, 2, 8, 8)),
        ("activations", activations, (5, 10)),
    ]:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
                module.weight.data.normal_(0, 1)  # of both signs
                module.bias.data.normal_(0, 0.2)
            elif isinstance(module, nn.Linear | nn.Conv2d):
                module.weight.data.mul_(2)  # the default weights are so small that deep layers hardly answer
        model.eval()
        inputs = torch.randn(shape)
        # As float32 has them, so that both dtypes start from the same numbers.
        inputs = inputs.to(torch.float32).to(torch.float64)
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.to(torch.float32).to(torch.float64))
        outputs = model(inputs)
        target = outputs.argmax(1)
        arrays |= {f"{name}/inputs": last(inputs), f"{name}/target": target.numpy(), f"{name}/outputs": last(outputs)}
        for rule, composite in composites():
            if name == "activations" and rule not in ("epsilon", "gamma", "alpha2 beta1"):
                continue
            arrays[f"{name}/{rule}"] = last(relevance(model, composite, inputs, target))
        arrays |= {f"{name}/weights/{key}": value for key, value in weights(model).items()}
        if name == "residual":
            functional = Residual(functional=True)
            functional.load_state_dict(model.state_dict())
            composite = dict(composites())["EpsilonPlus"]
            arrays["residual/functional EpsilonPlus"] = last(relevance(functional.eval(), composite, inputs, target))
    write("lrp_figures.npz", arrays)


if __name__ == "__main__":
    main()
