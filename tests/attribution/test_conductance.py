"""Conductance and internal influence, against Captum's figures, numpy in float64, and integrated gradients."""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.heads import Head
from jaxviz.attribution.paths import line

STEPS = 12
FILE = Path(__file__).parents[1] / "reference" / "layer_figures.npz"
LAYERS = {"mlp": ("Dense_2", "Dense_5"), "cnn": ("Conv_1", "features")}
QUADRATURES = ("gauss_legendre", "riemann_left", "riemann_right", "riemann_middle")


@pytest.fixture(scope="module")
def theirs(reference: Any) -> Any:
    name = {2: "mlp", 3: "lstm", 4: "cnn"}[reference.figures["inputs"].ndim]
    if name == "lstm":
        pytest.skip("a network without layers in Captum")
    with np.load(FILE) as stored:
        found = {key.removeprefix(f"{name}/"): stored[key] for key in stored.files if key.startswith(f"{name}/")}
    figures = reference.figures
    settings = {"target": figures["target"], "baseline": figures["baseline"], "steps": STEPS}
    return name, reference.model, figures["inputs"], settings, found


def close(ours: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    assert np.abs(theirs).max() > 0
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def test_conductance_by_differences_is_captums(theirs):
    name, model, inputs, settings, figures = theirs
    for quadrature in QUADRATURES:
        ours = jv.conductance(
            model, inputs, layer=LAYERS[name][1], quadrature=quadrature, change="difference", **settings
        )
        close(ours, figures[f"conductance/{quadrature}/{LAYERS[name][1]}"], 2e-5)


def test_internal_influence_is_captums(theirs):
    name, model, inputs, settings, figures = theirs
    for layer in LAYERS[name]:
        close(jv.internal_influence(model, inputs, layer=layer, **settings), figures[f"internal_influence/{layer}"])


def test_neuron_conductance_is_captums(theirs):
    name, model, inputs, settings, figures = theirs
    layer, unit = LAYERS[name][0], 4 if name == "mlp" else (3, 3, 1)
    close(
        jv.neuron_conductance(model, inputs, layer=layer, unit=unit, **settings),
        figures[f"neuron conductance/{layer}"],
    )


def tanh_network(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh(jv.tag(jnp.tanh(x @ params[0]), "hidden") @ params[1])


@pytest.fixture(scope="module")
def smooth_network() -> Any:
    random = np.random.default_rng(0)
    first, second, inputs = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((3, 5), (5, 2), (4, 3)))
    return jv.Model.from_function(tanh_network, (first, second)), inputs, (first, second)


def test_conductance_against_float64(smooth_network):
    model, inputs, params = smooth_network
    first, second = (np.asarray(kernel, np.float64) for kernel in params)
    x, steps = np.asarray(inputs, np.float64), 4000
    total = np.zeros((4, 5))
    for k in range(steps):  # d score / d hidden * d hidden / d alpha, by hand
        hidden = np.tanh((k + 0.5) / steps * x @ first)
        outer = 1 - np.tanh(hidden @ second)[:, 1:2] ** 2
        total += outer * second[:, 1] * (1 - hidden**2) * (x @ first) / steps
    close(jv.conductance(model, inputs, layer="hidden", target=1), total)


def test_sums_are_the_difference_of_scores(smooth_network):
    model, inputs, _ = smooth_network
    scores = model(inputs)[:, 0] - model(jnp.full_like(inputs, 0.2))[:, 0]
    of_units = jv.conductance(model, inputs, layer="hidden", target=0, baseline=0.2)
    close(of_units.sum(axis=1), scores, 1e-4)
    chunked = jv.conductance(model, inputs, layer="hidden", target=0, baseline=0.2, chunk_size=8)
    close(chunked, of_units)
    integrated = jv.integrated_gradients(model, inputs, target=0, baseline=0.2)
    through = [
        jv.neuron_conductance(model, inputs, layer="hidden", unit=unit, target=0, baseline=0.2) for unit in range(5)
    ]
    close(sum(through), integrated)
    close(jv.neuron_conductance(model, inputs, layer="hidden", unit=slice(None), target=0, baseline=0.2), integrated)
    close(through[3].sum(axis=1), of_units[:, 3], 1e-4)
    rates = jv.neuron_conductance(model, inputs, layer="hidden", unit=2, target=0, multiply_by_inputs=False)
    close(rates * inputs, jv.neuron_conductance(model, inputs, layer="hidden", unit=2, target=0))


def test_the_path_is_followed_behind_a_convolution_that_is_computed_in_another_way():
    """One of a single channel is rewritten on CPU, and is affine all the same."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(3, (3, 3), name="first")(x))
            return nn.Dense(2)(nn.relu(nn.Conv(3, (3, 3), name="second")(x)).mean((1, 2)))

    random = np.random.default_rng(0)
    draw = lambda like: jnp.asarray(random.normal(size=like.shape), jnp.float32)
    inputs = draw(np.empty((2, 6, 6, 1)))
    model = jv.Model.from_linen(Net(), jax.tree.map(draw, jax.eval_shape(Net().init, jax.random.key(1), inputs)))
    head = Head("conductance", "second", "output")
    start, way = line.ends(head, (model,), inputs, jnp.zeros_like(inputs))
    assert {leaf.shape for leaf in (*start, *way)} == {(2, 6, 6, 3)}
    close(way[0] + start[0], model.until("first")(inputs))
    through = jv.neuron_conductance(model, inputs, layer="second", unit=(slice(None),) * 3, target=1)
    close(through, jv.integrated_gradients(model, inputs, target=1), 1e-4)


def test_units_by_a_function(smooth_network):
    model, inputs, _ = smooth_network
    settings = {"layer": "hidden", "target": 0, "steps": 8}
    each = [jv.neuron_conductance(model, inputs, unit=unit, **settings) for unit in (1, 4)]
    several = jv.neuron_conductance(model, inputs, unit=lambda hidden: hidden[:, jnp.array([1, 4])], **settings)
    close(several, each[0] + each[1])
    weighted = jv.neuron_conductance(model, inputs, unit=lambda hidden: hidden[:, 1] - 2 * hidden[:, 4], **settings)
    close(weighted, each[0] - 2 * each[1])


def pair_network(params: Any, x: jax.Array) -> jax.Array:
    one, other = jv.tag((jnp.tanh(x @ params), x**2), "pair")
    return one.sum(axis=1) + other.sum(axis=1)


def test_a_unit_of_a_layer_of_several_arrays():
    model, x = jv.Model.from_function(pair_network, jnp.ones((3, 2))), jnp.arange(6.0).reshape(2, 3)
    found = jv.neuron_conductance(model, x, layer="pair", unit=lambda pair: pair[1][:, 2], steps=4)
    close(found, jnp.array([[0.0, 0.0, 1.0]]) * x**2)
    with pytest.raises(
        ValueError, match="layer 'pair' has 2 arrays as its activation, not one; give a callable as unit"
    ):
        jv.neuron_conductance(model, x, layer="pair", unit=0)


def test_several_layers(smooth_network):
    model, inputs, _ = smooth_network
    for method in (jv.conductance, jv.internal_influence):
        found = method(model, inputs, layer=("hid*",), target=1, steps=4)
        assert list(found) == ["hidden"]
        close(found["hidden"], method(model, inputs, layer="hidden", target=1, steps=4))
        with pytest.raises(ValueError, match="layer 'hiden' not found"):
            method(model, inputs, layer=("hidden", "hiden"), target=1)


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # targets that the unit does not lead to
def test_a_second_call_traces_nothing():
    traces = []

    def network(params: Any, x: jax.Array) -> jax.Array:
        traces.append(None)
        return jv.tag(x @ params, "hidden") ** 2

    model, x = jv.Model.from_function(network, jnp.ones((3, 2))), jnp.ones((4, 3))
    calls = (
        lambda x, target: jv.conductance(model, x, layer="hidden", target=target, steps=3),
        lambda x, target: jv.internal_influence(model, x, layer="hidden", target=target, steps=3),
        lambda x, target: jv.neuron_conductance(model, x, layer="hidden", unit=0, target=target, steps=3),
    )
    for call in calls:
        call(x, 0)
        before = len(traces)
        call(x + 1, 1)
        assert len(traces) == before


def test_wrong_calls(smooth_network):
    model, inputs, _ = smooth_network
    for settings, error, message in (
        ({"layer": "hiden"}, ValueError, "conductance: layer 'hiden' not found; layers: hidden"),
        ({"layer": "hidden", "change": "none"}, ValueError, "change must be one of 'derivative', 'difference'"),
        ({"layer": "hidden", "steps": 0}, ValueError, "steps must be at least 1"),
        ({"layer": "hidden", "quadrature": "simpson"}, ValueError, "quadrature must be one of"),
        ({"layer": "hidden", "baseline": np.zeros(7)}, ValueError, "does not broadcast"),
        ({"layer": 3}, TypeError, "layer must be"),
    ):
        with pytest.raises(error, match=message):
            jv.conductance(model, inputs, target=0, **settings)
    with pytest.raises(
        ValueError,
        match=r"neuron_conductance: there is no unit\(7\) in layer .hidden., whose activation has the shape \(4, 5\)",
    ):
        jv.neuron_conductance(model, inputs, layer="hidden", unit=7, target=0)
    for unit, error, message in (
        (
            lambda hidden: hidden[:, 7, 7],
            ValueError,
            r"unit, a callable, cannot be applied to the activation, \(4, 5\)",
        ),
        (lambda hidden: hidden > 0, TypeError, "unit, a callable, must map .* units that are chosen, got bool"),
    ):
        with pytest.raises((error, IndexError), match=f"^neuron_conductance: {message}"):
            jv.neuron_conductance(model, inputs, layer="hidden", unit=unit, target=0)
    with pytest.raises(TypeError, match="neuron_conductance: inputs has dtype int32"):
        jv.neuron_conductance(model, jnp.ones((4, 3), int), layer="hidden", unit=0, target=0)
