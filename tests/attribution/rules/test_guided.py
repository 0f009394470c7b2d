"""Guided backpropagation, deconvnet, smooth ReLUs: against Captum, numbers found by hand, and every way to write a ReLU."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxviz as jv

HEAD = jnp.array([[2.0], [-3.0], [5.0]])
X = np.array([[1.0, 2.0, -3.0]], np.float32)  # on, on, off
MANY = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_against_captum(modules, method):
    model, figures = modules
    theirs = figures[method]
    ours = getattr(jv, method)(model, figures["inputs"], target=figures["target"])
    assert np.abs(ours - theirs).max() <= 1e-6 * np.abs(theirs).max()


class Shared(nn.Module):
    """One activation module, called twice."""

    @nn.compact
    def __call__(self, x):
        activation = nn.relu
        return activation(activation(x))


RELUS = {
    "jax.nn.relu": jax.nn.relu,
    "nn.relu twice": lambda x: Shared().apply({}, x),
    "maximum": lambda x: jnp.maximum(x, 0),
    "the other way around": lambda x: jnp.maximum(0.0, x),
    "zeros": lambda x: jnp.maximum(x, jnp.zeros_like(x)),
    "relu6": jax.nn.relu6,
    "clip": lambda x: jnp.clip(x, 0, 4),
    "clamp": lambda x: jax.lax.clamp(0.0, x, 4.0),
    "jitted": jax.jit(lambda x: jax.nn.relu(x)),
    "in a scan": lambda x: jax.lax.scan(lambda x, _: (jax.nn.relu(x), None), x, length=2)[0],
    "in a conditional": lambda x: jax.lax.cond(x.sum() > 9, jnp.sin, jax.nn.relu, x),
    "rematerialized": jax.checkpoint(jax.nn.relu),
}


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS)
def test_every_relu(relu):
    model = jv.Model.from_function(lambda params, x: relu(x) @ params, HEAD)
    np.testing.assert_array_equal(jv.guided_backprop(model, X), [[2.0, 0.0, 0.0]])
    np.testing.assert_array_equal(jv.deconvnet(model, X), [[2.0, 0.0, 5.0]])


@pytest.mark.parametrize("name", RELUS)
def test_every_relu_made_smooth(name):
    model = jv.Model.from_function(lambda params, x: RELUS[name](x) @ params, HEAD)
    at, expected = X.astype(np.float64), np.asarray(HEAD.T, np.float64)
    for _ in range(1 + (name in ("nn.relu twice", "in a scan"))):
        expected = expected / (1 + np.exp(-0.7 * at))
        at = np.maximum(at, 0)
    np.testing.assert_allclose(jv.beta_smooth(model, X, beta=0.7), expected, rtol=1e-6)


def test_a_smooth_bound_is_where_the_bound_is():
    bound = jnp.array([[0.5, 3.0, -4.0]])
    model = jv.Model.from_function(lambda params, x: jnp.maximum(x, bound) @ params, HEAD)
    expected = HEAD.T / (1 + np.exp(-2 * (X - np.asarray(bound))))
    np.testing.assert_allclose(jv.beta_smooth(model, X, beta=2), expected, rtol=1e-6)
    assert np.array_equal(jv.beta_smooth(model, X, beta=0), HEAD.T / 2)
    with pytest.raises(ValueError, match=r"beta_smooth: beta must be in \[0, inf\), got -1"):
        jv.beta_smooth(model, X, beta=-1)


def test_smooth_relus_at_a_layer():
    model = jv.Model.from_function(lambda params, x: jax.nn.relu(jv.tag(2 * x, "doubled")) @ params, HEAD)
    expected = HEAD.T / (1 + np.exp(-2 * X))
    for beta in (1.0, jnp.float32(1)):
        found = jv.at_layer(jv.beta_smooth, "doubled")(model, X, beta=beta)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # beyond the bound all is 0
def test_bounds_from_above_pass_their_derivative():
    model = jv.Model.from_function(lambda params, x: jax.nn.relu6(x) @ params, HEAD)
    inputs = np.array([[7.0, 2.0, 7.0]], np.float32)  # over the bound there is no derivative to pass on
    np.testing.assert_array_equal(jv.guided_backprop(model, inputs), [[0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(jv.deconvnet(model, inputs), [[0.0, 0.0, 0.0]])
    smooth = [[0.0, -3 / (1 + np.exp(-2)), 0.0]]
    np.testing.assert_allclose(jv.beta_smooth(model, inputs, beta=1), smooth, rtol=1e-6)


class Norm(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.LayerNorm(use_bias=False, use_scale=False)(x)


def normalized(x):
    """A norm without a module."""
    mean = x.mean(axis=1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(jnp.maximum((x * x).mean(axis=1, keepdims=True) - mean * mean, 0) + 1e-6)


class Own(nn.LayerNorm):
    """A norm by another name."""


INSTANCE: Any = nn.InstanceNorm(use_bias=False, use_scale=False)
BATCH = nn.BatchNorm(use_running_average=False)
DEVICES = nn.BatchNorm(use_running_average=False, axis_name="devices")
VARIABLES = BATCH.init(jax.random.key(0), X)

OTHERS = {
    "softplus": jax.nn.softplus,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "silu": jax.nn.silu,
    "softmax": jax.nn.softmax,
    "layer norm": lambda x: Norm().apply({}, x),
    "a norm's subclass": lambda x: Own(use_bias=False, use_scale=False).apply({}, x),
    "group norm": lambda x: nn.GroupNorm(1, use_bias=False, use_scale=False).apply({}, x),
    "instance norm": lambda x: INSTANCE.apply({}, x[..., None])[..., 0],
    "masked norm": lambda x: nn.LayerNorm(use_bias=False, use_scale=False).apply({}, x, mask=x > -9),
    "batch norm in training": lambda x: BATCH.apply(VARIABLES, x, mutable=["batch_stats"])[0],
    "batch norm over devices": lambda x: jax.vmap(
        lambda x: DEVICES.apply(VARIABLES, x, mutable=["batch_stats"])[0], axis_name="devices"
    )(x[:, None])[:, 0],
    "NNX": lambda x: nnx.LayerNorm(3, rngs=nnx.Rngs(0))(x),
    "NNX, batch norm": lambda x: nnx.BatchNorm(3, rngs=nnx.Rngs(0))(x),
    "a norm of one's own": normalized,
    "maximum of two": lambda x: jnp.maximum(x, 2 * x),
}


@pytest.mark.filterwarnings("ignore:.*no ReLU was found:jaxviz.AttributionWarning")
@pytest.mark.parametrize("function", OTHERS.values(), ids=OTHERS)
def test_maxima_that_are_no_relu_have_their_derivative(function):
    model = jv.Model.from_function(lambda params, x: function(x) @ params, HEAD)
    np.testing.assert_allclose(jv.guided_backprop(model, MANY), jv.gradient(model, MANY), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jv.deconvnet(model, MANY), jv.gradient(model, MANY), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jv.beta_smooth(model, MANY), jv.gradient(model, MANY), rtol=1e-5, atol=1e-6)


class DenseNorm(nn.Module):
    """No norm, whatever its name."""

    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Dense(3)(x))


class NormRelu(nn.LayerNorm):
    """A norm that has a ReLU."""

    def __call__(self, x):
        return nn.relu(super().__call__(x))


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # all units are off
@pytest.mark.parametrize("module", [DenseNorm(), NormRelu(use_bias=False, use_scale=False)], ids=["dense", "norm"])
def test_a_relu_is_one_in_a_module_of_any_name(module):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return module.copy(name="block")(x) @ jnp.array([[2.0], [-3.0], [5.0]])

    variables = Net().init(jax.random.key(0), MANY)
    model = jv.Model.from_linen(Net(), variables)
    if isinstance(module, DenseNorm):
        block = lambda x: x @ variables["params"]["block"]["Dense_0"]["kernel"]
    else:
        block = lambda x: (x - x.mean(1, keepdims=True)) / jnp.sqrt(x.var(1, keepdims=True) + 1e-6)
    before, back = jax.vjp(block, MANY)
    for method, on in (("guided_backprop", before > 0), ("deconvnet", jnp.ones_like(before, bool))):
        (expected,) = back(jnp.where(on, jnp.maximum(HEAD.T, 0), 0))
        np.testing.assert_allclose(getattr(jv, method)(model, MANY), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # all units are off
def test_a_network_by_hand():
    first, second = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32), np.array([[2.0, -1.0], [-1.0, 4.0]], np.float32)

    def apply(params, x):
        return jax.nn.relu(jax.nn.relu(x @ params[0]) @ params[1])[:, 0]

    model = jv.Model.from_function(apply, (first, second))
    # x = (1, -1): hidden (-2, -2.5), both off; then 0, off: guided nothing. The deconvnet: relu(1) -> (2, -1) -> (2, 0) -> (2, 6)
    np.testing.assert_array_equal(jv.guided_backprop(model, np.array([[1.0, -1.0]], np.float32)), [[0.0, 0.0]])
    np.testing.assert_array_equal(jv.deconvnet(model, np.array([[1.0, -1.0]], np.float32)), [[2.0, 6.0]])
    # x = (1, 2): hidden (7, -1); then 14
    np.testing.assert_array_equal(jv.guided_backprop(model, np.array([[1.0, 2.0]], np.float32)), [[2.0, 6.0]])


def test_a_tuple_and_a_layer():
    model = jv.Model.from_function(
        lambda params, x: jv.tag(jax.nn.relu(x[0]), "hidden") @ params + jax.nn.relu(-x[1]), HEAD
    )
    with pytest.warns(jv.AttributionWarning, match=r"inputs\[1\] is all zero"):  # its ReLU is off
        first, second = jv.guided_backprop(model, (X, np.array([[4.0]], np.float32)))
    np.testing.assert_array_equal(first, [[2.0, 0.0, 0.0]])
    np.testing.assert_array_equal(second, [[0.0]])
    tail, hidden = model.since("hidden", (X, np.array([[4.0]], np.float32)))
    with pytest.warns(
        jv.AttributionWarning, match="no ReLU was found"
    ):  # the others stand before the layer, or are not reached
        np.testing.assert_array_equal(jv.guided_backprop(tail, hidden), HEAD.T)


@pytest.mark.parametrize("method", [jv.guided_backprop, jv.deconvnet, jv.beta_smooth])
def test_a_program_without_a_relu_is_told(method):
    for function in (lambda x: jnp.where(x > 0, x, 0), lambda x: x * (x > 0).astype(x.dtype), jax.nn.gelu):
        model = jv.Model.from_function(lambda params, x, function=function: function(x) @ params, HEAD)
        for _ in range(2):  # the second time the program is there
            with pytest.warns(
                jv.AttributionWarning,
                match=rf"^{method.__name__}: no ReLU was found .* its gradient\. Found are jax\.nn\.relu",
            ) as told:
                found = method(model, abs(MANY) + 0.1)
            assert [one.filename for one in told] == [__file__]
        np.testing.assert_array_equal(found, jv.gradient(model, abs(MANY) + 0.1))
