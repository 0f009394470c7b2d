"""The names of a user's rules: one that occurs nowhere and is known nowhere is an error, for a slip would pass silently."""

import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.rules import Composite, Epsilon, Pass

RULE = Epsilon()


class Net(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.silu(nn.Dense(3, name="one")(x))
        return nn.Dense(2, name="two")(nn.relu(x))


class Elsewhere(nn.Module):
    """A class of modules that the network does not have."""


@pytest.fixture(scope="module")
def net() -> tuple[jv.Model, jax.Array]:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2)), jnp.float32)
    return jv.Model.from_linen(Net(), Net().init(jax.random.key(0), x)), x


def leave(equation: Any, operands: list[Any], where: Any) -> Any:
    return NotImplemented


WRONG = {
    "tanhh": "'tanhh', which this model does not have, and jaxviz does not know as a primitive or .* of JAX; did you mean 'tanh'",
    "silu": r"'silu', which this model .*; did you mean 'silu\(\)'",
    "gelu": r"'gelu', which this model .*; did you mean 'gelu\(\)'",  # a function of JAX, though not of this model
    "twist()": r"'twist\(\)', which this model .*; ",
    "xyzzy": r"'xyzzy', which this model .*; this model has .*'dot_general'.*'silu\(\)'",
    "three:tanh": "'three:tanh', but layer 'three' not found; layers: one, two",
    "one:tanhh": "'one:tanhh', which this model does not have",
}
# Those of other networks, too, so that one set of rules is for many. Both are given rules that change nothing here.
CALLED = ("gelu()", "silu()", "relu()", "custom_vjp_call", "jit")
ELSEWHERE = ("cos", "gelu()", "split", "one:cos", "t*:cumsum")


@pytest.mark.parametrize("name", WRONG)
def test_names_of_primitives_and_layers_that_are_nowhere(net, name):
    with pytest.raises(ValueError, match=f"^deeplift: rules has a rule for {WRONG[name]}"):
        jv.deeplift(*net, target=1, rules={name: leave})
    with pytest.raises(ValueError, match=f"^lrp: composite.primitives has a rule for {WRONG[name]}"):
        jv.lrp(*net, target=1, composite=Composite(primitives={name: RULE}))


def test_every_method_with_rules_says_its_own_name(net):
    model, x = net
    with pytest.raises(ValueError, match=r"^deep_shap: rules has a rule for 'tanhh', which"):
        jv.deep_shap(model, x, baselines=x, target=1, rules={"tanhh": leave})
    with pytest.raises(ValueError, match=r"^relevance_report: composite\.primitives has a rule for 'tanhh', which"):
        jv.relevance_report(model, x, target=1, composite=Composite(primitives={"tanhh": RULE}))
    with pytest.raises(ValueError, match=r"^relevance_report: layer 'three' not found; layers: one, two"):
        jv.relevance_report(model, x, target=1, composite=Composite(layers={"three": RULE}))
    several = Composite(primitives={"split": RULE})
    for function, composite, words in (
        (lambda x: jnp.fft.fft(x).real, Composite(), "no rule for the primitive 'fft', through which"),
        (lambda x: x[:, :1] ** x[:, 1:], Composite(), "no rule for the primitive 'pow' of several values"),
        (lambda x: jnp.split(x, 2, axis=1)[0], several, "a rule for 'split', which has several results"),
    ):
        model = jv.Model.from_function(lambda params, x, function=function: function(x).sum(axis=1), ())
        for method in (jv.lrp, jv.relevance_report):
            with pytest.raises(ValueError, match=f"^{method.__name__}: {words}"):
                method(model, x, composite=composite)


def test_names_that_other_networks_have(net):
    model, x = net
    plain = jv.deeplift(model, x, target=1)
    rules = dict.fromkeys((*CALLED, *ELSEWHERE), leave)
    np.testing.assert_array_equal(jv.deeplift(model, x, target=1, rules=rules), plain)
    names = dict.fromkeys(ELSEWHERE, Pass())
    composite = Composite({"Conv": RULE, "LSTMCell": RULE, "Elsewhere": RULE, "pooling": RULE}, primitives=names)
    np.testing.assert_array_equal(jv.lrp(model, x, target=1, composite=composite), jv.lrp(model, x, target=1))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("Densee", "nor a class of modules; this model has 'Dense'; did you mean 'Dense'?"),
        ("dense_", "did you mean 'dense'?"),
        ("Convolution", "did you mean 'convolution'?"),
        ("linear", "nor a class of modules; this model has 'Dense'"),
        ("one", "nor a class of modules; this model has 'Dense'"),  # a layer, which `layers` is for
    ],
)
@pytest.mark.parametrize("argument", ["rules", "first"])
def test_kinds_of_layers_that_are_nowhere(net, argument, kind, words):
    start = (
        rf"lrp: composite\.{argument} has a rule for the kind {kind!r}, which is neither an operation \('convolution', "
    )
    with pytest.raises(ValueError, match=f"^{start}.*{re.escape(words)}"):
        jv.lrp(*net, target=1, composite=Composite(**{argument: {kind: RULE}}))


def test_only_linear_layers_are_first():
    with pytest.raises(
        ValueError, match=r"^Composite: first is for linear layers: 'convolution', 'dense' or a class of"
    ):
        Composite(first={"pooling": RULE})
