"""The multilayer perceptron and its activations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz.models import ACTIVATIONS, MLP, Activation, activation

KEY = jax.random.key(0)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_xor_forward_by_hand():
    """h1 = sigmoid(20 a + 20 b - 10) is "or", h2 = sigmoid(-20 a - 20 b + 30) is "not both", the output is "and"."""
    params = {
        "Dense_0": {"kernel": jnp.array([[20.0, -20.0], [20.0, -20.0]]), "bias": jnp.array([-10.0, 30.0])},
        "Dense_1": {"kernel": jnp.array([[20.0], [20.0]]), "bias": jnp.array([-30.0])},
    }
    module = MLP(features=(2, 1), activation="sigmoid", output_activation="sigmoid")
    points = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.5, 0.5]])
    outputs = module.apply({"params": params}, points, train=False)
    # (0.5, 0.5): both hidden units are sigmoid(10), so the output is sigmoid(40 sigmoid(10) - 30)
    hidden = 1 / (1 + np.exp(-10.0))
    expected = [4.543910e-5, 0.9999545, 0.9999545, 4.543910e-5, 1 / (1 + np.exp(30 - 40 * hidden))]
    np.testing.assert_allclose(outputs[:, 0], expected, rtol=2e-4)


def test_forward_against_float64():
    module = MLP(features=(5, 4, 3), activation="tanh")
    x = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    variables = jax.jit(module.init)(KEY, x)
    h = x.astype(np.float64)
    for i in range(3):
        layer = variables["params"][f"Dense_{i}"]
        h = h @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)
        h = np.tanh(h) if i < 2 else h
    np.testing.assert_allclose(module.apply(variables, x, train=False), h, atol=1e-6)


def test_parameter_counts_by_hand():
    x = jnp.zeros((1, 28, 28, 1))
    assert count(jax.eval_shape(MLP((64, 10)).init, KEY, x)) == 784 * 64 + 64 + 64 * 10 + 10
    variables = MLP((64, 10), batch_norm=True).init(KEY, x)
    assert (
        count(variables["params"]) == 784 * 64 + 2 * 64 + 64 * 10 + 10
    )  # scale and bias of batch norm, no bias before it
    assert count(variables["batch_stats"]) == 2 * 64
    assert count(jax.eval_shape(MLP((3,)).init, KEY, jnp.zeros((1, 2)))) == 2 * 3 + 3


def test_layers_have_readable_names():
    module = MLP((4, 4, 2), dropout=0.5, batch_norm=True, output_activation=jax.nn.softmax)
    _, state = module.apply(
        module.init(KEY, jnp.zeros((1, 3))), jnp.zeros((1, 3)), capture_intermediates=True, mutable=["intermediates"]
    )
    names = {"Dense", "BatchNorm", "relu", "Dropout"}
    expected = {f"{name}_{i}" for name in names for i in range(2)} | {"Dense_2", "softmax_2", "__call__"}
    assert set(state["intermediates"]) == expected


def test_initialization_scales_with_the_units_before():
    x = jnp.zeros((1, 500))
    for name, variance in (("relu", 2 / 500), ("tanh", 1 / 500)):
        kernel = MLP((400, 1), activation=name).init(KEY, x)["params"]["Dense_0"]["kernel"]
        np.testing.assert_allclose(np.var(kernel), variance, rtol=0.05)


def test_dropout_in_training_only():
    module = MLP((200, 10), dropout=0.5)
    x = jnp.ones((4, 3))
    variables = jax.jit(module.init)(KEY, x)
    quiet = module.apply(variables, x, train=False)
    np.testing.assert_array_equal(quiet, MLP((200, 10)).apply(variables, x, train=False))

    def noisy(seed):
        return module.apply(variables, x, train=True, rngs={"dropout": jax.random.key(seed)})

    assert (noisy(0) != quiet).any()
    assert (noisy(0) != noisy(1)).any()
    np.testing.assert_array_equal(noisy(0), noisy(0))


def test_batch_statistics_change_in_training_only():
    module = MLP((5, 2), batch_norm=True)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32))
    variables = jax.jit(module.init)(KEY, x)
    _, new = module.apply(variables, x, train=True, mutable=["batch_stats"])
    before = x @ variables["params"]["Dense_0"]["kernel"]
    np.testing.assert_allclose(new["batch_stats"]["BatchNorm_0"]["mean"], 0.01 * before.mean(0), atol=1e-6)
    _, same = module.apply(variables, x, train=False, mutable=["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, same["batch_stats"], variables["batch_stats"])


def test_modules_are_equal_by_value():
    assert MLP((3, 2)) == MLP([3, 2])
    assert hash(MLP((3, 2))) == hash(MLP([3, 2]))
    assert MLP((3, 2)) != MLP((3, 2), activation="tanh")
    traces = []

    def apply(module, variables, x):
        traces.append(1)
        return module.apply(variables, x, train=False)

    run = jax.jit(apply, static_argnums=0)
    x = jnp.ones((1, 2))
    for seed in range(2):
        run(MLP((3, 2), activation=jnp.tanh), MLP((3, 2)).init(jax.random.key(seed), x), x)
    assert len(traces) == 1


def test_every_activation_by_name():
    x = jnp.array([[-2.0, -0.1, 0.0, 3.0]])
    for name, function in ACTIVATIONS.items():
        y = Activation(name).apply({}, x)
        assert y.shape == x.shape
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(y, function(x))
    assert activation(jnp.sin) is jnp.sin


def test_errors():
    with pytest.raises(ValueError, match=r"unknown name 'ReLU'; did you mean 'relu'\?.*Names: celu, elu"):
        MLP((2, 1), activation="ReLU")
    with pytest.raises(ValueError, match="unknown name 'none'"):
        MLP((2, 1), output_activation="none")
    with pytest.raises(TypeError, match="a name or a callable, got 3"):
        MLP((2, 1), activation=3)
    with pytest.raises(TypeError, match=r"features must be a tuple.*got 10; for one layer write \(10,\)"):
        MLP(10)
    with pytest.raises(ValueError, match="at least 1 entry"):
        MLP(())
    with pytest.raises(ValueError, match=r"features\[1\] must be at least 1, got 0"):
        MLP((3, 0))
    with pytest.raises(TypeError, match=r"must be an int, got 2\.0"):
        MLP((2.0, 1))
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), got 1"):
        MLP((2, 1), dropout=1.0)
    with pytest.raises(ValueError, match=r"got shape \(3,\); for one example pass x\[None\]"):
        MLP((2, 1)).init(KEY, jnp.zeros(3))
