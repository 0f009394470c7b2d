"""Makes `layer_figures.npz`: what Captum's layer and neuron forms say of the networks of `captum_figures`.

    python tests/reference/layer_figures.py        # needs torch and captum; the tests need only the file

Weights, inputs, baselines and targets are those in `captum_figures.npz`.
"""

from pathlib import Path

import captum
import numpy as np
import torch
from captum.attr import (
    InternalInfluence,
    LayerConductance,
    LayerFeatureAblation,
    LayerGradientXActivation,
    LayerIntegratedGradients,
    NeuronConductance,
    NeuronGradient,
    NeuronIntegratedGradients,
)
from captum_figures import QUADRATURES, STEPS, Cnn, Mlp, last
from files import write

# Per network: the layers by their names there and in Flax, and one neuron of the first that is on, channels first.
LAYERS = {
    "mlp": ({"layers.2": "Dense_2", "layers.5": "Dense_5"}, (4,)),
    "cnn": ({"convs.1": "Conv_1", "features": "features"}, (1, 3, 3)),
}


def load(model, name, stored):
    """The model with the weights that the file has, in the form that `weights` of `captum_figures` gave them."""
    state = model.state_dict()
    for key in state:
        if f"{name}/weights/{key}" in stored:
            array = stored[f"{name}/weights/{key}"]
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T if array.ndim == 2 else array
            state[key] = torch.from_numpy(array.copy())
    model.load_state_dict(state)
    return model.eval()


def first(array):
    """Channels first, as torch."""
    return torch.from_numpy(np.moveaxis(array, -1, 1).copy() if array.ndim == 4 else array.copy())


def figures(model, name, inputs, baseline, target):
    """What Captum says."""
    layers, neuron = LAYERS[name]
    found = {}
    settings = {"baselines": baseline, "target": target, "n_steps": STEPS}
    for module_name, path in layers.items():
        layer = model.get_submodule(module_name)
        for ours, theirs in QUADRATURES.items():
            found[f"conductance/{ours}/{path}"] = LayerConductance(model, layer).attribute(
                inputs, method=theirs, **settings
            )
        found[f"internal_influence/{path}"] = InternalInfluence(model, layer).attribute(inputs, **settings)
        found[f"integrated_gradients/{path}"] = LayerIntegratedGradients(model, layer).attribute(inputs, **settings)
        found[f"input_x_gradient/{path}"] = LayerGradientXActivation(model, layer).attribute(inputs, target=target)
        found[f"feature_ablation/{path}"] = LayerFeatureAblation(model, layer).attribute(inputs, target=target)
        found[f"input side/{path}"] = LayerGradientXActivation(model, layer).attribute(
            inputs, target=target, attribute_to_layer_input=True
        )
    module_name, path = next(iter(layers.items()))
    layer = model.get_submodule(module_name)
    found[f"neuron gradient/{path}"] = NeuronGradient(model, layer).attribute(inputs, neuron)
    found[f"neuron integrated_gradients/{path}"] = NeuronIntegratedGradients(model, layer).attribute(
        inputs, neuron, baselines=baseline, n_steps=STEPS
    )
    found[f"neuron conductance/{path}"] = NeuronConductance(model, layer).attribute(
        inputs, neuron, method="gausslegendre", **settings
    )
    return found


def main():
    """Writes the file."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (Captum draws from it)
    here = Path(__file__)
    arrays = {"versions": np.array(f"torch {torch.__version__}, captum {captum.__version__}")}
    with np.load(here.with_name("captum_figures.npz")) as stored:
        for name, model in (("mlp", Mlp()), ("cnn", Cnn())):
            model = load(model, name, stored)
            inputs, baseline = first(stored[f"{name}/inputs"]), first(stored[f"{name}/baseline"])
            found = figures(model, name, inputs, baseline, torch.from_numpy(stored[f"{name}/target"]))
            assert np.allclose(last(model(inputs)), stored[f"{name}/outputs"], atol=1e-6)
            arrays |= {f"{name}/{key}": last(value) for key, value in found.items()}
    write("layer_figures.npz", arrays)


if __name__ == "__main__":
    main()
