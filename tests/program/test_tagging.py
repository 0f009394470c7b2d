"""Values made layers from outside, and where the values of a program come from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz.program import Key, evaluate, tag, trace
from jaxviz.program.flow import Flow, Value, ancestors
from jaxviz.program.tagging import tagged

X = jnp.arange(1.0, 5.0).reshape(2, 2)


def wrapped(kind, function):
    """A function that is called in one of the ways that a program has."""
    if kind == "scan":
        return lambda x: jax.lax.scan(lambda x, _: (function(x), x), x, None, length=3)[0]
    if kind == "cond":
        return lambda x: jax.lax.cond(x.sum() > 0, function, lambda x: x, x)
    if kind == "while":
        return lambda x: jax.lax.while_loop(lambda x: x.sum() > 100, function, x)
    own = jax.custom_jvp(function)
    own.defjvp(lambda primals, tangents: jax.jvp(function, primals, tangents))
    return {"plain": function, "jit": jax.jit(function), "checkpoint": jax.checkpoint(function), "custom_jvp": own}[
        kind
    ]


KINDS = ["plain", "jit", "checkpoint", "custom_jvp", "scan", "cond", "while"]


def sine(program):
    """The place of the only sine."""
    flow = Flow(program)
    places = [
        flow.place(Value(node, step.equations[0].outvars[0]))
        for node, step in flow.steps
        if step.equations[0].primitive.name == "sin"
    ]
    (place,) = places
    return place


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_is_tagged_wherever_it_stands(kind):
    function = wrapped(kind, jax.jit(lambda x: jnp.sin(x) * 2))
    program = trace(function, X)
    named = lambda x: tagged(program, [x], {sine(program): "sine"})
    np.testing.assert_array_equal(named(X), function(X))
    if kind != "while":  # has no derivative
        np.testing.assert_allclose(*(jax.grad(lambda x, f=f: f(x).sum())(X) for f in (named, function)), rtol=1e-6)
    again = trace(named, X)
    (site,) = again.sites.values()
    assert site.key == Key("sine")
    assert site.looped == (kind == "while")
    if kind != "while":
        found = evaluate(again, [X], capture=[site.key])[1][site.key]
        first = found[0] if kind == "scan" else found
        np.testing.assert_allclose(first, jnp.sin(X), rtol=1e-6)


def test_only_what_is_named_is_tagged():
    program = trace(lambda x: jax.jit(jnp.sin)(x) + jax.jit(jnp.sin)(x * 2), X)
    flow = Flow(program)
    # The two calls hold the same program: each is a place of its own.
    second = [flow.place(Value(node, step.equations[0].outvars[0])) for node, step in flow.steps if step.nodes][1]
    again = trace(lambda x: tagged(program, [x], {second: "second"}), X)
    np.testing.assert_allclose(
        evaluate(again, [X], capture=[Key("second")])[1][Key("second")], jnp.sin(X * 2), rtol=1e-6
    )


def test_ancestors_are_seen_through_calls():
    def function(params, x, y):
        hidden = jax.jit(jnp.multiply)(params, x)
        return tag({"a": jnp.tanh(hidden), "b": y}, "pair")["a"] + 1

    program = trace(function, X, X, X)
    flow = Flow(program)
    (result,) = program.root.jaxpr.outvars
    roots = {value.atom for value, place in ancestors(flow, Value(program.root, result)) if place is None}
    params, x, _ = program.root.jaxpr.invars
    assert roots == {params, x}  # not what is marked beside it


@pytest.mark.parametrize("reverse", [False, True])
def test_what_enters_a_scan(reverse):
    def function(constant, init, slices):
        return jax.lax.scan(lambda x, y: (x * constant + y, None), init, slices, reverse=reverse)[0]

    program = trace(function, X, X, X[None])
    flow = Flow(program)
    (step,) = [step for _, step in flow.steps if step.nodes]
    (body,) = step.nodes
    constant, carry, slices = (Value(body, var) for var in body.jaxpr.invars)
    outside = program.root.jaxpr.invars
    assert flow.entrance(constant) == Value(program.root, outside[0])
    assert flow.entrance(carry) is None  # it changes from step to step
    assert flow.entrance(slices) == Value(program.root, outside[2])
