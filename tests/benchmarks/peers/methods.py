"""The PyTorch side of the section `methods`: Captum's and Zennit's methods on networks of a folder, timed on request."""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch
from captum import attr
from captum_attribution import network
from protocol import serve

for module in ("torchvision", "torchvision.models", "torchvision.models.resnet"):
    sys.modules[module] = MagicMock()  # Zennit imports it for canonizers of its networks, of which none is used here
from zennit.attribution import Gradient  # noqa: E402 (after the stand-ins above)
from zennit.composites import EpsilonPlus  # noqa: E402 (likewise)

# How many perturbed inputs are evaluated at once; the faster counts.
BATCHES = ("1", "16", "64")


class Session:
    """The networks of a folder, and the methods."""

    def __init__(self, folder, threads):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.folder, self.networks, self.best = Path(folder), {}, {}

    def network(self, name):
        if name not in self.networks:
            arrays = np.load(self.folder / f"{name}.npz")
            inputs = torch.tensor(arrays["inputs"])
            inputs = inputs.permute(0, 3, 1, 2).contiguous() if inputs.ndim == 4 else inputs
            layers = json.loads(str(arrays["layers"]))
            self.networks[name] = network(arrays, layers), inputs, torch.tensor(arrays["target"]).long()
        return self.networks[name]

    def call(self, name, method, setting, samples, layer):
        """The attribution; one example after the other where Captum's surrogates take only one."""
        model, inputs, target = self.network(name)
        at_once = {} if setting == "" else {"perturbations_per_eval": int(setting)}
        if method == "lrp":
            with Gradient(model, EpsilonPlus()) as attributor:
                chosen = torch.nn.functional.one_hot(target, 10)
                return attributor(inputs, lambda outputs: outputs.detach() * chosen)[1]
        if method == "occlusion":
            window, stride = (inputs.shape[1], 4, 4), (inputs.shape[1], 2, 2)
            return attr.Occlusion(model).attribute(
                inputs, target=target, sliding_window_shapes=window, strides=stride, **at_once
            )
        if method == "kernel_shap" or method == "lime":
            # Captum explains a batch of one number each by one surrogate for all, so the examples go one by one.
            make = attr.KernelShap if method == "kernel_shap" else attr.Lime
            found = [
                make(model).attribute(inputs[i : i + 1], target=target[i : i + 1], n_samples=samples, **at_once)
                for i in range(len(inputs))
            ]
            return torch.cat(found)
        if method == "shapley_sampling":
            return attr.ShapleyValueSampling(model).attribute(inputs, target=target, n_samples=samples, **at_once)
        if method == "feature_ablation":
            return attr.FeatureAblation(model).attribute(inputs, target=target, **at_once)
        if layer is not None:
            make = {
                "input_x_gradient": attr.LayerGradientXActivation,
                "deeplift": attr.LayerDeepLift,
                "integrated_gradients": attr.LayerIntegratedGradients,
            }[method]
            more = {"n_steps": 50, "method": "gausslegendre"} if method == "integrated_gradients" else {}
            return make(model, model[layer]).attribute(inputs, target=target, **more)
        make = {
            "gradient": attr.Saliency,
            "deeplift": attr.DeepLift,
            "guided_backprop": attr.GuidedBackprop,
        }[method]
        return make(model).attribute(inputs.requires_grad_(), target=target)

    def seconds(self, *words):
        start = time.perf_counter()
        self.call(*words)
        return time.perf_counter() - start

    def time(self, network, method, samples=0, layer=None, count=1):
        """Mean seconds of some calls in a row, after one, at the batch size that was the fastest of two calls each.

        Of calls that take long, so that a rest before them does not count, one is timed.
        """
        case = network, method, layer
        if case not in self.best:
            perturbs = method in ("occlusion", "kernel_shap", "lime", "shapley_sampling", "feature_ablation")
            settings = BATCHES if perturbs else ("",)
            fastest = {
                setting: min(self.seconds(network, method, setting, samples, layer) for _ in range(2))
                for setting in settings
            }
            self.best[case] = min(fastest, key=fastest.get)
        words = network, method, self.best[case], samples, layer
        first = self.seconds(*words)
        return first if first > 0.1 else sum(self.seconds(*words) for _ in range(count)) / count

    def values(self, network, method, samples=0, layer=None):
        """The attribution, channels last."""
        found = self.call(network, method, self.best.get((network, method, layer), ""), samples, layer)
        found = found[0] if isinstance(found, tuple) else found
        found = found.detach()
        return (found.permute(0, 2, 3, 1) if found.ndim == 4 else found).tolist()


if __name__ == "__main__":
    session = Session(sys.argv[1], int(sys.argv[2]))
    versions = {name: version(name) for name in ("torch", "captum", "zennit")}
    serve({"version": lambda: versions, "time": session.time, "values": session.values})
