import flax.linen as nn
import jax
import jax.numpy as jnp

import jaxviz as jv
from jaxviz.program.sources import sources_of


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + nn.Dense(4, name="inner")(x)


class Residual(nn.Module):
    @nn.compact
    def __call__(self, x):
        block = nn.remat(Block)(name="block")
        return nn.Dense(2, name="head")(jax.nn.relu(block(block(nn.Dense(4, name="stem")(x)))))


def sources(module, inputs):
    variables = module.init(jax.random.key(0), *(inputs if isinstance(inputs, tuple) else (inputs,)))
    return {layer.path: layer.sources for layer in jv.Model.from_linen(module, variables).layers(inputs)}


def test_what_bypasses_a_layer_is_a_source_of_the_block():
    assert sources(Residual(), jnp.ones((1, 3))) == {
        "stem": ("",),
        "block/inner": ("stem",),
        "block": ("stem", "block/inner"),
        "block/inner#1": ("block",),
        "block#1": ("block", "block/inner#1"),
        "head": ("block#1",),
    }


def test_several_inputs_and_values_without_any():
    class Two(nn.Module):
        @nn.compact
        def __call__(self, a, b):
            constant = jv.tag(jnp.zeros((1, 2)), "constant")
            return nn.Dense(2, name="out")(nn.Dense(2, name="a")(a) * nn.Dense(2, name="b")(b) + constant)

    found = sources(Two(), (jnp.ones((1, 3)), jnp.ones((1, 5))))
    assert found == {"constant": (), "a": ("",), "b": ("",), "out": ("constant", "a", "b")}


def test_loops_and_branches():
    def scanned(x, y):
        def body(carry, row):
            return (carry[1], jv.tag(row, "row")), jv.tag(carry[0] * 2, "late")

        carry, rows = jax.lax.scan(body, (x[0], x[1]), y)
        return jv.tag(carry[0], "carried"), jv.tag(rows, "rows")

    x, y = jnp.ones((2, 3)), jnp.ones((5, 3))
    found = sources_of(jv.program.trace(scanned, x, y), 1)  # x is a parameter
    # What a step brings back reaches the carry two steps later.
    assert found == {"row": ("",), "late": ("row",), "carried": ("row",), "rows": ("late",)}

    def chosen(index, x):
        left, right = jv.tag(2 * x, "left"), jv.tag(3 * x, "right")
        branch = jax.lax.cond(jv.tag(index, "index") > 0, lambda a, b: a, lambda a, b: jnp.ones(3), left, right)
        looped = jax.lax.while_loop(lambda a: a.sum() < 9, lambda a: a + right, jnp.zeros(3))
        return jv.tag(branch, "branch"), jv.tag(looped, "looped")

    found = sources_of(jv.program.trace(chosen, 1, jnp.ones(3)), 2)
    assert found["branch"] == ("left", "index")
    assert found["looped"] == ("right",)
