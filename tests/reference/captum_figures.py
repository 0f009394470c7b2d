"""Makes `captum_figures.npz`: three networks' weights, inputs, and what Captum says of them.

    python tests/reference/captum_figures.py        # needs torch and captum; the tests need only the file

The networks are those of `tests/attribution/conftest.py`, which read the weights by the same names.
"""

import itertools

import captum
import numpy as np
import torch
from captum.attr import InputXGradient, IntegratedGradients, LayerGradCam, NoiseTunnel, Saliency
from files import write
from torch import nn

QUADRATURES = {
    "gauss_legendre": "gausslegendre",
    "riemann_left": "riemann_left",
    "riemann_right": "riemann_right",
    "riemann_middle": "riemann_middle",
    "trapezoid": "riemann_trapezoid",
}
STEPS = 12
SAMPLES = 6


class Mlp(nn.Module):
    """Every common activation function, one after the other."""

    def __init__(self):
        super().__init__()
        sizes = (6, 12, 12, 12, 12, 12, 12, 3)
        self.layers = nn.ModuleList([nn.Linear(*pair) for pair in itertools.pairwise(sizes)])
        self.activations = (
            torch.tanh,
            torch.relu,
            torch.sigmoid,
            nn.functional.gelu,
            nn.functional.silu,
            nn.functional.elu,
        )

    def forward(self, x):
        for layer, activation in zip(self.layers, self.activations, strict=False):
            x = activation(layer(x))
        return self.layers[-1](x)


class Cnn(nn.Module):
    """Batch norm, a residual block, overlapping max-pooling with padding, and plain max-pooling."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(
            [nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)]
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(8) for _ in range(3)])
        self.inner, self.outer, self.last, self.features = nn.ReLU(), nn.ReLU(), nn.ReLU(), nn.Identity()
        self.layers = nn.ModuleList([nn.Linear(8, 4)])

    def forward(self, x):
        x = nn.functional.max_pool2d(self.inner(self.norms[0](self.convs[0](x))), 3, 2, 1)
        y = self.outer(self.norms[1](self.convs[1](x)))
        x = self.features(self.last(self.norms[2](self.convs[2](y)) + x))
        return self.layers[0](nn.functional.max_pool2d(x, 2).mean((2, 3)))


class Lstm(nn.Module):
    """The last output of an LSTM, read out."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 5, batch_first=True)
        self.layers = nn.ModuleList([nn.Linear(5, 2)])

    def forward(self, x):
        return self.layers[0](self.lstm(x)[0][:, -1])


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


def figures(model, inputs, baseline, target, layer):
    """What Captum says."""
    found = {"outputs": model(inputs), "saliency": Saliency(model).attribute(inputs, target=target)}
    found["input_x_gradient"] = InputXGradient(model).attribute(inputs, target=target)
    for name, captum_name in QUADRATURES.items():
        found[f"integrated_gradients/{name}"] = IntegratedGradients(model).attribute(
            inputs, baselines=baseline, target=target, n_steps=STEPS, method=captum_name
        )
    found["mean_gradient"] = IntegratedGradients(model, multiply_by_inputs=False).attribute(
        inputs, target=target, n_steps=STEPS
    )
    # The noisy copies are drawn first, then handed to Captum's reductions as they are: NoiseTunnel repeats each example.
    noise = 0.2 * torch.randn(len(inputs) * SAMPLES, *inputs.shape[1:])
    found["noise"] = noise
    for kind in ("smoothgrad", "smoothgrad_sq", "vargrad"):
        normal = torch.normal
        torch.normal = lambda mean, std, noise=noise: noise  # NoiseTunnel draws its noise by this function
        try:
            found[kind] = NoiseTunnel(Saliency(model)).attribute(
                inputs, nt_type=kind, nt_samples=SAMPLES, stdevs=1.0, target=target
            )
        finally:
            torch.normal = normal
    if layer is not None:
        found["grad_cam"] = LayerGradCam(model, layer).attribute(inputs, target=target)
        found["grad_cam_relu"] = LayerGradCam(model, layer).attribute(inputs, target=target, relu_attributions=True)
    return {name: last(value) for name, value in found.items()}


def main():
    """Writes the file."""
    torch.manual_seed(0)
    arrays = {"versions": np.array(f"torch {torch.__version__}, captum {captum.__version__}")}
    cases = {"mlp": (Mlp(), (5, 6)), "cnn": (Cnn(), (3, 2, 12, 12)), "lstm": (Lstm(), (4, 7, 3))}
    for name, (model, shape) in cases.items():
        for norm in getattr(model, "norms", ()):
            norm.running_mean.normal_(0, 0.3)
            norm.running_var.uniform_(0.5, 2)
            norm.weight.data.uniform_(0.5, 1.5)
            norm.bias.data.normal_(0, 0.2)
        for layer in getattr(model, "layers", ()):
            layer.weight.data.mul_(2)  # the default weights are so small that deep layers hardly answer
        model.eval()
        inputs, baseline = torch.randn(shape), 0.3 * torch.randn(shape)
        target = torch.arange(shape[0]) % model(inputs).shape[1]
        layer = model.features if name == "cnn" else None
        found = {"inputs": last(inputs), "baseline": last(baseline), "target": target.numpy()}
        found |= figures(model, inputs, baseline, target, layer)
        arrays |= {f"{name}/{key}": value for key, value in found.items()}
        arrays |= {f"{name}/weights/{key}": value for key, value in weights(model).items()}
    write("captum_figures.npz", arrays)


if __name__ == "__main__":
    main()
