"""Makes `transformer_figures.npz`: what Captum says of a small transformer, on numbers and on token ids.

    python tests/reference/transformer_figures.py   # needs torch and captum; the tests need only the file

Two layers of two heads, layer norm first, GELU; the mean over the tokens, read out. `numbers` takes tokens of three numbers each,
`ids` takes token ids and an embedding. In float64, of weights and inputs that are exact in float32. What Captum draws at random
is drawn here and handed to it, so that the tests can hand it to jaxviz, too.
"""

import warnings

import captum
import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnLasso
from captum.attr import (
    DeepLift,
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    InternalInfluence,
    KernelShap,
    LayerConductance,
    LayerGradientXActivation,
    LayerIntegratedGradients,
    Lime,
    NeuronGradient,
    Occlusion,
    Saliency,
    ShapleyValues,
    ShapleyValueSampling,
)
from files import write
from perturbation_figures import lime
from torch import nn

WIDTH, HEADS, LAYERS, TOKENS, VOCABULARY, CLASSES = 8, 2, 2, 5, 11, 3
STEPS, SAMPLES = 12, 60


class Block(nn.Module):
    """Attention and a perceptron, each on the layer norm of what comes in, and added to it."""

    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.up, self.gelu, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x):
        """`(batch, tokens, width)` in and out."""
        y = self.norms[0](x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.down(self.gelu(self.up(self.norms[1](x))))


class Transformer(nn.Module):
    """All of it; `ids` for token ids."""

    def __init__(self, ids):
        super().__init__()
        self.enter = nn.Embedding(VOCABULARY, WIDTH) if ids else nn.Linear(3, WIDTH)
        self.places = nn.Parameter(torch.randn(TOKENS, WIDTH))
        self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        """Logits."""
        x = self.enter(x) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


def cosine(inputs, sample, coalition, **_):
    """The weight of a sample by how many of the features are there."""
    norms = (coalition.shape[1] * coalition.sum()).double().sqrt().clamp(min=1e-8)
    return torch.exp(-((1 - coalition.sum() / norms) ** 2) / 2).item()


def features(model, inputs, baseline, target):
    """What perturbation methods say: they take numbers and ids alike."""
    rows = {"target": target, "baselines": baseline}
    mask = {"feature_mask": torch.arange(TOKENS).reshape(1, TOKENS, *[1] * (inputs.ndim - 2))}
    window = (2, *inputs.shape[2:])
    yield "feature_ablation", FeatureAblation(model).attribute(inputs, **rows, **mask)
    yield (
        "occlusion",
        Occlusion(model).attribute(inputs, window, strides=(1, *[1] * (inputs.ndim - 2)), **rows),
    )
    yield "shapley_values", ShapleyValues(model).attribute(inputs, **rows, **mask, perturbations_per_eval=40)
    orders = [torch.randperm(TOKENS).tolist() for _ in range(7)]
    yield "orders", torch.tensor(orders)
    sampling = ShapleyValueSampling(model)
    sampling.permutation_generator = lambda features, samples: iter(orders)
    yield "shapley_sampling", sampling.attribute(inputs, **rows, **mask, n_samples=len(orders))
    coalitions = torch.bernoulli(torch.full((SAMPLES, TOKENS), 0.5)).long()
    yield "coalitions", coalitions
    surrogate = SkLearnLasso(alpha=0.001, tol=1e-7, max_iter=100000)
    yield "lime", lime(model, coalitions, surrogate, "cosine", 1.0, inputs=inputs, **rows, **mask)
    if not inputs.is_floating_point():  # of which the cosine of the numbers means nothing

        def draw(original, **_):
            yield from coalitions[:, None]

        of_coalitions = Lime(model, interpretable_model=surrogate, similarity_func=cosine, perturb_func=draw)
        yield "lime/coalitions", of_coalitions.attribute(inputs, **rows, **mask, n_samples=SAMPLES)
    yield (
        "kernel_shap",
        KernelShap(model).attribute(inputs, **rows, **mask, n_samples=3000, perturbations_per_eval=100),
    )


def at_inputs(model, inputs, baseline, target):
    """What gradients say of numbers."""
    path = {"baselines": baseline, "target": target}
    yield "gradient", Saliency(model).attribute(inputs, target=target, abs=False)
    yield "input_x_gradient", InputXGradient(model).attribute(inputs, target=target)
    yield "integrated_gradients", IntegratedGradients(model).attribute(inputs, n_steps=STEPS, **path)
    # Not to be compared with: how far Captum is from complete where it sees but the module of GELU.
    yield "captum deeplift", DeepLift(model).attribute(inputs, **path)


def at_layers(model, inputs, baseline, target):
    """What layer and neuron forms say."""
    path = {"baselines": baseline, "target": target, "n_steps": STEPS}
    for name, layer in (("enter", model.enter), ("up", model.blocks[1].up)):
        yield f"input_x_gradient/{name}", LayerGradientXActivation(model, layer).attribute(inputs, target=target)
        yield f"integrated_gradients/{name}", LayerIntegratedGradients(model, layer).attribute(inputs, **path)
    if inputs.is_floating_point():
        layer = model.blocks[1].up
        yield "conductance", LayerConductance(model, layer).attribute(inputs, method="gausslegendre", **path)
        yield "internal_influence", InternalInfluence(model, layer).attribute(inputs, **path)
        yield "neuron_gradient", NeuronGradient(model, layer).attribute(inputs, (2, 4))


def main():
    """Writes the file."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (Captum draws from it)
    warnings.filterwarnings("ignore")
    arrays = {"versions": np.array(f"torch {torch.__version__}, captum {captum.__version__}")}
    for name in ("numbers", "ids"):
        model = Transformer(name == "ids")
        for parameter in model.parameters():
            value = parameter.data
            parameter.data = 2 * value if value.ndim > 1 else value + 0.2 * torch.randn(value.shape)
        model.double().eval()
        if name == "ids":
            inputs, baseline = torch.randint(1, VOCABULARY, (4, TOKENS)), torch.zeros(1, TOKENS, dtype=torch.long)
        else:
            inputs, baseline = torch.randn(4, TOKENS, 3).double(), 0.3 * torch.randn(1, TOKENS, 3)
            baseline = baseline.double()
        target = torch.arange(4) % CLASSES
        given = (model, inputs, baseline, target)
        found = {"inputs": inputs, "baseline": baseline[0], "target": target, "outputs": model(inputs)}
        found |= dict(features(*given)) | dict(at_layers(*given))
        if name == "numbers":
            found |= dict(at_inputs(*given))
        found |= {f"weights/{key}": value for key, value in model.state_dict().items()}
        arrays |= {f"{name}/{key}": value.detach().numpy() for key, value in found.items()}
    write("transformer_figures.npz", arrays)


if __name__ == "__main__":
    main()
