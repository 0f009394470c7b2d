"""Makes `shap_figures.npz`: what SHAP says of two networks for tables of eight features.

    python tests/reference/shap_figures.py        # needs torch and shap; the tests need only the file

The networks are `mlp`, with every activation function that SHAP's DeepExplainer has a rule for, and `game`, smaller, for the
explainers that go through coalitions. In float64, but for GradientExplainer, which makes its points in float32. What that one
draws is in the file, so that the tests can hand it to jaxviz.
"""

import itertools
import warnings

import numpy as np
import shap
import torch
from captum_figures import weights
from files import write
from torch import nn

FEATURES, EXAMPLES, BACKGROUND = 8, 4, 6
SAMPLES, SEED = 500, 5
SELECTED = 3  # features that least-angle regression leaves to KernelExplainer's regression


def mlp():
    """Every activation function."""
    activations = (nn.Tanh, nn.ReLU, nn.Sigmoid, nn.Softplus, nn.ELU, lambda: nn.LeakyReLU(0.1), nn.SELU, nn.GELU)
    sizes = (FEATURES, *(12,) * len(activations))
    layers = [
        part
        for pair, activation in zip(itertools.pairwise(sizes), activations, strict=True)
        for part in (nn.Linear(*pair), activation())
    ]
    return nn.Sequential(*layers, nn.Linear(12, 3))


def game():
    """Two hidden layers."""
    return nn.Sequential(nn.Linear(FEATURES, 16), nn.Tanh(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


def deep(model, inputs, background):
    """DeepExplainer's values of each output: `(examples, features, outputs)`."""
    return shap.DeepExplainer(model, background).shap_values(inputs, check_additivity=True)


def coalitions(model, inputs, background):
    """What the explainers for any function say, `(examples, features, outputs)`, for a background of one row or more."""
    function = lambda rows: model(torch.tensor(rows)).detach().numpy()
    rows = background.numpy()
    evaluations = 100 * (2 * FEATURES + 1)
    masker = shap.maskers.Independent(rows, max_samples=len(rows))
    found = {"exact": shap.ExactExplainer(function, masker)(inputs.numpy()).values}
    kernel = shap.KernelExplainer(function, rows)
    found["kernel"] = kernel.shap_values(inputs.numpy(), nsamples=2**FEATURES, l1_reg=0, silent=True)
    found["kernel/sampled"] = kernel.shap_values(inputs.numpy(), nsamples=100, l1_reg=0, silent=True)
    selected = kernel.shap_values(inputs.numpy(), nsamples=2**FEATURES, l1_reg=f"num_features({SELECTED})", silent=True)
    found["kernel/selected"] = selected
    found["permutation"] = shap.PermutationExplainer(function, masker, seed=0)(
        inputs.numpy(), max_evals=evaluations, silent=True
    ).values
    return found


def gradients(model, inputs, background):
    """GradientExplainer's values, and what it draws: `(examples, samples)`, the same for each output."""
    values = shap.GradientExplainer(model, background).shap_values(inputs, nsamples=SAMPLES, rseed=SEED)
    np.random.seed(SEED)  # noqa: NPY002 (SHAP draws from it)
    drawn = [
        (np.random.choice(len(background)), np.random.uniform())  # noqa: NPY002
        for _ in range(len(inputs) * SAMPLES)
    ]
    chosen, places = (np.array(part).reshape(len(inputs), SAMPLES) for part in zip(*drawn, strict=True))
    return {"gradient": values, "gradient/chosen": chosen.astype(np.int8), "gradient/places": np.float32(places)}


def main():
    """Writes the file."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    warnings.filterwarnings("ignore", message="unrecognized nn.Module")
    arrays = {"versions": np.array(f"torch {torch.__version__}, shap {shap.__version__}")}
    for name, model in (("mlp", mlp()), ("game", game())):
        for module in model:
            if isinstance(module, nn.Linear):
                module.weight.data.mul_(2)  # the default weights are so small that deep layers hardly answer
        inputs, background = torch.randn(EXAMPLES, FEATURES), torch.randn(BACKGROUND, FEATURES)
        found = {"inputs": inputs.numpy(), "background": background.numpy()}
        found |= {f"weights/{key}": value for key, value in weights(model).items()}
        found |= gradients(model, inputs, background) if name == "game" else {}
        model, inputs, background = model.double(), inputs.double(), background.double()
        found["outputs"] = model(inputs).detach().numpy()
        found["deep"] = deep(model, inputs, background)
        if name == "game":
            found |= {f"{key}/one": value for key, value in coalitions(model, inputs, background[:1]).items()}
            found |= {f"{key}/all": value for key, value in coalitions(model, inputs, background).items()}
        arrays |= {f"{name}/{key}": value for key, value in found.items()}
    write("shap_figures.npz", arrays)


if __name__ == "__main__":
    main()
