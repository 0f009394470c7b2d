"""Operations that JAX cannot differentiate: which they are, where, and rules of one's own for them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.rules import Composite, pairs

INPUTS = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)


def host_sine(x):
    kind = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return jax.pure_callback(lambda value: np.sin(np.asarray(value)), kind, x, vmap_method="sequential")


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x):
        return host_sine(nn.Dense(3, name="dense")(x))


class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2, name="head")(nn.relu(Inner(name="inner")(x)))


@pytest.fixture(scope="module")
def model():
    return jv.Model.from_linen(Network(), Network().init(jax.random.key(0), INPUTS))


METHODS = {
    "gradient": jv.gradient,
    "integrated_gradients": jv.integrated_gradients,
    "guided_backprop": jv.guided_backprop,
    r"at_layer\(gradient\)": jv.at_layer(jv.gradient, "inner/dense"),
    r"smooth\(saliency\)": lambda *args, **settings: jv.smooth(jv.saliency, samples=2, noise=0.1)(
        *args, key=jax.random.key(0), **settings
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_what_has_no_derivative_is_named(model, name):
    words = rf"{name}: no derivative of the primitive 'pure_callback' \(layer 'inner' \(Inner\)\), through which .*custom_vjp"
    with pytest.raises(ValueError, match=words) as caught:
        METHODS[name](model, INPUTS, target=1)
    assert "jaxviz.feature_ablation" in str(caught.value)
    assert "Pure callbacks do not support JVP" in str(caught.value.__cause__)
    assert np.isfinite(jv.feature_ablation(model, INPUTS, target=1)).all()  # what the message tells to do


def test_inside_of_a_jitted_function_and_a_grid():
    network = lambda params, images: host_sine(jv.tag(images * 2, "grid")).sum((1, 2))
    images = jnp.ones((1, 4, 4, 2))
    model = jv.Model.from_function(network, ())
    words = r"no derivative of the primitive 'pure_callback' \(the model itself, outside of its layers\)"
    with pytest.raises(ValueError, match=f"grad_cam: {words}"):
        jv.grad_cam(model, images, layer="grid", target=1)
    with pytest.raises(ValueError, match=f"gradient: {words}"):
        jax.jit(lambda images: jv.gradient(model, images, target=1))(images)


def test_only_what_the_message_is_of_is_named():
    """A callback that the inputs do not reach, one behind `stop_gradient`, and a loop that cannot be run backwards."""

    def network(params, x):
        fixed = host_sine(params) + host_sine(jax.lax.stop_gradient(x)).mean(axis=0)
        doubled = jax.lax.while_loop(lambda carry: carry[0] < 3, lambda carry: (carry[0] + 1, 2 * carry[1]), (0, x))[1]
        return (doubled * fixed[None]).sum(axis=1)

    model = jv.Model.from_function(network, jnp.ones(4))
    with pytest.raises(
        ValueError, match=r"saliency: no derivative of the primitive 'while' \(the model itself"
    ) as caught:
        jv.saliency(model, INPUTS)
    assert "'pure_callback'" not in str(caught.value)


def test_other_errors_are_as_they_were(model):
    with pytest.raises(ValueError, match=r"^gradient: target 7 is out of range"):
        jv.gradient(model, INPUTS, target=7)
    with pytest.raises(TypeError, match=r"gradient\(\) missing 1 required positional argument"):
        jv.gradient(model)


def test_rules_of_ones_own_do_without_a_derivative(model):
    with pytest.raises(
        ValueError, match=r"lrp: no rule for the primitive 'pure_callback'.* in layer 'inner' \(Inner\)"
    ):
        jv.lrp(model, INPUTS, target=1)
    composite = Composite(primitives={"pure_callback": lambda layer, x, relevance: relevance})
    found = jv.lrp(model, INPUTS, target=1, composite=composite)

    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), model.params["params"])
    dense, head = params["inner"]["dense"], params["head"]
    x = np.asarray(INPUTS, np.float64)
    z = x @ dense["kernel"] + dense["bias"]
    shown = np.maximum(np.sin(z), 0)
    score = shown @ head["kernel"][:, 1] + head["bias"][1]
    relevance = shown * head["kernel"][:, 1]  # of the epsilon rule with epsilon 0: the bias takes its share
    relevance *= (score / (score + 1e-6 * np.sign(score)))[:, None]
    stabilized = z + 1e-6 * np.where(z >= 0, 1, -1)
    expected = x * ((relevance / stabilized) @ dense["kernel"].T)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())

    def secant(equation, operands, where):
        (x,) = operands
        value, reference = (host_sine(jax.lax.stop_gradient(each)) for each in (x.value, x.reference))
        slope = jax.lax.stop_gradient((value - reference) / x.difference)
        return [pairs.pair(value, reference, slope * x.value + jax.lax.stop_gradient(value - slope * x.value))]

    found = jv.deeplift(model, INPUTS, target=1, rules={"pure_callback": secant})
    difference = model(INPUTS)[:, 1] - model(jnp.zeros_like(INPUTS))[:, 1]
    np.testing.assert_allclose(found.sum(axis=1), difference, rtol=1e-4, atol=1e-6)
