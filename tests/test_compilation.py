"""`jit` with compiler options: what it computes, and that it can be used wherever `jax.jit` can."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz.compilation import jit

TRACES = 0


@functools.partial(jit, static_argnames="power")
def raised(x, power=2):
    global TRACES
    TRACES += 1
    return x**power


@functools.partial(jit, donate_argnums=0)
def moved(x, by):
    return x + by


X = np.linspace(1, 2, 4, dtype=np.float32)


@pytest.mark.parametrize(
    "use",
    {
        "plain": lambda x: raised(x, power=3),
        "jit": jax.jit(lambda x: raised(x, power=3)),
        "constant inside jit": lambda x: jax.jit(lambda: raised(jnp.asarray(x), power=3))(),
        "vmap": jax.vmap(lambda x: raised(x, power=3)),
        "value and grad": lambda x: jax.vmap(jax.value_and_grad(lambda x: raised(x, power=3)))(x)[0],
        "jvp": lambda x: jax.jvp(lambda x: raised(x, power=3), (x,), (x,))[0],
        "scan": lambda x: jax.lax.scan(lambda carry, x: (carry, raised(x, power=3)), 0, x)[1],
        "jaxpr": lambda x: jax.core.eval_jaxpr(*(lambda j: (j.jaxpr, j.consts))(jax.make_jaxpr(raised)(x)), x)[0] * x,
    }.items(),
    ids=lambda pair: pair[0],
)
def test_wherever_jit_can_be_used(use):
    np.testing.assert_allclose(use[1](jnp.asarray(X)), X**3, rtol=1e-6)


def test_second_call_traces_nothing():
    raised(jnp.asarray(X), power=4)
    before = TRACES
    raised(jnp.asarray(X) + 1, power=4)
    assert before == TRACES


def test_donates():
    given = jnp.asarray(X)
    moved(given, 1.0)
    assert given.is_deleted()


def test_donates_nothing_where_it_is_mapped():
    # What has no mapped axis cannot become what has one: JAX would warn, and warnings are errors here.
    found = jax.vmap(lambda by: moved(jnp.zeros(4), by))(jnp.asarray(X))
    assert np.array_equal(found, np.repeat(X[:, None], 4, axis=1))


def test_a_part_of_a_program_is_lowered_with_it_and_not_before():
    kernel = jnp.ones((3, 3, 1, 8))
    numbers = ("NHWC", "HWIO", "NHWC")
    convolved = jit(
        lambda x: jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=8
        )
    )
    slope = lambda x: jax.grad(lambda x: (convolved(x) ** 2).sum())(x)
    images = jnp.ones((1, 6, 6, 8))
    ways = lambda function: str(jax.make_jaxpr(function)(images)).count("platform_index")
    np.testing.assert_allclose(jit(slope)(images), jax.jit(slope)(images), rtol=1e-5)
    assert ways(jit(convolved)) == ways(convolved) > 0
    # Of the derivative, one way forwards and one backwards: not the derivative of the other way forwards.
    assert ways(jit(slope)) == 2 * ways(convolved)
