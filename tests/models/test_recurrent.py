"""The recurrent classifier."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz.models import RecurrentClassifier

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 6, 4)).astype(np.float32)
LENGTHS = np.array([6, 4, 1], np.int32)
CELLS = ["simple", "lstm", "gru"]


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(("cell", "summary"), [("simple", "last"), ("lstm", "mean"), ("gru", "last")])
def test_padding_does_not_change_the_answer(cell, summary):
    module = RecurrentClassifier(2, cell=cell, features=5, layers=2, bidirectional=True, summary=summary)
    variables = jax.jit(module.init)(KEY, X)
    apply = jax.jit(module.apply)
    # The padding is as bad as can be: it must not be read.
    padded = np.where(np.arange(6)[None, :, None] < LENGTHS[:, None, None], X, 1e6).astype(np.float32)
    outputs = apply(variables, padded, LENGTHS)
    short = LENGTHS[1]
    alone = apply(variables, X[1:2, :short])[0]
    np.testing.assert_allclose(outputs[1], alone, atol=1e-6)
    np.testing.assert_allclose(outputs[0], apply(variables, X, np.full(3, 6, np.int32))[0], atol=1e-6)
    mask = np.arange(6) < LENGTHS[:, None]
    np.testing.assert_allclose(apply(variables, padded, mask), outputs, atol=1e-6)
    left = apply(variables, padded[:, ::-1], mask[:, ::-1])  # padded at the start
    np.testing.assert_allclose(left[1], apply(variables, X[1:2, :short][:, ::-1])[0], atol=1e-6)


def test_full_lengths_equal_none():
    module = RecurrentClassifier(2, features=5)
    variables = jax.jit(module.init)(KEY, X)
    np.testing.assert_allclose(
        module.apply(variables, X), module.apply(variables, X, np.full(3, 6, np.uint8)), atol=1e-7
    )


def test_gradients_at_padding_are_zero():
    module = RecurrentClassifier(2, features=5, bidirectional=True)
    variables = jax.jit(module.init)(KEY, X)
    gradient = jax.grad(lambda x: module.apply(variables, x, LENGTHS).sum())(jnp.asarray(X))
    read = np.arange(6) < LENGTHS[:, None]
    assert (np.asarray(gradient)[~read] == 0).all()
    assert (np.abs(gradient).sum(-1)[read] > 0).all()


def test_simple_cell_forward_against_float64():
    module = RecurrentClassifier(2, cell="simple", features=5)
    variables = jax.jit(module.init)(KEY, X)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    inner = params["simple_0"]["cell"]
    h = np.zeros((3, 5))
    for t in range(6):
        h = np.tanh(X[:, t] @ inner["i"]["kernel"] + inner["i"]["bias"] + h @ inner["h"]["kernel"])
    expected = h @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    np.testing.assert_allclose(jax.jit(module.apply)(variables, X), expected, atol=1e-6)


def test_parameter_counts_by_hand():
    tokens = jnp.zeros((1, 3), jnp.int32)
    embed, head = 100 * 4, 5 * 2 + 2
    simple = RecurrentClassifier(2, cell="simple", features=5, vocabulary=100, embedding=4)
    assert count(jax.eval_shape(simple.init, KEY, tokens)) == embed + (4 * 5 + 5 + 5 * 5) + head
    lstm = RecurrentClassifier(2, cell="lstm", features=5, vocabulary=100, embedding=4)
    assert count(jax.eval_shape(lstm.init, KEY, tokens)) == embed + 4 * (4 * 5 + 5 * 5 + 5) + head
    gru = RecurrentClassifier(2, cell="gru", features=5, vocabulary=100, embedding=4)
    assert count(jax.eval_shape(gru.init, KEY, tokens)) == embed + 3 * (4 * 5 + 5 + 5 * 5) + 5 + head
    both = RecurrentClassifier(2, cell="simple", features=5, layers=2, bidirectional=True)
    layers = 2 * (4 * 5 + 5 + 5 * 5) + 2 * (10 * 5 + 5 + 5 * 5)
    assert count(jax.eval_shape(both.init, KEY, X)) == layers + 10 * 2 + 2


def test_layers_and_tokens():
    module = RecurrentClassifier(3, features=5, layers=2, bidirectional=True, vocabulary=9, dropout=0.2)
    tokens = jnp.array([[1, 2, 8], [4, 0, 0]])
    variables = module.init(KEY, tokens)
    assert set(variables["params"]) == {"Embed_0", "lstm_0", "lstm_0_reverse", "lstm_1", "lstm_1_reverse", "Dense_0"}
    outputs = module.apply(variables, tokens, jnp.array([3, 1]), train=False)
    assert outputs.shape == (2, 3)
    other = module.apply(variables, tokens.at[1, 1:].set(7), jnp.array([3, 1]), train=False)
    np.testing.assert_array_equal(outputs, other)


def test_an_empty_sequence_is_summarized_by_zeros():
    for summary in ("last", "mean"):
        module = RecurrentClassifier(2, features=5, summary=summary)
        variables = jax.jit(module.init)(KEY, X)
        outputs = module.apply(variables, X, np.array([0, 6, 6]))
        np.testing.assert_array_equal(outputs[0], variables["params"]["Dense_0"]["bias"])


def test_dropout_in_training_only():
    module = RecurrentClassifier(2, features=50, layers=2, dropout=0.5)
    variables = jax.jit(module.init)(KEY, X)
    quiet = module.apply(variables, X, train=False)
    np.testing.assert_array_equal(quiet, RecurrentClassifier(2, features=50, layers=2).apply(variables, X))
    assert (module.apply(variables, X, train=True, rngs={"dropout": KEY}) != quiet).any()


def test_equal_by_value():
    assert RecurrentClassifier(2, cell="gru") == RecurrentClassifier(2, cell="gru")
    assert hash(RecurrentClassifier(2)) == hash(RecurrentClassifier(2))
    assert RecurrentClassifier(2) != RecurrentClassifier(2, layers=2)


def test_errors():
    with pytest.raises(ValueError, match="cell must be one of 'simple', 'lstm', 'gru', got 'rnn'"):
        RecurrentClassifier(2, cell="rnn")
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        RecurrentClassifier(2, layers=0)
    with pytest.raises(ValueError, match="summary must be one of"):
        RecurrentClassifier(2, summary="sum")
    with pytest.raises(ValueError, match="for integer ids set vocabulary="):
        RecurrentClassifier(2).init(KEY, jnp.zeros((2, 3), int))
    with pytest.raises(ValueError, match=r"integer ids \(batch, time\).*got float32 \(3, 6, 4\)"):
        RecurrentClassifier(2, vocabulary=5).init(KEY, X)
    with pytest.raises(ValueError, match="at least one step"):
        RecurrentClassifier(2).init(KEY, X[:, :0])
    with pytest.raises(ValueError, match=r"integers \(3,\) or a bool mask \(3, 6\), got float32 \(3,\)"):
        RecurrentClassifier(2).init(KEY, X, np.ones(3, np.float32))
    with pytest.raises(ValueError, match=r"got int32 \(2,\)"):
        RecurrentClassifier(2).init(KEY, X, LENGTHS[:2])
