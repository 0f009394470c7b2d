"""Makes `captum_option_figures.npz`: what Captum says with the options that the other scripts leave at their defaults.

    python tests/reference/captum_option_figures.py   # needs torch, captum and scikit-learn; the tests need only the file

Weights, inputs, baselines and targets are those of `captum_figures.npz` and, for DeepLIFT, `deeplift_figures.npz`. What LIME
draws is drawn here, so that the tests can hand it to jaxviz, too.
"""

from pathlib import Path

import captum
import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnLinearRegression
from captum.attr import (
    DataLoaderAttribution,
    DeepLift,
    DeepLiftShap,
    FeatureAblation,
    FeaturePermutation,
    GuidedGradCam,
    LayerDeepLift,
    LayerGradCam,
    LimeBase,
    NeuronConductance,
    ShapleyValues,
)
from captum_figures import STEPS, Cnn, last
from deeplift_figures import mlp
from files import write
from layer_figures import first, load

SAMPLES = 30


def shifted(x, mask):
    """The values of the example before."""
    return torch.where(mask, x.roll(1, 0), x)


def squared(multipliers, inputs, baselines):
    """An attribution that is no product."""
    return tuple(m * (x - b) ** 2 for m, x, b in zip(multipliers, inputs, baselines, strict=True))


def lime(model, inputs, target, rows, **transforms):
    """Captum's `LimeBase` on given samples, example by example."""

    def draw(original, **_):
        for row in rows:
            yield row[None] if transforms["from_interp_rep_transform"] else original + row[None]

    def nearness(original, sample, _, **__):
        return torch.exp(-((original - sample) ** 2).mean())

    method = LimeBase(
        model,
        SkLearnLinearRegression(),
        nearness,
        draw,
        perturb_interpretable_space=transforms["from_interp_rep_transform"] is not None,
        **transforms,
    )
    one = lambda i: method.attribute(inputs[i : i + 1], target=int(target[i]), n_samples=len(rows))
    return torch.cat([one(i) for i in range(len(inputs))])


def figures(model, inputs, baseline, target):
    """What Captum says of the network with convolutions."""
    tiles = (torch.arange(12)[:, None] // 6 * 2 + torch.arange(12) // 6)[None, None]
    amounts, noise = torch.rand(SAMPLES, 2), 0.5 * torch.randn(SAMPLES, *inputs.shape[1:])
    scaled = lambda row, original, **_: original * row[0][None, :, None, None]
    means = lambda sample, original, **_: sample.mean((2, 3))
    return {
        "amounts": amounts,
        "noise": noise,
        "lime/to_inputs": lime(
            model, inputs, target, amounts, from_interp_rep_transform=scaled, to_interp_rep_transform=None
        ),
        "lime/to_features": lime(
            model, inputs, target, noise, from_interp_rep_transform=None, to_interp_rep_transform=means
        ),
        "feature_permutation": FeaturePermutation(model, shifted).attribute(inputs, target=target, feature_mask=tiles),
        "guided_grad_cam/nearest": GuidedGradCam(model, model.features).attribute(inputs, target=target),
        "grad_cam/channels": LayerGradCam(model, model.features).attribute(
            inputs, target=target, attr_dim_summation=False
        ),
        "neuron_conductance": NeuronConductance(model, model.convs[1]).attribute(
            inputs,
            lambda outputs: outputs[:, 1, 3, 3],
            baselines=baseline,
            target=target,
            n_steps=STEPS,
            method="gausslegendre",
        ),
    }


def figures_of_all_examples(model, inputs):
    """What Captum says of one number for all examples together, and of an error over a data loader."""
    tiles = (torch.arange(12)[:, None] // 6 * 2 + torch.arange(12) // 6)[None, None]
    spread = lambda x: model(x)[:, 0].std(correction=0)
    answers = torch.linspace(-1, 1, len(inputs))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, answers), batch_size=2)

    def gather(before, outputs, batch):
        misses = outputs[:, 0] - batch[1]
        return misses if before is None else torch.cat([before, misses])

    return {
        "all/feature_ablation": FeatureAblation(spread).attribute(inputs, baselines=0.1, feature_mask=tiles),
        "all/shapley_values": ShapleyValues(spread).attribute(inputs, baselines=0.1, feature_mask=tiles),
        "all/feature_permutation": FeaturePermutation(spread, shifted).attribute(inputs, feature_mask=tiles),
        "all/loader": DataLoaderAttribution(FeatureAblation(model)).attribute(
            loader,
            input_roles=(0, 2),  # the inputs are explained, the answers are for the error alone
            baselines=0.1,
            feature_mask=tiles,
            reduce=gather,
            to_metric=lambda misses: misses.square().mean().sqrt()[None],
        )[0],
    }


def deeplift_figures(stored):
    """What Captum says with an own way from multipliers to attributions; in double precision."""
    model = load(mlp(), "mlp", stored).double()
    arrays = {name: torch.from_numpy(stored[f"mlp/{name}"]) for name in ("inputs", "baseline", "baselines", "target")}
    inputs, baseline, baselines = (arrays[name].double() for name in ("inputs", "baseline", "baselines"))
    settings = {"target": arrays["target"], "custom_attribution_func": squared}
    return {
        "deeplift": DeepLift(model).attribute(inputs, baseline, **settings),
        "deep_shap": DeepLiftShap(model).attribute(inputs, baselines, **settings),
        "layer deeplift": LayerDeepLift(model, model[0]).attribute(inputs, baseline, **settings),
    }


def main():
    """Writes the file."""
    torch.manual_seed(0)
    here = Path(__file__)
    with np.load(here.with_name("captum_figures.npz")) as stored:
        model = load(Cnn(), "cnn", stored)
        inputs, baseline = first(stored["cnn/inputs"]), first(stored["cnn/baseline"])
        found = figures(model, inputs, baseline, torch.from_numpy(stored["cnn/target"]))
        found |= figures_of_all_examples(model, inputs)
    with np.load(here.with_name("deeplift_figures.npz")) as stored:
        found |= deeplift_figures(stored)
    zeros = [name for name, value in found.items() if not value.abs().max() > 0]
    assert not zeros, f"figures of zeros tell nothing: {zeros}"
    arrays = {key: last(value) for key, value in found.items()}
    arrays["versions"] = np.array(f"torch {torch.__version__}, captum {captum.__version__}")
    write("captum_option_figures.npz", arrays)


if __name__ == "__main__":
    main()
