"""The Captum side of `benchmarks/attribution.py`: reads networks from a folder, answers requests line by line in JSON."""

import json
import sys
import time
from pathlib import Path

import captum
import numpy as np
import torch
from captum.attr import IntegratedGradients, NoiseTunnel, Saliency
from torch import nn

STEPS, SAMPLES, NOISE = 50, 50, 0.1


def network(arrays, layers):
    """The torch network of the layers' kinds and weights, with images as (batch, channels, height, width)."""
    modules, channels = [], None
    for path, kind in layers:
        if kind == "Conv":
            kernel = torch.tensor(arrays[f"{path}/kernel"]).permute(3, 2, 0, 1)
            conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel.shape[2:], padding="same")
            conv.weight.data, conv.bias.data = kernel.contiguous(), torch.tensor(arrays[f"{path}/bias"])
            modules.append(conv)
            channels = kernel.shape[0]
        elif kind == "Pool":
            modules.append(nn.MaxPool2d(2))
        elif kind == "Activation":
            modules.append(nn.ReLU())
        elif kind == "Dense":
            kernel = torch.tensor(arrays[f"{path}/kernel"])
            if channels is not None:  # flattened here as channels, height, width; there as height, width, channels
                side = round((kernel.shape[0] // channels) ** 0.5)
                kernel = kernel.reshape(side, side, channels, -1).permute(2, 0, 1, 3).reshape(kernel.shape)
                modules.append(nn.Flatten())
                channels = None
            dense = nn.Linear(*kernel.shape)
            dense.weight.data, dense.bias.data = kernel.T.contiguous(), torch.tensor(arrays[f"{path}/bias"])
            modules.append(dense)
        else:
            raise ValueError(f"layer {path} of kind {kind} has no counterpart")
    return nn.Sequential(*modules).eval()


class Cases:
    """The networks of the folder, each read once."""

    def __init__(self, folder):
        self.folder = folder
        self.networks = {}

    def network(self, name):
        if name not in self.networks:
            arrays = np.load(self.folder / f"{name}.npz")
            inputs = torch.tensor(arrays["inputs"])
            if inputs.ndim == 4:
                inputs = inputs.permute(0, 3, 1, 2).contiguous()
            model = network(arrays, json.loads(str(arrays["layers"])))
            self.networks[name] = model, inputs, torch.tensor(arrays["target"]).long()
        return self.networks[name]

    def call(self, name, method, setting):
        model, inputs, target = self.network(name)
        batch = None if setting == "whole" else int(setting)
        if method == "integrated_gradients":
            return IntegratedGradients(model).attribute(
                inputs, target=target, n_steps=STEPS, method="gausslegendre", internal_batch_size=batch
            )
        per_batch = None if batch is None else max(batch // len(inputs), 1)
        return NoiseTunnel(Saliency(model)).attribute(
            inputs,
            target=target,
            nt_type="smoothgrad",
            nt_samples=SAMPLES,
            nt_samples_batch_size=per_batch,
            stdevs=NOISE,
        )


def answer(cases, request, *words):
    """What one line asks for."""
    if request == "versions":
        return {"torch": torch.__version__, "captum": captum.__version__}
    if request == "settings":
        return ["whole", "64"]
    if request == "time":
        start = time.perf_counter()
        cases.call(*words)
        return time.perf_counter() - start
    values = cases.call(*words, "whole").detach()
    return (values.permute(0, 2, 3, 1) if values.ndim == 4 else values).reshape(-1).tolist()


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    torch.manual_seed(0)
    all_cases = Cases(Path(sys.argv[1]))
    for line in sys.stdin:
        print(json.dumps(answer(all_cases, *line.split())), flush=True)
