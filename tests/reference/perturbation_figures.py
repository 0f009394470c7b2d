"""Makes `perturbation_figures.npz`: what Captum's perturbation methods say of the networks of `captum_figures.npz`.

    python tests/reference/perturbation_figures.py   # needs torch, captum and scikit-learn; the tests need only the file

Weights, inputs, baselines and targets are those of that file. What Captum draws at random is drawn here and handed to it, so
that the tests can hand it to jaxviz, too.
"""

import warnings
from pathlib import Path

import captum
import numpy as np
import sklearn
import torch
from captum._utils.models.linear_model import SkLearnLasso, SkLearnRidge
from captum.attr import FeatureAblation, KernelShap, Lime, Occlusion, ShapleyValues, ShapleyValueSampling
from captum.attr._core.lime import get_exp_kernel_similarity_function
from captum_figures import Cnn, Lstm, Mlp, last
from files import write

MASKS = {
    "mlp": torch.tensor([[0, 1, 1, 2, 3, 4]]),
    "cnn": (torch.arange(12)[:, None] // 6 * 3 + torch.arange(12) // 4)[None, None],  # six tiles
    "lstm": torch.tensor([0, 0, 1, 1, 2, 2, 3])[None, :, None],
}
WINDOWS = {
    "mlp": {"plain": ((3,), (3,)), "overlapping": ((3,), (2,))},
    "cnn": {
        "plain": ((2, 4, 4), (2, 4, 4)),
        "overlapping": ((2, 5, 5), (2, 3, 3)),
        "channelwise": ((1, 5, 4), (1, 2, 3)),
    },
    "lstm": {"plain": ((2, 3), (2, 3)), "overlapping": ((4, 2), (2, 1))},
}
SAMPLES = 60


def network(name, arrays):
    """A network with the weights of `captum_figures.npz`."""
    model = {"mlp": Mlp, "cnn": Cnn, "lstm": Lstm}[name]()
    state = {}
    for key, value in model.state_dict().items():
        array = arrays[f"{name}/weights/{key}"]
        array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T if array.ndim == 2 else array
        state[key] = torch.from_numpy(np.array(array, order="C")).to(value.dtype)
    model.load_state_dict(state)
    return model.eval()


def lime(model, rows, surrogate, distance, width, **arguments):
    """Captum's LIME on given coalitions."""

    def draw(original, **_):
        yield from rows[:, None]

    kernel = get_exp_kernel_similarity_function(distance, width)
    method = Lime(model, interpretable_model=surrogate, similarity_func=kernel, perturb_func=draw)
    return method.attribute(n_samples=len(rows), perturbations_per_eval=10, **arguments)


def figures(name, model, inputs, baseline, target):
    """What Captum says."""
    mask = MASKS[name]
    groups = int(mask.max()) + 1
    common = {"inputs": inputs, "baselines": baseline, "target": target}
    masked = {**common, "feature_mask": mask}
    found = {"outputs": model(inputs)}
    found["feature_ablation"] = FeatureAblation(model).attribute(**common, perturbations_per_eval=10)
    found["feature_ablation/mask"] = FeatureAblation(model).attribute(**masked)
    for kind, (window, stride) in WINDOWS[name].items():
        found[f"occlusion/{kind}"] = Occlusion(model).attribute(**common, sliding_window_shapes=window, strides=stride)
    found["shapley_values"] = ShapleyValues(model).attribute(**masked, perturbations_per_eval=10)
    orders = [torch.randperm(groups).tolist() for _ in range(7)]
    sampling = ShapleyValueSampling(model)
    sampling.permutation_generator = lambda features, samples: iter(orders)
    found["shapley_sampling"] = sampling.attribute(**masked, n_samples=len(orders))
    found["orders"] = torch.tensor(orders)
    rows = torch.bernoulli(torch.full((SAMPLES, groups), 0.5)).long()
    found["coalitions"] = rows
    found["lime/lasso"] = lime(
        model, rows, SkLearnLasso(alpha=0.001, tol=1e-7, max_iter=100000), "cosine", 1.0, **masked
    )
    found["lime/ridge"] = lime(model, rows, SkLearnRidge(alpha=1.0), "euclidean", 4.0, **masked)
    if name == "mlp":
        found["kernel_shap"] = KernelShap(model).attribute(**masked, n_samples=3000, perturbations_per_eval=100)
    channels = {key: last(value) if value.ndim == 4 else value.detach().numpy() for key, value in found.items()}
    return {**channels, "mask": last(mask)[0] if mask.ndim == 4 else mask.numpy()[0]}


def main():
    """Writes the file."""
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", message="You are providing multiple inputs")
    versions = f"torch {torch.__version__}, captum {captum.__version__}, scikit-learn {sklearn.__version__}"
    arrays = {"versions": np.array(versions)}
    with np.load(Path(__file__).with_name("captum_figures.npz")) as stored:
        for name in MASKS:
            inputs, baseline = (stored[f"{name}/{key}"] for key in ("inputs", "baseline"))
            if inputs.ndim == 4:
                inputs, baseline = np.moveaxis(inputs, -1, 1), np.moveaxis(baseline, -1, 1)
            given = (
                torch.tensor(np.ascontiguousarray(array)) for array in (inputs, baseline, stored[f"{name}/target"])
            )
            found = figures(name, network(name, stored), *given)
            assert np.abs(found["outputs"] - stored[f"{name}/outputs"]).max() < 1e-5
            del found["outputs"]
            assert all(np.abs(found[key]).max() > 0 for key in found), "a figure of zeros tells nothing"
            arrays |= {f"{name}/{key}": value for key, value in found.items()}
    write("perturbation_figures.npz", arrays)


if __name__ == "__main__":
    main()
