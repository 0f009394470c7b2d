"""What arguments enter first: through shapes, calls and loops, and where an argument is itself a result."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import jaxviz as jv
from jaxviz.program.entrances import entrances

W = jnp.ones((3, 2))


def scanned(x: jax.Array) -> jax.Array:
    return jax.lax.scan(lambda carry, row: (carry + row, None), jnp.zeros(3), x)[0]


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (lambda x: x @ W, {"dot_general"}),
        (lambda x: jnp.tanh(x.T.reshape(3, 2).T @ W), {"dot_general"}),
        (lambda x: jax.jit(lambda y: jv.tag(y, "inner") @ W)(x) + x[:, :2], {"dot_general", "slice"}),
        (lambda x: jax.nn.relu(x) @ W, {"max"}),
        (lambda x: jax.checkpoint(jnp.sin)(x), {"sin"}),
        (scanned, {"scan"}),
        (lambda x: x.astype(jnp.bfloat16) @ W.astype(jnp.bfloat16), {"convert_element_type"}),
        (lambda x: (x.T, x @ W), {"result", "dot_general"}),
        (lambda x: jnp.ones(3) @ W, set()),
    ],
)
def test_what_arguments_enter(function: Any, names: set[str]):
    assert entrances(jax.make_jaxpr(function)(jnp.ones((2, 3))), [True]) == names
