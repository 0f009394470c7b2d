"""FullGrad: its parts sum to the score on any program, biases are where they should be, and the map by hand."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxviz as jv
from jaxviz.attribution.cam.biases import full_gradient
from jaxviz.targets import Target

RANDOM = np.random.default_rng(0)
DOUBLE = {"param_dtype": np.float64, "dtype": np.float64}


class Relu(nn.Module):
    """Convolutions with biases, batch norm, a residual block, maximum and mean pooling."""

    @nn.compact
    def __call__(self, x):
        norm = functools.partial(nn.BatchNorm, use_running_average=True, **DOUBLE)
        x = nn.max_pool(nn.relu(norm(name="norm")(nn.Conv(3, (3, 3), name="conv", **DOUBLE)(x))), (2, 2), (2, 2))
        x = jax.nn.leaky_relu(nn.Conv(3, (3, 3), name="inner", **DOUBLE)(x)) + x
        return nn.Dense(2, name="head", **DOUBLE)(nn.avg_pool(x, (2, 2), (2, 2)).mean((1, 2)))


class Smooth(nn.Module):
    """What is not piecewise linear: other activations, norms by the inputs' own statistics, attention, a checkpoint, a clip."""

    @nn.compact
    def __call__(self, x):
        x = nn.GroupNorm(1, name="norm", **DOUBLE)(nn.remat(nn.Conv)(4, (3, 3), (2, 2), name="conv", **DOUBLE)(x))
        x = jnp.clip(nn.gelu(x) + nn.silu(x), 0.05, 0.6) ** 2 / (1 + squared(x))
        x = nn.Dense(3, name="dense", **DOUBLE)(x).reshape(x.shape[0], -1, 3)
        return nn.log_softmax((nn.softmax(x @ x.mT) @ x).sum(axis=1) + 1)


@jax.custom_vjp
def squared(x):
    return x**2


squared.defvjp(lambda x: (x**2, x), lambda x, above: (2 * x * above,))


class Recurrent(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.RNN(nn.GRUCell(3, name="cell", **DOUBLE), name="rnn")(x.reshape(x.shape[0], -1, 4))
        return nn.Dense(2, name="head", **DOUBLE)(jax.lax.cond(x.sum() > 0, jnp.tanh, jnp.sin, x)[:, -1])


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 3, (3, 3), rngs=rngs, **DOUBLE)
        self.norm = nnx.BatchNorm(3, rngs=rngs, **DOUBLE)

    def __call__(self, x):
        return nnx.relu(self.norm(self.conv(x))).mean((1, 2))


def function(params, x):
    """Added constants, a product of two active values, maxima, a concatenation, a sort: without any layer."""
    x = jnp.maximum((x @ params + 0.5) * 2 - 1, 0.1)
    x = jnp.where(x > 1, x, -x) * jnp.concatenate([x[..., :1], jnp.ones_like(x[..., 1:])], axis=-1)
    return jnp.sort(x.sum((1, 2)), axis=-1) - 3


def linen(module, x):
    """With random weights, biases and statistics, drawn by numpy: nothing is compiled."""
    random = np.random.default_rng(1)
    draw = lambda leaf: jnp.asarray(random.uniform(0.1, 0.5, leaf.shape) * random.choice([-1, 1], leaf.shape), x.dtype)
    variables = jax.tree.map(draw, jax.eval_shape(module.init, jax.random.key(0), x))
    return jv.Model.from_linen(
        module, variables | jax.tree.map(jnp.abs, {"batch_stats": variables.get("batch_stats", {})})
    )


def parts_of(model, x):
    names = []

    @jax.jit
    def arrays(model, x):
        of_inputs, biases = full_gradient(model, x, Target(jnp.ones(len(x), jnp.int32)))
        names.extend(name for name, _ in biases)
        return of_inputs, [part for _, part in biases]

    of_inputs, biases = arrays(model, x)
    return np.asarray(of_inputs), [(name, np.asarray(part)) for name, part in zip(names, biases, strict=True)]


@pytest.mark.parametrize("kind", ["relu", "smooth", "recurrent", "nnx", "function"])
def test_the_parts_sum_to_the_score(kind):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):  # Flax promotes statistics in norms
        x = jnp.asarray(RANDOM.normal(size=(2, 4, 8, 2)))
        if kind == "nnx":
            model = jv.Model.from_nnx(Nnx(nnx.Rngs(0)))
        elif kind == "function":
            model = jv.Model.from_function(function, jnp.asarray(RANDOM.normal(size=(2, 3))))
        else:
            model = linen({"relu": Relu(), "smooth": Smooth(), "recurrent": Recurrent()}[kind], x)
        of_inputs, biases = parts_of(model, x)
        scores = np.asarray(model(x))[:, 1]
        for name, part in biases:
            assert np.isfinite(part).all()
            assert name is None or len(part) == 2
        # Of a scan axis 0 is no batch, so that the batch is summed up.
        total = of_inputs.sum() + sum(part.sum() for _, part in biases)
        np.testing.assert_allclose(total, scores.sum(), rtol=1e-11)
        if all(name is not None for name, _ in biases):
            whole = of_inputs.sum(axis=(1, 2, 3)) + sum(part.reshape(2, -1).sum(axis=1) for _, part in biases)
            np.testing.assert_allclose(whole, scores, rtol=1e-11)
        if kind == "relu":
            check_relu(model, x, dict(biases))


def check_relu(model, x, biases):
    """The biases of the paper, each at its layer's output."""
    params, statistics = model.params["params"], model.params["batch_stats"]["norm"]
    mean, variance = (np.asarray(statistics[name], np.float64) for name in ("mean", "var"))
    norm = params["norm"]["bias"] - mean * params["norm"]["scale"] / np.sqrt(variance + 1e-5)
    expected = {
        "conv": params["conv"]["bias"],
        "norm": norm,
        "inner": params["inner"]["bias"],
        "head": params["head"]["bias"],
    }
    shifts = {layer: jnp.zeros(biases[layer].shape) for layer in expected}
    gradients = jax.jit(jax.grad(lambda shifts: model.add(shifts)(x)[:, 1].sum()))(shifts)
    for layer, bias in expected.items():
        np.testing.assert_allclose(
            biases[layer], np.asarray(gradients[layer]) * np.asarray(bias), rtol=1e-9, atol=1e-12
        )


def test_by_hand():
    # score = sum(2 relu(x + b)): x contributes 2 * 3 and 2 * -1 where it is on, the bias 2 * 1 and 2 * 2; off at the third place
    model = jv.Model.from_function(
        lambda params, x: (2 * jax.nn.relu(jv.tag(x + params, "sum"))).sum(axis=(1, 2)),
        jnp.array([[[1.0], [2.0], [0.5]]]),
    )
    x = jnp.array([[[3.0], [-1.0], [-7.0]]])
    of_inputs, [(_, of_bias)] = full_gradient(model, x, Target())
    np.testing.assert_allclose(of_inputs[0, :, 0], [6, -2, 0])
    np.testing.assert_allclose(of_bias[0, :, 0], [2, 4, 0])
    # |6|, |2|, 0 over 6, and |2|, |4|, 0 over 4
    np.testing.assert_allclose(jv.full_grad(model, x), [[1 + 0.5, 1 / 3 + 1, 0]], rtol=1e-6)


def two_convolutions():
    x = jnp.asarray(RANDOM.normal(size=(2, 4, 8, 2)), jnp.float32)
    module = nn.Sequential([nn.Conv(2, (3, 3)), nn.relu, nn.Conv(2, (3, 3)), lambda x: x.mean((1, 2))])
    return linen(module, x), x


def test_principal_component():
    model, x = two_convolutions()
    of_inputs, biases = parts_of(model, x)
    found = np.asarray(jv.full_grad(model, x, target=1, eigen_smooth=True))
    plain = np.asarray(jv.full_grad(model, x, target=1))
    for example in range(2):
        channels = []
        for part in (of_inputs, *(part for _, part in biases if part.ndim == 4)):
            sizes = np.abs(part[example].astype(np.float64))
            sizes = (sizes - sizes.min()) / (sizes.max() - sizes.min())
            channels.append(sizes if part is of_inputs else sizes.sum(axis=-1, keepdims=True))
        matrix = np.concatenate(channels, axis=-1).reshape(32, -1)
        np.testing.assert_allclose(matrix.sum(axis=1), plain[example].ravel(), atol=1e-5)
        left, sizes, _ = np.linalg.svd(matrix - matrix.mean(axis=0))
        expected = (left[:, 0] * sizes[0]).reshape(4, 8)
        expected *= np.sign((expected * plain[example]).sum())
        np.testing.assert_allclose(found[example], expected, atol=1e-5)


def test_biases_of_some_layers():
    model, x = two_convolutions()
    every, first, second, both = (
        np.asarray(jv.full_grad(model, x, target=0, layer=layer))
        for layer in (None, "layers_0", ["layers_2"], ("layers_*",))
    )
    of_inputs = np.abs(jv.input_x_gradient(model, x, target=0))
    of_inputs = of_inputs - of_inputs.min(axis=(1, 2, 3), keepdims=True)
    of_inputs = (of_inputs / of_inputs.max(axis=(1, 2, 3), keepdims=True)).sum(axis=-1)
    np.testing.assert_allclose(every, both, atol=1e-6)
    np.testing.assert_allclose(first + second - of_inputs, both, atol=1e-5)
    assert jv.full_grad(model, x, target=0, upsample=(3, 5)).shape == (2, 3, 5)
