"""The convolutional network."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz.models import CNN
from jaxviz.models.cnn import Pool

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).uniform(size=(3, 9, 8, 2)).astype(np.float32)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shapes(module, x):
    """The output shape of every layer."""
    variables = jax.eval_shape(module.init, KEY, x)
    run = functools.partial(module.apply, capture_intermediates=True, mutable=["intermediates"])
    _, state = jax.eval_shape(run, variables, x)
    return {name: calls["__call__"][0].shape for name, calls in state["intermediates"].items() if name != "__call__"}


def test_parameter_counts_by_hand():
    x = jnp.zeros((1, 28, 28, 1))
    conv = (9 * 1 + 1) * 16 + (9 * 16 + 1) * 32 + (9 * 32 + 1) * 64
    assert count(jax.eval_shape(CNN(10, pooling="max").init, KEY, x)) == conv + 3 * 3 * 64 * 10 + 10
    assert count(jax.eval_shape(CNN(10, pooling="stride").init, KEY, x)) == conv + 4 * 4 * 64 * 10 + 10
    assert count(jax.eval_shape(CNN(10, head="mean").init, KEY, x)) == conv + 64 * 10 + 10
    assert count(jax.eval_shape(CNN(10, head="max", hidden=(7,)).init, KEY, x)) == conv + 64 * 7 + 7 + 7 * 10 + 10
    normed = jax.eval_shape(CNN(10, head="mean", batch_norm=True).init, KEY, x)
    assert count(normed["params"]) == conv + 16 + 32 + 64 + 64 * 10 + 10  # scale and bias instead of bias
    assert count(normed["batch_stats"]) == 2 * (16 + 32 + 64)
    assert (
        count(jax.eval_shape(CNN(10, channels=(4,), kernel=5, depth=2, head="mean").init, KEY, x))
        == 26 * 4 + 101 * 4 + 50
    )


def test_layers_and_their_shapes():
    module = CNN(5, channels=(4, 6), depth=2, pooling="max", hidden=(7,), batch_norm=True, dropout=0.1)
    assert shapes(module, IMAGES) == {
        **{f"{name}_{i}": (3, 9, 8, 4) for name in ("Conv", "BatchNorm", "relu") for i in (0, 1)},
        "max_pool_0": (3, 4, 4, 4),
        **{f"{name}_{i}": (3, 4, 4, 6) for name in ("Conv", "BatchNorm", "relu") for i in (2, 3)},
        "max_pool_1": (3, 2, 2, 6),
        "Dropout_0": (3, 24),
        "Dense_0": (3, 7),
        "relu_4": (3, 7),
        "Dropout_1": (3, 7),
        "Dense_1": (3, 5),
    }
    strided = shapes(CNN(5, channels=(4, 6), pooling="stride", activation="tanh"), IMAGES)
    assert (strided["tanh_0"], strided["tanh_1"]) == ((3, 5, 4, 4), (3, 3, 2, 6))
    assert shapes(CNN(5, channels=(4, 6), pooling=None), IMAGES)["relu_1"] == (3, 9, 8, 6)


def test_forward_by_hand():
    """One 1 x 1 convolution: each stage is a matrix product, which NumPy can do."""
    module = CNN(3, channels=(4,), kernel=1, pooling="average", head="mean")
    variables = jax.jit(module.init)(KEY, IMAGES)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    h = np.maximum(IMAGES.astype(np.float64) @ params["Conv_0"]["kernel"][0, 0] + params["Conv_0"]["bias"], 0)
    h = np.stack([h[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((1, 2)) for i in range(4) for j in range(4)]).mean(0)
    expected = h @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    np.testing.assert_allclose(module.apply(variables, IMAGES, train=False), expected, atol=1e-6)


@pytest.mark.parametrize(("kind", "flax"), [("max", nn.max_pool), ("average", nn.avg_pool)])
def test_pool_equals_flax_and_so_does_its_gradient(kind, flax):
    def reference(x):
        with jax.numpy_dtype_promotion("standard"):  # flax's average divides floats by an integer
            return flax(x, (2, 2), strides=(2, 2))

    def pool(x):
        return Pool(kind).apply({}, x)

    x = jnp.asarray(IMAGES)
    np.testing.assert_allclose(pool(x), reference(x), rtol=1e-6)
    gradients = (jax.grad(lambda x, f=f: (f(x) ** 2).sum())(x) for f in (pool, reference))
    np.testing.assert_allclose(*gradients, rtol=1e-5)


def test_batch_statistics_and_dropout_in_training_only():
    module = CNN(3, channels=(4,), batch_norm=True, dropout=0.5)
    variables = jax.jit(module.init)(KEY, IMAGES)
    _, new = module.apply(variables, IMAGES, train=True, mutable=["batch_stats"], rngs={"dropout": KEY})
    assert (new["batch_stats"]["BatchNorm_0"]["mean"] != 0).all()
    quiet, same = module.apply(variables, IMAGES, train=False, mutable=["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, same["batch_stats"], variables["batch_stats"])
    np.testing.assert_array_equal(quiet, module.apply(variables, IMAGES, train=False))
    # With stored statistics the answer to one image does not depend on the others.
    alone = jnp.concatenate([module.apply(variables, image[None], train=False) for image in IMAGES])
    np.testing.assert_allclose(alone, quiet, atol=1e-6)


def test_equal_by_value():
    assert CNN(10, channels=[4, 8]) == CNN(10, channels=(4, 8))
    assert hash(CNN(10, channels=[4, 8])) == hash(CNN(10, channels=(4, 8)))
    assert CNN(10) != CNN(10, dropout=0.1)


def test_errors():
    for settings, message in [
        ({"classes": 0}, "classes must be at least 1, got 0"),
        ({"channels": ()}, "channels must have at least 1 entry"),
        ({"kernel": -3}, "kernel must be at least 1"),
        ({"pooling": "min"}, "pooling must be one of 'max', 'average', 'stride', None, got 'min'"),
        ({"head": "sum"}, "head must be one of 'flatten', 'mean', 'max'"),
        ({"dropout": -0.1}, "dropout must be in"),
        ({"activation": "rely"}, "did you mean 'relu'"),
    ]:
        with pytest.raises(ValueError, match=message):
            CNN(**{"classes": 10, **settings})
    with pytest.raises(TypeError, match="channels must be a tuple"):
        CNN(10, channels=16)
    with pytest.raises(ValueError, match=r"\(batch, height, width, channels\), got shape \(2, 28, 28\)"):
        CNN(10).init(KEY, jnp.zeros((2, 28, 28)))
    with pytest.raises(ValueError, match="images of 4 x 9 pixels cannot be halved 3 times"):
        CNN(10).init(KEY, jnp.zeros((2, 4, 9, 1)))
