"""`diagnose` of gradients that are 0 or cannot be had: where they end, and why."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv


def test_where_the_gradient_ends(nets):
    reason = lambda diagnosis: nets.only(diagnosis, "gradient_zero").measured
    off = reason(jv.diagnose(nets.mlp(Dense_1_bias=-100.0), nets.x, target=0))
    assert off["between"] == ("the output of layer 'Dense_1'", "the input of layer 'Dense_2'")
    assert off["reason"].startswith("all 6 units are off: before the ReLU none is above -9")
    weights = reason(jv.diagnose(nets.mlp(Dense_2_kernel=0.0), nets.x, target=0))
    assert weights["reason"] == "all weights of layer 'Dense_2' are 0"
    target = reason(jv.diagnose(nets.mlp(), nets.x, target=lambda outputs: jnp.minimum(outputs[:, 0], -100.0)))
    assert target["between"] == ("the outputs", "the score")
    hidden = reason(
        jv.diagnose(
            nets.function(lambda x: jv.tag(nn.sigmoid(jv.tag(x @ nets.kernel, "in")), "out").sum(1)), nets.mixed * 10
        )
    )
    assert "the sigmoid is saturated: before it are values from " in hidden["reason"]
    table = nets.tokens()
    params = {**table.params["params"], "Dense_0": {"kernel": jnp.ones((4, 4)), "bias": jnp.full(4, -1e3)}}
    ids = reason(jv.diagnose(table.with_params({"params": params}), nets.ids, target=0))
    assert ids["between"] == ("the output of layer 'Dense_0'", "the input of layer 'Dense_1'")


def test_no_function_is_named_that_the_program_has_not(nets):
    zero = nets.function(lambda x: jv.tag(0 * jv.tag(-(x**2), "in"), "out").sum(axis=1))
    reason = nets.only(jv.diagnose(zero, 100 + nets.x), "gradient_zero").measured["reason"]
    assert reason == "all 5 values of the output of layer 'out' are 0"
    ones = nets.function(lambda x: 0 * jv.tag(100 + x, "large") + 1)
    assert jv.diagnose(ones, nets.x, target=0).codes == ("score_constant", "gradient_zero")
    cut = nets.function(lambda x: jv.tag(nn.relu(jv.tag(x - 50, "in")), "out"))
    assert jv.diagnose(cut, nets.x, target=0).codes == ("score_constant", "gradient_zero")


def test_a_failure_while_it_runs_is_no_missing_derivative(nets):
    def fail(x: np.ndarray) -> np.ndarray:
        raise ValueError("out of memory")

    @jax.custom_jvp
    def identity(x: jax.Array) -> jax.Array:
        return x

    @identity.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        told = jax.pure_callback(fail, jax.ShapeDtypeStruct(primals[0].shape, primals[0].dtype), primals[0])
        return primals[0], tangents[0] * told

    with pytest.raises(Exception, match="out of memory"):
        jv.diagnose(nets.function(lambda x: identity(x).sum(axis=1)), nets.x)


def while_loop(x: jax.Array) -> jax.Array:
    return jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * s[1]), (0, x.sum(axis=1)))[1]


def test_a_model_without_gradient_is_diagnosed_all_the_same(nets):
    diagnosis = jv.diagnose(nets.function(while_loop), nets.x, np.zeros_like(nets.x))
    assert diagnosis.codes == ("attribution_zero",)
    assert "gradient (the score cannot be differentiated" in str(diagnosis)
    assert "nothing else was found that leads to it" in diagnosis.findings[0].meaning
