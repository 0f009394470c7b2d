"""The traced program and its evaluation, on functions with tags."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import jaxviz as jv
from jaxviz.program import INPUT, Edit, Key, evaluate, mark, tag, trace

X = jnp.arange(6.0).reshape(2, 3)


def test_tag_is_the_identity():
    value = {"a": X, "b": (X + 1, None, 3)}
    tagged = tag(value, "name")
    assert str(jax.tree.structure(tagged)) == str(jax.tree.structure(value))
    np.testing.assert_array_equal(tagged["b"][0], X + 1)
    np.testing.assert_array_equal(jax.grad(lambda x: tag(x, "x").sum())(X), jnp.ones((2, 3)))
    np.testing.assert_array_equal(jax.vmap(lambda x: tag(x, "x"))(X), X)


@pytest.mark.parametrize(
    ("name", "error"), [(3, TypeError), ("", ValueError), ("a::b", ValueError), ("a#1", ValueError)]
)
def test_tag_errors(name, error):
    with pytest.raises(error, match="tag: name must be"):
        tag(X, name)


def test_sites_in_order_of_execution():
    def function(x):
        x = mark(x, "outer", side=INPUT, kind="Outer")
        for _ in range(2):
            x = tag(jnp.sin(x), "inner")
        return mark({"x": x, "none": None}, "outer", kind="Outer")

    program = trace(function, X)
    assert list(program.sites) == [
        Key("outer", "input"),
        Key("inner"),
        Key("inner#1"),
        Key("outer"),
    ]
    assert program.sites[Key("outer")].flops == program.flops == 12
    assert program.sites[Key("outer")].structure.kind == "Outer"
    outputs, captured = evaluate(program, [X], capture=[Key("outer"), Key("inner")])
    assert outputs.keys() == captured[Key("outer")].keys() == {"x", "none"}
    np.testing.assert_allclose(captured[Key("inner")], np.sin(X), rtol=1e-6)


def test_names_of_others_are_layers_too():
    """What a user names for a rematerialisation policy, whatever its text, breaks nothing."""
    program = trace(lambda x: checkpoint_name(checkpoint_name(x, "a::b::c::d") * 2, "mine"), X)
    assert list(program.sites) == [Key("a::b::c::d"), Key("mine")]


def test_half_marked_values_are_no_layers():
    """Of a marked pair only one half is left in this program: it cannot be read, and nothing breaks."""

    def function(x):
        pair = jax.make_jaxpr(lambda x: mark((x, x + 1), "pair"))(x)
        names = [equation for equation in pair.jaxpr.eqns if equation.primitive.name == "name"]
        return tag(checkpoint_name(x, names[1].params["name"]) + checkpoint_name(x, names[0].params["name"]), "end")

    program = trace(function, X)
    assert list(program.sites) == [Key("end")]
    np.testing.assert_array_equal(evaluate(program, [X])[0], 2 * X)


def test_only_what_is_needed_is_evaluated():
    def function(x):
        first = tag(jnp.sin(x), "first")
        return jnp.cos(first) @ jnp.ones((3, 1000))

    program = trace(jax.jit(function), X)
    partial = jax.make_jaxpr(lambda x: evaluate(program, [x], capture=[Key("first")], outputs=False)[1][Key("first")])(
        X
    )
    assert "sin" in str(partial)
    assert "dot_general" not in str(partial)


def test_unnamed_equations_stay_as_they_are():
    """A call that holds no layer of interest is executed whole, its derivative rule included."""

    def function(x):
        return tag(jax.nn.relu(x), "relu") * 2

    program = trace(function, X)
    jaxpr = jax.make_jaxpr(lambda x: evaluate(program, [x], edits={Key("relu"): Edit("test", jnp.sin)})[0])(X)
    assert "custom_jvp_call" in str(jaxpr)


def test_edits_in_loops_and_conditionals():
    def function(x):
        x = jax.lax.fori_loop(0, x.astype(jnp.int32)[0, 0] + 3, lambda i, x: tag(x + 1, "loop"), x)
        x = jax.lax.cond(x.sum() > 0, lambda x: tag(x * 2, "yes"), lambda x: tag(x * 3, "no"), x)
        return jax.lax.scan(lambda c, s: (tag(c + s, "sum"), None), x, jnp.ones((4, 2, 3)))[0]

    program = trace(function, X)

    def run(name: str, change: Any) -> Any:
        return jax.jit(lambda x: evaluate(program, [x], edits={Key(name): Edit("test", change)})[0])(X)

    np.testing.assert_array_equal(evaluate(program, [X])[0], (X + 3) * 2 + 4)
    np.testing.assert_array_equal(run("loop", lambda value: value + 1), (X + 6) * 2 + 4)
    np.testing.assert_array_equal(run("yes", lambda value: value - 1), (X + 3) * 2 + 3)
    np.testing.assert_array_equal(run("no", lambda value: value - 1), (X + 3) * 2 + 4)
    np.testing.assert_array_equal(run("sum", lambda value: value + 1), (X + 3) * 2 + 8)


def test_random_keys_and_effects_pass():
    seen: list[float] = []

    def apply(params, x):
        jax.debug.callback(lambda value: seen.append(float(value)), x.sum())
        key = jax.random.split(params["key"])[0]
        return tag(x + jax.random.normal(key, x.shape), "noisy") * 2

    model = jv.Model.from_function(apply, {"key": jax.random.key(3)})
    tail, noisy = model.since("noisy", X)
    np.testing.assert_array_equal(tail(noisy), model(X))
    jax.effects_barrier()
    assert len(seen) >= 1
    assert set(seen) == {15.0}
