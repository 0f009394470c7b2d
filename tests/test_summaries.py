"""The table of layers: what it counts, and how it reads."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

import jaxviz as jv


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.BatchNorm(use_running_average=True)(nn.Dense(4)(x))) + x


class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
        block = Block()
        return nn.Dense(2)(block(block(x)))


@pytest.fixture
def model():
    module = Network()
    return jv.Model.from_linen(module, module.init(jax.random.key(0), jnp.ones((1, 4))))


def test_totals(model):
    table = jv.summary(model, jax.ShapeDtypeStruct((3, 4), jnp.float32))
    assert table.parameters == (4 * 4 + 4) + (4 + 4) + (4 * 2 + 2)
    assert table.state == 4 + 4  # running mean and variance
    assert table.parameter_bytes == 4 * (table.parameters + table.state)
    assert table.input_bytes == 4 * 3 * 4
    # Two calls of the block (dense and norm, 3 x 4 each) and the head (3 x 2): 4 bytes a number.
    assert table.activation_bytes == 4 * (2 * (12 + 12) + 6)
    dense = 3 * 4 * (2 * 4 + 1)
    assert [layer.flops for layer in table.layers if layer.kind == "Dense"] == [dense, dense, 3 * 2 * (2 * 4 + 1)]


def test_tree_as_text(model):
    lines = str(jv.summary(model, jnp.ones((3, 4)))).splitlines()
    names = [line.split()[0] if line[0] not in "├└" else " ".join(line.split()[:2]) for line in lines[2:9]]
    assert names == [
        "Block_0",
        "├─ Dense_0",
        "└─ BatchNorm_0",
        "Block_0#1",
        "├─ Dense_0#1",
        "└─ BatchNorm_0#1",
        "Dense_0",
    ]
    assert "(3, 4)" in lines[2]
    assert "28" in lines[2]  # parameters of the block, those of its layers included
    assert "(shared)" in lines[5]
    assert "Parameters: 38" in lines
    assert len({line.index("(3, ") for line in lines[2:9]}) == 1  # columns are aligned


def test_html_has_the_same_rows(model):
    table = jv.summary(model, jnp.ones((3, 4)))
    markup = table._repr_html_()
    assert markup.count("<tr>") == 1 + len(table.layers)
    assert "(shared)" in markup
    assert "&lt;" not in markup


def test_units_are_scaled():
    module = nn.Dense(2048)
    variables = jax.eval_shape(module.init, jax.random.key(0), jnp.ones((1, 512)))
    model = jv.Model.from_function(lambda params, x: module.apply(params, x), variables)
    table = jv.summary(model, jax.ShapeDtypeStruct((1000, 512), jnp.float32))
    assert table.flops == 1000 * 2048 * (2 * 512 + 1)
    assert "FLOPs: 2.1G" in str(table)
    assert "Memory of activations: 0 B" in str(table)  # the root module is no layer
    assert "Memory of parameters: 4.01 MiB" in str(table)


def test_wants_a_model():
    with pytest.raises(TypeError, match=r"summary: model must be a jaxviz.Model, got Dense.*Model.from_linen"):
        jv.summary(nn.Dense(2), jnp.ones((1, 2)))
