"""Attention times gradient of encoders and decoders, by the paper's formulas in NumPy, float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

RANDOM = np.random.default_rng(0)
HEADS, SIZE = 2, 3
LAYERS = ("encoder_0", "encoder_1", "decoder_0", "cross_0", "decoder_1", "cross_1")
PARAMS = {
    name: tuple(jnp.asarray(RANDOM.normal(size=(6, HEADS, SIZE)) / 2, jnp.float32) for _ in range(3)) for name in LAYERS
}
SOURCE = jnp.asarray(RANDOM.normal(size=(2, 5, 6)), jnp.float32)
GOAL = jnp.asarray(RANDOM.normal(size=(2, 4, 6)), jnp.float32)


def attend(weights, params, queries, keys, shift=None):
    """Attention by hand: its weights go through `weights`, and a shift is added to them."""
    project = lambda matrix, tokens: jnp.einsum("btc,chs->bhts", tokens, matrix)
    query, key, value = map(project, params, (queries, keys, keys))
    made = weights(jax.nn.softmax(query @ key.mT / jnp.sqrt(jnp.float32(SIZE)), axis=-1))
    made = made if shift is None else made + shift
    return (made @ value).transpose(0, 2, 1, 3).reshape(*queries.shape)


def network(params, inputs, weights=lambda made, name: made, shifts=None):
    source, goal = inputs
    layer = lambda name, queries, keys: attend(
        functools.partial(weights, name=name), params[name], queries, keys, None if shifts is None else shifts[name]
    )
    for i in range(2):
        source = source + layer(f"encoder_{i}", source, source)
    for i in range(2):
        goal = goal + layer(f"decoder_{i}", goal, goal)
        goal = jnp.tanh(goal + layer(f"cross_{i}", goal, source))
    return goal[:, -1]


MODEL = jv.Model.from_function(network, PARAMS)


def passed_on():
    """What each layer passes on: the mean over heads of the positive part of weights times gradient."""
    kept = {}

    def keep(made, name):
        kept[name] = made
        return made

    network(PARAMS, (SOURCE, GOAL), keep)
    shifts = {name: jnp.zeros_like(made) for name, made in kept.items()}
    gradients = jax.grad(lambda shifts: network(PARAMS, (SOURCE, GOAL), shifts=shifts)[:, 1].sum())(shifts)
    product = lambda name: np.asarray(kept[name], np.float64) * np.asarray(gradients[name], np.float64)
    return {name: np.maximum(product(name), 0).mean(axis=1) for name in LAYERS}


def normalized(relevance):
    others = relevance - np.eye(relevance.shape[-1])
    return others / others.sum(axis=-1, keepdims=True) + np.eye(relevance.shape[-1])


def test_encoder_and_decoder():
    passed = passed_on()
    for example in range(2):
        layers = {name: passed[name][example] for name in LAYERS}
        ee, dd, de = np.eye(5), np.eye(4), np.zeros((4, 5))
        for i in range(2):
            ee = ee + layers[f"encoder_{i}"] @ ee
        for i in range(2):
            de = de + layers[f"decoder_{i}"] @ de
            dd = dd + layers[f"decoder_{i}"] @ dd
            de = de + normalized(dd).T @ layers[f"cross_{i}"] @ normalized(ee)
        source, goal = jv.attention_x_gradient(MODEL, (SOURCE, GOAL), target=1)
        np.testing.assert_allclose(source[example], de, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(goal[example], dd, rtol=1e-4, atol=1e-6)
        source, goal = jv.attention_x_gradient(MODEL, (SOURCE, GOAL), target=1, token=-1)
        np.testing.assert_allclose(source[example], de[-1], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(goal[example], dd[-1], rtol=1e-4, atol=1e-6)


def test_sequences_of_one_length_are_told_apart():
    source, goal = jv.attention_x_gradient(MODEL, (SOURCE, SOURCE[:, ::-1]), target=1)
    assert source.shape == goal.shape == (2, 5, 5)
    assert float(jnp.abs(goal - source).max()) > 0.1


def test_inputs_in_another_order():
    swapped = jv.Model.from_function(lambda params, inputs: network(params, inputs[::-1]), PARAMS)
    expected = jv.attention_x_gradient(MODEL, (SOURCE, GOAL), target=1)
    for one, other in zip(jv.attention_x_gradient(swapped, (GOAL, SOURCE), target=1), expected[::-1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_layers_of_the_decoder_alone():
    # Without the layers of the encoder its tokens are what they were at the start.
    passed = passed_on()
    source, _ = jv.attention_x_gradient(
        MODEL, (SOURCE, GOAL), target=1, layers=("attention_weights#2", "attention_weights#3")
    )
    dd = np.eye(4) + passed["decoder_0"][0]
    np.testing.assert_allclose(source[0], normalized(dd).T @ passed["cross_0"][0], rtol=1e-4, atol=1e-6)


def between(params, inputs):
    one, other = inputs
    step = lambda name, queries, keys: queries + attend(lambda made: made, params[name], queries, keys)
    return (step("cross_0", one, other) + step("cross_1", other, one))[:, 0]


def towers(params, inputs):
    one, other = inputs
    step = lambda name, tokens: tokens + attend(lambda made: made, params[name], tokens, tokens)
    return (step("encoder_0", one) + step("decoder_0", other))[:, 0]


@pytest.mark.parametrize(
    ("function", "message"), [(between, "are of cross-attention"), (towers, "of which none attends to the other")]
)
def test_what_is_no_encoder_and_decoder_is_an_error(function, message):
    model = jv.Model.from_function(function, PARAMS)
    with pytest.raises(ValueError, match=f"attention_x_gradient: .*{message}"):
        jv.attention_x_gradient(model, (SOURCE, SOURCE + 1), target=0)


def test_two_sequences_are_not_laid_out_as_a_grid():
    with pytest.raises(ValueError, match="upsample lays out the tokens of one sequence, but there are 2"):
        jv.attention_x_gradient(MODEL, (SOURCE, GOAL), target=0, token=0, upsample=True)
