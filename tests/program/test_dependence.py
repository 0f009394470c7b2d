"""Which results depend on which arguments, through calls, loops and branches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz.program.dependence import last_primitive, reached


def everything(a, b, c, d):
    carry, steps = jax.lax.scan(lambda s, x: ((s[1], s[0] * x), x), (a, b), jnp.ones(3))
    looped = jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * 2), (c, d))
    chosen = jax.lax.cond(a > 0, lambda: b * 1.0, lambda: c * 1.0)
    remat = jax.checkpoint(lambda x: jnp.sin(x))(d)
    return carry[0], carry[1], steps, looped[0], looped[1], chosen, jax.nn.relu(jax.jit(jax.nn.sigmoid)(d)), remat, 3.0


# the arguments that each result depends on
EXPECTED = ["ab", "ab", "", "c", "cd", "abc", "d", "d", ""]


@pytest.mark.parametrize("number", range(4))
def test_everything(number):
    jaxpr = jax.make_jaxpr(everything)(*[jnp.float32(2)] * 4).jaxpr
    found = reached(jaxpr, [index == number for index in range(4)])
    assert found == ["abcd"[number] in names for names in EXPECTED]


def test_nothing_changes_where_no_dependence_is_told():
    # Where the program says that a result does not depend on an argument, another value of it changes nothing.
    values = [jnp.float32(2), jnp.float32(-3), jnp.float32(0.5), jnp.float32(1.5)]
    results = jax.jit(everything)(*values)
    for number in range(4):
        moved = [value + (5 if index == number else 0) for index, value in enumerate(values)]
        for names, before, after in zip(EXPECTED, results, jax.jit(everything)(*moved), strict=True):
            if "abcd"[number] not in names:
                np.testing.assert_array_equal(before, after)


def test_equations_that_do_not_pass():
    jaxpr = jax.make_jaxpr(lambda x: (jnp.round(x), jax.jit(lambda x: jnp.round(x) + x)(x)))(1.0).jaxpr
    asked = []

    def passes(equation, result):
        asked.append(equation.primitive.name)
        return equation.primitive.name != "round"

    assert reached(jaxpr, [True], passes) == [False, True]
    assert asked == ["round", "round", "add"]


def test_last_primitive():
    def apply(x):
        return (
            jax.nn.sigmoid(x).reshape(1, -1),
            jax.jit(lambda x: (x, jnp.tanh(x)))(x)[1][None],
            jax.jit(lambda x: x)(jnp.tanh(x)),
            jax.nn.softmax(x),
            x.T,
            jax.lax.scan(lambda s, x: (s, x + s), 0.0, x)[1],
            1.0,
        )

    jaxpr = jax.make_jaxpr(apply)(jnp.ones(3)).jaxpr
    names = [last_primitive(jaxpr, atom) for atom in jaxpr.outvars]
    assert names == ["logistic", "tanh", "tanh", "div", "", "scan", ""]
