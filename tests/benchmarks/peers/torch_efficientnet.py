"""EfficientNet-Lite0 in PyTorch, from the weights of the Flax module, timed on request."""

import sys
import time

import numpy as np
import torch
from captum.attr import IntegratedGradients
from protocol import serve
from torch import nn
from torch.nn import functional

STAGES = ((1, 3, 1, 1), (2, 3, 2, 6), (2, 5, 2, 6), (3, 3, 2, 6), (3, 5, 1, 6), (4, 5, 2, 6), (1, 3, 1, 6))


class Conv(nn.Module):
    """A convolution padded as in TensorFlow, without bias, and its batch norm; perhaps relu6."""

    def __init__(self, arrays, conv, norm, stride, relu):
        super().__init__()
        kernel = torch.tensor(arrays[f"params/{conv}/kernel"]).permute(3, 2, 0, 1).contiguous()
        self.groups = kernel.shape[0] if kernel.shape[1] == 1 and kernel.shape[2] > 1 else 1
        self.weight, self.stride, self.relu = nn.Parameter(kernel, requires_grad=False), stride, relu
        self.norm = nn.BatchNorm2d(kernel.shape[0], eps=1e-3)
        for name, path in (("weight", "params/{}/scale"), ("bias", "params/{}/bias")):
            getattr(self.norm, name).data = torch.tensor(arrays[path.format(norm)])
        self.norm.running_mean = torch.tensor(arrays[f"batch_stats/{norm}/mean"])
        self.norm.running_var = torch.tensor(arrays[f"batch_stats/{norm}/var"])

    def forward(self, x):
        size, kernel = x.shape[-1], self.weight.shape[-1]
        total = max((-(-size // self.stride) - 1) * self.stride + kernel - size, 0)
        low, high = total // 2, total - total // 2
        if low != high:
            x, low = functional.pad(x, (low, high, low, high)), 0
        x = self.norm(functional.conv2d(x, self.weight, stride=self.stride, padding=low, groups=self.groups))
        return functional.relu6(x) if self.relu else x


class Block(nn.Module):
    """An inverted residual."""

    def __init__(self, arrays, name, stride, expand):
        super().__init__()
        parts = [Conv(arrays, f"{name}/expand", f"{name}/expand_norm", 1, True)] if expand != 1 else []
        parts.append(Conv(arrays, f"{name}/depthwise", f"{name}/depthwise_norm", stride, True))
        parts.append(Conv(arrays, f"{name}/project", f"{name}/project_norm", 1, False))
        self.parts = nn.Sequential(*parts)

    def forward(self, x):
        y = self.parts(x)
        return x + y if x.shape == y.shape else y


class Network(nn.Module):
    """All of it; inputs and outputs as the Flax module has them."""

    def __init__(self, arrays):
        super().__init__()
        parts = [Conv(arrays, "stem", "stem_norm", 2, True)]
        for index, (repeats, _, stride, expand) in enumerate(STAGES):
            blocks = [f"stage{index}_block{repeat}" for repeat in range(repeats)]
            parts += [Block(arrays, name, stride if name == blocks[0] else 1, expand) for name in blocks]
        parts.append(Conv(arrays, "head", "head_norm", 1, True))
        self.parts = nn.Sequential(*parts)
        self.kernel = torch.tensor(arrays["params/classifier/kernel"])
        self.bias = torch.tensor(arrays["params/classifier/bias"])

    def forward(self, x):
        return self.parts(x).mean(dim=(2, 3)) @ self.kernel + self.bias


class Session:
    """The network in both memory layouts; the faster one counts."""

    def __init__(self, file, threads):
        torch.set_num_threads(threads)
        arrays = dict(np.load(file))
        network = Network(arrays).eval().requires_grad_(False)
        inputs = torch.tensor(arrays["inputs"]).permute(0, 3, 1, 2)
        last = network.to(memory_format=torch.channels_last), inputs
        first = Network(arrays).eval().requires_grad_(False), inputs.contiguous()
        self.layouts = {"channels last": last, "channels first": first}
        self.best = {}

    def call(self, case, layout, steps, target):
        network, inputs = self.layouts[layout]
        if case == "outputs":
            with torch.inference_mode():
                return network(inputs)
        if case == "gradient":
            inputs = inputs.detach().requires_grad_()
            return torch.autograd.grad(network(inputs)[:, target].sum(), inputs)[0].permute(0, 2, 3, 1)
        explained = IntegratedGradients(network).attribute(
            inputs, target=target, n_steps=steps, internal_batch_size=self.batch
        )
        return explained.permute(0, 2, 3, 1)

    batch = 4

    def seconds(self, case, layout, steps, target):
        start = time.perf_counter()
        self.call(case, layout, steps, target)
        return time.perf_counter() - start

    def time(self, case, steps, target):
        """Seconds of one call, in the layout that was the fastest of three calls each."""
        if case not in self.best:
            fastest = {
                layout: min(self.seconds(case, layout, steps, target) for _ in range(3)) for layout in self.layouts
            }
            self.best[case] = min(fastest, key=fastest.get)
        return self.seconds(case, self.best[case], steps, target)

    def values(self, case, steps, target):
        """What the network or the method gives."""
        return self.call(case, "channels first", steps, target).numpy().tolist()


if __name__ == "__main__":
    session = Session(sys.argv[1], int(sys.argv[2]))
    serve({"time": session.time, "values": session.values, "version": lambda: {"torch": torch.__version__}})
