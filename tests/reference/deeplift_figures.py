"""Makes `deeplift_figures.npz`: what Captum says of two networks, by the methods that put rules in place of derivatives.

    python tests/reference/deeplift_figures.py

needs torch and captum, which jaxviz itself does not. It writes next to itself, and prints how long Captum takes. The networks are
those of `tests/attribution/rules/conftest.py`, which Captum is right on: of modules, each used once; of max-pooling without
overlap, and not next to an activation function (there what Captum 0.9 says misses the score's difference by as much as that is).
In double precision: Captum's quotients of differences lose up to 1e-2 in single precision.
"""

import time

import captum
import numpy as np
import torch
from captum.attr import Deconvolution, DeepLift, DeepLiftShap, GuidedBackprop
from files import write
from torch import nn


def mlp():
    """Every activation function that Captum has a rule for."""
    activations = (nn.Tanh(), nn.ReLU(), nn.Sigmoid(), nn.Softplus(), nn.ELU(), nn.LeakyReLU(0.1))
    widths = (6, 12, 12, 12, 12, 12, 12)
    layers = [
        part
        for width, following, activation in zip(widths, widths[1:], activations, strict=False)
        for part in (nn.Linear(width, following), activation)
    ]
    return nn.Sequential(*layers, nn.Linear(12, 3))


class Cnn(nn.Module):
    """Batch norm, a residual block, max-pooling."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(2, 8, 3, padding=1), *(nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))])
        self.norms = nn.ModuleList([nn.BatchNorm2d(8) for _ in range(3)])
        self.relus = nn.ModuleList([nn.ReLU() for _ in range(2)])
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.pool(self.norms[0](self.convs[0](x)))
        y = self.relus[0](self.norms[1](self.convs[1](x)))
        return self.head(self.relus[1](self.norms[2](self.convs[2](y)) + x).mean((2, 3)))


class Wired(nn.Module):
    """What Captum's hooks are wrong on, unless a copy is made: they are on arrays, not on modules.

    `skip`: what enters an activation is used elsewhere, too; what comes back from there is multiplied likewise. `chain` and
    `pooled`: one module with a rule after another; the first sees what came back before the second's rule was applied.
    """

    def __init__(self, kind, copies):
        super().__init__()
        self.kind, self.copy = kind, torch.clone if copies else nn.Identity()
        self.enter, self.head = nn.Linear(6, 8), nn.Linear(4 if kind == "pooled" else 8, 3)
        self.tanh, self.sigmoid, self.pool = nn.Tanh(), nn.Sigmoid(), nn.MaxPool1d(2)

    def forward(self, x):
        x = self.enter(x)
        if self.kind == "skip":
            return self.head(self.tanh(self.copy(x)) + x)
        x = self.copy(self.tanh(x[:, None]))
        return self.head((self.pool if self.kind == "pooled" else self.sigmoid)(x)[:, 0])


def weights(model):
    """Arrays by name, kernels as Flax has them: dense (in, out), convolutions (height, width, in, out)."""
    arrays = {}
    for name, value in model.state_dict().items():
        array = value.numpy()
        arrays[name] = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T if array.ndim == 2 else array
    return arrays


def last(array):
    """Channels last, as numpy."""
    array = array.detach().numpy()
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


def figures(model, inputs, baseline, baselines):
    """What Captum says."""
    target = torch.arange(len(inputs)) % model(inputs).shape[1]
    arguments = {"inputs": inputs, "target": target}
    return {
        "target": target,
        "outputs": model(inputs),
        "deeplift": DeepLift(model).attribute(baselines=baseline, **arguments),
        "multipliers": DeepLift(model, multiply_by_inputs=False).attribute(baselines=baseline, **arguments),
        "deep_shap": DeepLiftShap(model).attribute(baselines=baselines, **arguments),
        "guided_backprop": GuidedBackprop(model).attribute(**arguments),
        "deconvnet": Deconvolution(model).attribute(**arguments),
    }


def time_captum(name, model, inputs, baseline, baselines):
    """Prints the best time of 50 calls of each method."""
    calls = {
        "deeplift": lambda: DeepLift(model).attribute(inputs, baseline, target=0),
        "deep_shap": lambda: DeepLiftShap(model).attribute(inputs, baselines, target=0),
        "guided_backprop": lambda: GuidedBackprop(model).attribute(inputs, target=0),
    }
    for method, call in calls.items():
        times = []
        for _ in range(50):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        print(f"{name} {method}: {1e3 * min(times):.2f} ms")


def main():
    """Writes the file."""
    torch.manual_seed(0)
    arrays = {"versions": np.array(f"torch {torch.__version__}, captum {captum.__version__}")}
    for name, model, shape in (("mlp", mlp(), (5, 6)), ("cnn", Cnn(), (3, 2, 12, 12))):
        for norm in getattr(model, "norms", ()):
            norm.running_mean.normal_(0, 0.3)
            norm.running_var.uniform_(0.5, 2)
            norm.weight.data.uniform_(0.5, 1.5)
            norm.bias.data.normal_(0, 0.2)
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight.data.mul_(2)  # the default weights are so small that deep layers hardly answer
        model.eval()
        arrays |= {f"{name}/weights/{key}": value for key, value in weights(model).items()}
        inputs, baseline, baselines = torch.randn(shape), 0.3 * torch.randn(shape), torch.randn(4, *shape[1:])
        given = {"inputs": inputs, "baseline": baseline, "baselines": baselines}
        time_captum(name, model, **given)
        arrays |= {f"{name}/{key}": last(value) for key, value in given.items()}
        found = figures(model.double(), **{key: value.double() for key, value in given.items()})
        arrays |= {f"{name}/{key}": last(value) for key, value in found.items()}
    for kind in ("skip", "chain", "pooled"):
        model = Wired(kind, True).double()
        inputs, baseline, target = torch.randn(4, 6).double(), torch.randn(4, 6).double(), torch.arange(4) % 3
        hooked = Wired(kind, False).double()
        hooked.load_state_dict(model.state_dict())
        found = {
            "inputs": inputs,
            "baseline": baseline,
            "target": target,
            "outputs": model(inputs),
            "with copies": DeepLift(model).attribute(inputs, baseline, target=target),
            "without": DeepLift(hooked).attribute(inputs, baseline, target=target),
        }
        arrays |= {f"{kind}/{key}": last(value) for key, value in found.items()}
        arrays |= {f"{kind}/weights/{key}": value for key, value in weights(model).items()}
    write("deeplift_figures.npz", arrays)


if __name__ == "__main__":
    main()
