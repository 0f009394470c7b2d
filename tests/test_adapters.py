"""Adapters: what is asked of Linen and NNX modules and functions, their evaluation mode, their keywords."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.core import freeze

import jaxviz as jv
from jaxviz import adapters

KEY = jax.random.key(0)
Model: Any = jv.Model  # whose signatures the tests of errors break
X = jax.random.normal(jax.random.key(1), (3, 4))


class Noisy(nn.Module):
    """With everything that differs between training and evaluation, and a choice of mode and method."""

    @nn.compact
    def __call__(self, x, mask=None, deterministic=False, scale=1.0):
        x = nn.Dropout(0.5, deterministic=deterministic)(nn.Dense(4)(x))
        return scale * (x if mask is None else jnp.where(mask, x, 0.0))

    def twice(self, x, train=True):
        return 2 * self(x, deterministic=not train)


class Normalized(nn.Module):
    @nn.compact
    def __call__(self, x, train=True):
        return nn.BatchNorm(use_running_average=not train, use_bias=False, use_scale=False)(x)


VARIABLES = Noisy().init(KEY, X, deterministic=True)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {"deterministic": True}),
        ({"mask": X > 0}, {"mask": X > 0, "deterministic": True}),
        ({"scale": 2.0}, {"scale": 2.0, "deterministic": True}),
        ({"deterministic": False, "rngs": {"dropout": KEY}}, {"deterministic": False, "rngs": {"dropout": KEY}}),
        ({"method": "twice"}, {"method": "twice", "train": False}),
        ({"method": Noisy.twice}, {"method": "twice", "train": False}),
    ],
)
def test_keywords(ours, theirs):
    model = jv.Model.from_linen(Noisy(), VARIABLES, **ours)
    expected = jax.jit(lambda variables, x: Noisy().apply(variables, x, **theirs))(VARIABLES, X)
    np.testing.assert_array_equal(model(X), expected)
    np.testing.assert_array_equal(model.capture(X)["Dropout_0"].shape, (3, 4))


def test_batch_statistics_and_mutable():
    variables: Any = Normalized().init(KEY, X)  # no parameters, statistics only
    variables = jax.tree.map(lambda leaf: leaf + 0.5, variables)
    model = jv.Model.from_linen(Normalized(), variables)
    plain = jax.jit(functools.partial(Normalized().apply, train=False))
    np.testing.assert_array_equal(model(X), plain(variables, X))
    assert model.layers(X)[0].parameters == 0
    for mutable in (["batch_stats"], "batch_stats", True):
        training = jv.Model.from_linen(Normalized(), variables, train=True, mutable=mutable)
        expected = (X - X.mean(axis=0, keepdims=True)) / jnp.sqrt(X.var(axis=0, keepdims=True) + 1e-5)
        np.testing.assert_allclose(training(X), expected, atol=1e-5)
    np.testing.assert_array_equal(jv.Model.from_linen(Normalized(), variables, mutable=[])(X), model(X))


def test_bound_module_and_frozen_variables():
    model = jv.Model.from_linen(Noisy().bind(VARIABLES), freeze(VARIABLES))
    plain = jv.Model.from_linen(Noisy(), VARIABLES)
    assert model.apply == plain.apply
    np.testing.assert_array_equal(model(X), plain(X))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: Model.from_linen(nnx.Linear(4, 2, rngs=nnx.Rngs(0)), {}),
            TypeError,
            "got Linear; use Model.from_nnx",
        ),
        (lambda: Model.from_linen(Noisy, VARIABLES), TypeError, "must be a flax.linen.Module, got"),
        (lambda: Model.from_linen(Noisy(), [1]), TypeError, "variables must be a dict of collections .*, got list"),
        (
            lambda: Model.from_linen(Noisy(), VARIABLES["params"]),
            ValueError,
            r"has \['Dense_0'\]. Pass {'params': p",
        ),
        (lambda: Model.from_linen(nn.Dense(2), {"kernel": X, "bias": X}), ValueError, r"has \['kernel', 'bias'\]"),
        (
            lambda: Model.from_linen(Noisy(), VARIABLES, method="nope"),
            ValueError,
            "method 'nope' not found in Noisy",
        ),
        (lambda: Model.from_nnx(nn.Dense(2)), TypeError, "got Dense; use Model.from_linen"),
        (lambda: Model.from_nnx(3), TypeError, "must be a flax.nnx.Module, got int"),
        (lambda: Model.from_function(nn.Dense(2), {}), TypeError, "got Dense; use Model.from_linen"),
        (lambda: Model.from_function(3, {}), TypeError, "must be a function of .params, inputs., got int"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


class Regularized(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(4, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.parts = nnx.Dict({"head": nnx.Linear(4, 2, rngs=rngs)})

    def __call__(self, x):
        return self.parts["head"](self.dropout(self.norm(self.linear(x))))


def test_nnx_module_is_left_alone():
    module = Regularized(nnx.Rngs(0))
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(module, (nnx.Param, nnx.BatchStat))))
    classes = [type(submodule) for _, submodule in nnx.iter_modules(module)]
    graph = nnx.graphdef(module)
    model = jv.Model.from_nnx(module)
    first, captured = model(X), model.capture(X)
    np.testing.assert_array_equal(captured["dropout"], captured["norm"])  # evaluation: nothing dropped
    np.testing.assert_allclose(
        captured["norm"], captured["linear"] / jnp.sqrt(1 + 1e-5), rtol=1e-6
    )  # running statistics
    np.testing.assert_array_equal(first, model(X))
    after = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(module, (nnx.Param, nnx.BatchStat))))
    jax.tree.map(np.testing.assert_array_equal, before, after)
    assert [type(submodule) for _, submodule in nnx.iter_modules(module)] == classes
    assert nnx.graphdef(module) == graph
    assert not module.dropout.deterministic
    assert list(module.parts) == ["head"]
    module.linear.kernel[...] = jnp.zeros((4, 4))  # the model has a state of its own
    np.testing.assert_array_equal(model(X), first)


def test_nnx_keywords():
    class Masked(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(4, 2, rngs=rngs)

        def __call__(self, x, mask, train=True):
            return jnp.where(mask, self.linear(x) + (100.0 if train else 0.0), 0.0)

    module = Masked(nnx.Rngs(0))
    mask = jnp.array([[True], [False], [True]])
    model = jv.Model.from_nnx(module, mask=mask)
    np.testing.assert_array_equal(model(X), jax.jit(lambda x: module(x, mask, train=False))(X))


def test_function_that_applies_modules():
    model = jv.Model.from_function(lambda variables, x: Noisy().apply(variables, x, deterministic=True), VARIABLES)
    layers = {layer.path: layer.parameters for layer in model.layers(X)}
    assert layers == {"Dense_0": 20, "Dropout_0": 0}


def test_parameters_of_numpy_are_brought_to_the_device_once():
    params = {"kernel": np.ones((3, 2), np.float32), "double": np.ones(2), "name": "of no account"}
    found = adapters.on_device(params)
    assert isinstance(found["kernel"], jax.Array)
    params["kernel"][0, 0] = 7
    assert found["kernel"][0, 0] == 1
    inside = []
    jax.jit(lambda x: inside.append(adapters.on_device(params)["kernel"]) or x)(1.0)
    assert not isinstance(inside[0], jax.core.Tracer)
    assert found["double"].dtype == np.float64  # as it is, where JAX would make float32 of it
    assert found["name"] == params["name"]
    model = jv.Model.from_function(lambda params, inputs: inputs @ params["kernel"], {"kernel": params["kernel"]})
    assert isinstance(model.params["kernel"], jax.Array)
    assert isinstance(model.with_params({"kernel": params["kernel"] * 2}).params["kernel"], jax.Array)
    module = nn.Dense(2)
    variables = {"params": {"kernel": params["kernel"], "bias": np.zeros(2, np.float32)}}
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(jv.Model.from_linen(module, variables).params))
