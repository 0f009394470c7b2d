"""Layer forms and neuron forms, against Captum's figures and against what is cut by hand."""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

STEPS = 12
FILE = Path(__file__).parents[1] / "reference" / "layer_figures.npz"
LAYERS = {"mlp": ("Dense_2", "Dense_5"), "cnn": ("Conv_1", "features")}
NEURONS = {"mlp": (4, jv.unit(4)), "cnn": (None, jv.unit(3, 3, 1))}


@pytest.fixture(scope="module")
def theirs(reference: Any) -> Any:
    name = {2: "mlp", 3: "lstm", 4: "cnn"}[reference.figures["inputs"].ndim]
    if name == "lstm":
        pytest.skip("a network without layers in Captum")
    with np.load(FILE) as stored:
        found = {key.removeprefix(f"{name}/"): stored[key] for key in stored.files if key.startswith(f"{name}/")}
    figures = reference.figures
    return name, reference.model, figures["inputs"], figures["baseline"], figures["target"], found


def close(ours: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def test_layer_forms_are_captums(theirs):
    name, model, inputs, baseline, target, figures = theirs
    for layer in LAYERS[name]:
        at = jv.at_layer(jv.integrated_gradients, layer)
        close(
            at(model, inputs, target=target, baseline=baseline, steps=STEPS), figures[f"integrated_gradients/{layer}"]
        )
        close(
            jv.at_layer(jv.input_x_gradient, layer)(model, inputs, target=target), figures[f"input_x_gradient/{layer}"]
        )
        # What enters Conv_1 also goes past it: Captum counts both ways, here it is what the layer does with it.
        if layer != "Conv_1":
            at = jv.at_layer(jv.input_x_gradient, layer, side="output" if layer == "features" else "input")
            close(at(model, inputs, target=target), figures[f"input side/{layer}"])
    at = jv.at_layer(jv.feature_ablation, layer)
    close(at(model, inputs, target=target, layer_baseline=0), figures[f"feature_ablation/{layer}"])
    if name == "cnn":  # what follows has no modules, so that Captum takes its gradient: no figure to compare with
        explained = jv.at_layer(jv.deeplift, "features")(model, inputs, target=target, baseline=baseline)
        rows = np.arange(len(target))
        close(explained.sum((1, 2, 3)), model(inputs)[rows, target] - model(baseline)[rows, target])


def test_neuron_forms_are_captums(theirs):
    name, model, inputs, baseline, _, figures = theirs
    layer = LAYERS[name][0]
    for neuron in NEURONS[name]:
        if neuron is None:
            continue
        close(jv.gradient(model.until(layer), inputs, target=neuron), figures[f"neuron gradient/{layer}"])
        attribution = jv.integrated_gradients(model.until(layer), inputs, target=neuron, baseline=baseline, steps=STEPS)
        close(attribution, figures[f"neuron integrated_gradients/{layer}"])


TRACES = 0


class Sentences(nn.Module):
    """Tokens and positions, a recurrence inside a scan, a residual connection."""

    @nn.compact
    def __call__(self, tokens):
        global TRACES
        TRACES += 1
        places = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None], tokens.shape)
        x = nn.Embed(10, 4, name="tokens")(tokens) + nn.Embed(5, 4, name="places")(places)
        jv.tag(x.mean(axis=0), "mean")
        x = nn.RNN(nn.LSTMCell(4, name="cell"), name="recurrence")(x)
        x = x + nn.Dense(4, name="dense")(nn.tanh(x))
        return nn.Dense(3)(x.mean(1))


TOKENS = jnp.array(
    [[1, 5, 3], [2, 9, 4], [7, 7, 1]]
)  # as many sentences as steps: the batch is not the axis of that size


@pytest.fixture(scope="module")
def sentences() -> jv.Model:
    return jv.Model.from_linen(Sentences(), Sentences().init(jax.random.key(0), TOKENS))


def test_token_ids_with_a_token_as_the_baseline(sentences):
    attribution = jv.at_layer(jv.integrated_gradients, "tokens")(sentences, TOKENS, target=1, baseline=2)
    scores = sentences(TOKENS)[:, 1] - sentences(jnp.full_like(TOKENS, 2))[:, 1]
    close(attribution.sum((1, 2)), scores, 1e-3)
    tail, embedded = sentences.since("tokens", TOKENS)
    table = sentences.params["params"]["tokens"]["embedding"]
    close(attribution, jv.integrated_gradients(tail, embedded, target=1, baseline=table[2]))


def test_a_set_of_baselines_of_the_inputs(sentences):
    points = np.array([[0, 0, 0], [1, 2, 3], [4, 5, 6], [1, 1, 1]])
    attribution = jv.at_layer(jv.deep_shap, "tokens")(sentences, TOKENS, target=1, baselines=points)
    close(attribution.sum((1, 2)), sentences(TOKENS)[:, 1] - sentences(points)[:, 1].mean(), 1e-4)


def test_several_layers_are_one_explanation(sentences):
    method = jv.at_layer(jv.integrated_gradients, ("places", "tokens"))
    moved = jnp.ones((3, 4))
    both = method(sentences, TOKENS, target=0, layer_baseline=(0.0, moved))
    assert list(both) == ["tokens", "places"]  # in the order of execution
    tokens, places = (sentences.capture(TOKENS)[path] for path in both)
    tail = sentences.replace({"tokens": jnp.zeros_like(tokens), "places": jnp.broadcast_to(moved, places.shape)})
    total = sum(leaf.sum((1, 2)) for leaf in both.values())
    close(total, sentences(TOKENS)[:, 0] - tail(TOKENS)[:, 0], 1e-3)


class Placed(nn.Module):
    """Tokens and positions; `places` has the positions of each example, or those that all examples share."""

    places: str = "each"

    @nn.compact
    def __call__(self, tokens):
        numbers = jnp.arange(tokens.shape[1])
        numbers = {"each": jnp.broadcast_to(numbers[None], tokens.shape), "one": numbers[None], "bare": numbers}
        x = nn.Embed(5, 4, name="places")(numbers[self.places])
        x = jv.tag(nn.Embed(10, 4, name="tokens")(tokens) + (x[None] if x.ndim == 2 else x), "sum")
        x = x + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(x))
        return nn.Dense(3)(nn.relu(nn.Dense(6)(x)).mean(1))


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # positions are those of the baseline
@pytest.mark.parametrize("places", ["one", "bare"])
def test_an_activation_that_all_examples_share(places):
    params = Placed().init(jax.random.key(0), TOKENS)
    model, each = (jv.Model.from_linen(Placed(how), params) for how in (places, "each"))
    classes = np.array([2, 0, 1])
    baselines = np.array([[0, 0, 0], [1, 2, 3]])
    calls: list[tuple] = [
        (jv.integrated_gradients, {"layer_baseline": 0.0}),
        (jv.deeplift, {"layer_baseline": (0.5, 0.0)}),
        (jv.deep_shap, {"baselines": baselines}),
        (jv.lrp, {}),
        (jv.feature_ablation, {"layer_baseline": 0.0}),
    ]
    for method, settings in calls:
        explain = jv.at_layer(method, ("tokens", "places"))
        for rows in (slice(None), slice(1)):
            found = explain(model, TOKENS[rows], target=classes[rows], **settings)
            assert {path: leaf.shape for path, leaf in found.items()} == dict.fromkeys(
                ("places", "tokens"), (*TOKENS[rows].shape, 4)
            )
            expected = explain(each, TOKENS[rows], target=classes[rows], **settings)
            for path, leaf in expected.items():
                close(found[path], leaf, 1e-5)
    # Each example's positions add to its own sum: the derivative by them is that by the sum.
    slopes = jv.at_layer(jv.gradient, "places")(model, TOKENS, target=classes)
    close(slopes, jv.at_layer(jv.gradient, "sum")(model, TOKENS, target=classes))
    assert np.abs(np.asarray(slopes[0] - slopes[1])).max() > 0.01


def test_what_all_examples_share_in_a_model_for_one_batch():
    params = Placed("one").init(jax.random.key(0), TOKENS)
    mask = jnp.ones((2, 3, 1)).at[0, 1].set(0.0)

    def network(params, tokens):
        params, mask = params
        return (Placed("one").apply(params, tokens)[:, None] * mask).sum((1, 2))

    model = jv.Model.from_function(network, (params, mask))
    with pytest.raises(
        ValueError, match=r"layer 'places' has .* of 2; the model holds .*: explain one example at a time"
    ):
        jv.at_layer(jv.gradient, ("tokens", "places"))(model, TOKENS[:2])
    alone = model.with_params((params, mask[:1]))
    found = jv.at_layer(jv.gradient, ("tokens", "places"))(alone, TOKENS[:1])
    close(found["places"], found["tokens"])


def test_one_layer_after_the_other(sentences):
    with pytest.raises(ValueError, match=r"'dense' is computed from layer 'tokens'.*jointly=False"):
        jv.at_layer(jv.gradient, ("tokens", "dense"))(sentences, TOKENS, target=0)
    each = jv.at_layer(jv.gradient, ("tokens", "dense"), jointly=False)(sentences, TOKENS, target=0)
    for path, attribution in each.items():
        tail, activation = sentences.since(path, TOKENS)
        close(attribution, jv.gradient(tail, activation, target=0))


def test_layers_of_several_arrays_in_a_scan(sentences):
    attribution = jv.at_layer(jv.input_x_gradient, "cell")(sentences, TOKENS, target=2)
    activation = sentences.capture(TOKENS)["cell"]  # ((cell, hidden), output), the steps first
    assert jax.tree.structure(attribution) == jax.tree.structure(activation)
    gradient = jax.grad(lambda value: sentences.replace({"cell": value})(TOKENS)[:, 2].sum())(activation)
    for ours, value, slope in zip(*map(jax.tree.leaves, (attribution, activation, gradient)), strict=True):
        close(ours, value * slope)
    ablated = jv.at_layer(jv.feature_ablation, "recurrence", side="input")(sentences, TOKENS, target=2)
    assert ablated.shape == (3, 3, 4)


def test_a_neuron_of_a_layer_in_a_scan(sentences):
    tail, embedded = sentences.since("tokens", TOKENS[:2])
    outputs = tail.until("cell")  # ((cell, hidden), output), the steps first: (3, 2, 4)
    neuron = lambda outputs: outputs[1][1, :, 2]
    slope = jv.gradient(outputs, embedded, target=neuron)
    assert np.abs(slope).sum((1, 2)).min() > 0
    assert np.abs(slope[:, 2]).max() == 0  # the step after
    with pytest.raises(ValueError, match=r"one score per example, an array of shape \(batch,\) = \(2,\)"):
        jv.gradient(outputs, embedded, target=lambda outputs: outputs[1][:, 0, 2])


class Masked(nn.Module):
    """A mask for each example, behind the embedding."""

    @nn.compact
    def __call__(self, tokens, mask):
        x = nn.Embed(10, 4, name="tokens")(tokens)
        x = nn.Dense(4, name="masked")(x * mask[..., None])
        return nn.Dense(3)(nn.tanh(x).mean(1))


def test_a_set_of_baselines_of_a_model_with_a_mask_for_each_example():
    mask = jnp.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    points = np.array([[0, 0, 0], [1, 2, 3], [4, 5, 6]])  # as many as examples: theirs are not their masks
    variables = Masked().init(jax.random.key(0), TOKENS, mask=mask)
    model = jv.Model.from_linen(Masked(), variables, mask=mask)
    found = jv.at_layer(jv.deep_shap, "tokens")(model, TOKENS, target=1, baselines=points)
    for i in range(3):
        alone = jv.Model.from_linen(Masked(), variables, mask=mask[i : i + 1])
        close(
            found[i : i + 1], jv.at_layer(jv.deep_shap, "tokens")(alone, TOKENS[i : i + 1], target=1, baselines=points)
        )
    with pytest.raises(ValueError, match="on which the activation of 'masked' at a baseline depends"):
        jv.at_layer(jv.deep_shap, "masked")(model, TOKENS, target=1, baselines=points)


def test_around_and_inside_of_smoothing(sentences):
    key = jax.random.key(3)
    inside = jv.at_layer(jv.smooth(jv.integrated_gradients, samples=2), "dense")
    assert inside(sentences, TOKENS, target=0, key=key, baseline=1, steps=4).shape == (3, 3, 4)
    model = jv.Model.from_function(lambda params, x: jnp.tanh(jv.tag(x @ params, "wide")), jnp.ones((2, 3)))
    around = jv.smooth(jv.at_layer(jv.integrated_gradients, "wide"), samples=2)
    assert around(model, jnp.ones((4, 2)), target=0, key=key, steps=4, chunk_size=3).shape == (4, 3)


def test_a_layer_form_made_again_is_the_same_program(sentences):
    call = lambda tokens: jv.at_layer(jv.integrated_gradients, "dense")(
        sentences, tokens, target=0, baseline=1, steps=4
    )
    call(TOKENS)
    before = TRACES
    call((TOKENS + 1) % 10)
    assert before == TRACES


def test_methods_with_a_layer_of_their_own():
    model = jv.Model.from_function(lambda params, x: jax.nn.relu(jv.tag(x @ params, "wide")), jnp.ones((2, 3)))
    x = jnp.array([[1.0, 2.0]])
    close(jv.at_layer(jv.lrp, "wide")(model, x, target=1), jv.lrp(model, x, target=1, layer="wide"))
    with pytest.raises(TypeError, match="grad_cam explains a layer by itself"):
        jv.at_layer(jv.grad_cam, "wide")
    with pytest.raises(
        TypeError, match=r"the method gave RelevanceReport, which is no attribution of the layer; .*model.since"
    ):
        jv.at_layer(jv.relevance_report, "wide")(model, x, target=1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((jv.gradient, 3), TypeError, "layer must be the path of a layer, or a tuple of paths, got 3"),
        ((jv.gradient, ()), TypeError, "layer must be the path"),
        (("gradient", "dense"), TypeError, "method must be an attribution method"),
        ((jv.gradient, "dense", "inside"), ValueError, "side must be one of 'output', 'input'"),
    ],
)
def test_wrong_settings(arguments, error, message):
    with pytest.raises(error, match=f"at_layer: {message}"):
        jv.at_layer(*arguments)


@pytest.mark.parametrize(
    ("layer", "settings", "error", "message"),
    [
        ("dence", {}, ValueError, "'dence' not found; .*dense"),
        (("dense", "dence"), {}, ValueError, "'dence' not found"),
        (
            "mean",
            {},
            ValueError,
            r"'mean' has an activation of shape \(3, 4\), none of whose axes is the batch of 3; choose a layer that has",
        ),
        ("dense", {"baseline": 0.5}, TypeError, "baseline must be integers"),
        (
            "dense",
            {"baseline": 0, "layer_baseline": 0.0},
            TypeError,
            "layer_baseline cannot be used: baseline is given",
        ),
        ("dense", {"target": 7}, ValueError, "target 7 is out of range"),
    ],
)
def test_wrong_calls(sentences, layer, settings, error, message):
    with pytest.raises(error, match=message):
        jv.at_layer(jv.integrated_gradients, layer)(sentences, TOKENS, **{"target": 0, **settings})
    with pytest.raises(TypeError, match="the method has no baseline"):
        jv.at_layer(jv.gradient, "dense")(sentences, TOKENS, target=0, layer_baseline=0)


def test_units():
    outputs = jnp.arange(24.0).reshape(2, 3, 4)
    assert jv.unit(1, 2)(outputs).tolist() == [6.0, 18.0]
    assert jv.unit(slice(0, 2), -1)(outputs).tolist() == [3.0 + 7.0, 15.0 + 19.0]
    assert jv.unit(..., 0, reduce="mean")(outputs).tolist() == [4.0, 16.0]
    assert jv.unit(2, reduce="max")(outputs).tolist() == [11.0, 23.0]
    assert jv.unit(slice(1, 3)) == jv.unit(slice(1, 3)) != jv.unit(1)
    assert len({jv.unit(slice(1, 3)), jv.unit(slice(1, 3))}) == 1
    assert repr(jv.unit(1, slice(2, None), ...)) == "unit(1, 2::, ...)"
    for index, error, message in (
        ((), ValueError, "give an index"),
        ((1.5,), TypeError, "an int, a slice or ..."),
        ((True,), TypeError, "an int"),
    ):
        with pytest.raises(error, match=message):
            jv.unit(*index)
    for index in ((3,), (0, 4), (0, 0, 0), (..., 4), (slice(5, 6),)):
        with pytest.raises(ValueError, match=r"there is no unit unit\(.*\) in outputs of shape \(2, 3, 4\)"):
            jv.unit(*index)(outputs)
    with pytest.raises(ValueError, match="not one array"):
        jv.unit(0)((outputs, outputs))
