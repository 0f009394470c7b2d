"""Derivatives of attributions by rules, as regularization by explanations takes them: against differences, float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

RANDOM = np.random.default_rng(0)
SHAPES = ((5, 8), (1, 8), (8, 6), (1, 6), (6, 3))
PARAMS = [RANDOM.normal(size=shape) / 2 for shape in SHAPES]
INPUTS, WEIGHTS, DIRECTION, BASELINES = (RANDOM.normal(size=(2, 5)) for _ in range(4))


def network(params, inputs):
    hidden = jax.nn.softplus(inputs @ params[0] + params[1])
    hidden = jv.tag(jnp.tanh(hidden @ params[2] + params[3]), "hidden") * jax.nn.relu(hidden[:, :6])
    return jax.nn.softmax(hidden @ params[4])


def of_layer(method):
    return lambda model, inputs, *, target: method(model, inputs, target=target)[:, :5]


METHODS = {
    "deeplift": jv.deeplift,
    "deep_shap": functools.partial(jv.deep_shap, baselines=BASELINES),
    "lrp": jv.lrp,
    "lrp EpsilonPlus": functools.partial(jv.lrp, composite="EpsilonPlus"),
    "lrp of a layer": of_layer(functools.partial(jv.lrp, layer="hidden")),
    "deeplift at a layer": of_layer(jv.at_layer(jv.deeplift, "hidden")),
    "guided_backprop": jv.guided_backprop,
    "deconvnet": jv.deconvnet,
    "beta_smooth": functools.partial(jv.beta_smooth, beta=3.0),
}


@pytest.mark.parametrize("method", METHODS)
def test_by_inputs_and_by_parameters(method):
    with jax.enable_x64(True):

        def total(params, inputs):
            model = jv.Model.from_function(network, params)
            return (jnp.asarray(WEIGHTS) * METHODS[method](model, inputs, target=1)).sum()

        params, inputs = [jnp.asarray(leaf) for leaf in PARAMS], jnp.asarray(INPUTS)
        by_params, by_inputs = jax.jit(jax.grad(total, (0, 1)))(params, inputs)
        step = 1e-5
        ends = [total(params, inputs + sign * step * DIRECTION) for sign in (1, -1)]
        expected = float(ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose((by_inputs * DIRECTION).sum(), expected, rtol=1e-6, atol=1e-8)
        ends = [total([params[0] * (1 + sign * step), *params[1:]], inputs) for sign in (1, -1)]
        expected = float(ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose((by_params[0] * params[0]).sum(), expected, rtol=1e-6, atol=1e-8)
