"""Layer records: shapes, parameter counts and FLOPs, against values by hand."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import jaxviz as jv
from jaxviz.layers import size

KEY = jax.random.key(0)


def records(module: Any, *inputs: Any, **keywords: Any) -> dict[str, Any]:
    model = jv.Model.from_linen(module, module.init(KEY, *inputs), **keywords)
    return {layer.path: layer for layer in model.layers(inputs)}


@pytest.mark.parametrize(
    ("layer", "shape", "parameters", "flops"),
    [
        (nn.Dense(5), (2, 4), 4 * 5 + 5, 2 * 2 * 4 * 5 + 2 * 5),
        (nn.Dense(5, use_bias=False), (2, 3, 4), 20, 2 * 6 * 4 * 5),
        (nn.Conv(6, (3, 3), use_bias=False), (2, 8, 8, 4), 9 * 4 * 6, 2 * (2 * 8 * 8 * 6) * (9 * 4)),
        (nn.Conv(6, (3, 3), padding="VALID"), (2, 8, 8, 4), 9 * 4 * 6 + 6, 2 * (2 * 36 * 6) * (9 * 4) + 2 * 36 * 6),
        (nn.Conv(6, (3, 3), strides=2, use_bias=False), (1, 8, 8, 4), 216, 2 * (16 * 6) * 36),
        (nn.Conv(8, (3, 3), feature_group_count=4, use_bias=False), (1, 8, 8, 4), 72, 2 * (64 * 8) * 9),
        (nn.Conv(6, (3,), use_bias=False), (1, 8, 4), 72, 2 * (8 * 6) * 12),
        (nn.Embed(7, 4), (2, 3), 28, None),
    ],
)
def test_flops_and_parameters(layer, shape, parameters, flops):
    class Net(nn.Module):
        inner: Any

        @nn.compact
        def __call__(self, x):
            return self.inner(x)

    x = jnp.zeros(shape, jnp.int32 if isinstance(layer, nn.Embed) else jnp.float32)
    record = records(Net(layer), x)["inner"]
    assert record.parameters == parameters
    assert record.input_shape == shape
    assert record.nbytes == 4 * size(jnp.zeros(record.shape))[0]
    if flops is not None:
        assert record.flops == flops


def test_pooling_elementwise_and_reductions():
    class Pool(nn.Module):
        def __call__(self, x):
            return nn.max_pool(x, (2, 2), (2, 2))

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Pool()(x).reshape(2, -1).sum(axis=1)

    record = records(Net(), jnp.zeros((2, 8, 8, 3)))["Pool_0"]
    assert record.flops == 2 * 16 * 3 * 4
    elementwise = jv.Model.from_function(lambda params, x: jnp.sin(x) * x + jnp.max(x, axis=0, keepdims=True), {})
    from jaxviz import views

    assert views.program(elementwise, jnp.zeros((3, 4))).flops == 12 + 12 + 12 + 12


def test_scan_repeats():
    class Cell(nn.Module):
        @nn.compact
        def __call__(self, carry, _):
            return nn.Dense(4, use_bias=False)(carry), None

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.scan(Cell, variable_axes={"params": 0}, split_rngs={"params": True}, length=5)()(x, None)[0]

    found = records(Net(), jnp.zeros((2, 4)))
    for path in ("ScanCell_0/Dense_0", "ScanCell_0"):
        assert found[path].shape == (5, 2, 4)
        assert found[path].parameters == 5 * 16
        assert found[path].flops == 5 * 2 * 2 * 4 * 4


def test_reused_and_nested():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            shared = nn.Dense(4, name="shared")
            inner = nn.Sequential([shared, nn.tanh, shared, nn.Dense(4)])
            return jv.tag(inner(x), "end")

    found = records(Net(), jnp.zeros((2, 4)))
    assert [(path, layer.parameters, layer.depth, layer.kind) for path, layer in found.items()] == [
        ("shared", 20, 1, "Dense"),
        ("shared#1", 0, 1, "Dense"),
        ("Dense_0", 20, 1, "Dense"),
        ("Sequential_0", 40, 0, "Sequential"),
        ("end", 0, 0, "tag"),
    ]
    assert found["Sequential_0"].flops == 3 * (2 * 2 * 16 + 8) + 8
    assert found["end"].flops is None
    assert found["end"].input_shape is None


def test_wrapped_cells_have_their_parameters():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.RNN(nn.SimpleCell(3))(x)

    found = records(Net(), jnp.zeros((2, 5, 4)))
    assert [path for path in found if "." in path] == []
    assert found["RNN_0"].parameters == found["SimpleCell_0"].parameters == 4 * 3 + 3 * 3 + 3
    assert found["SimpleCell_0"].shape == ((5, 2, 3), (5, 2, 3))
    assert found["SimpleCell_0"].dtype == (jnp.float32, jnp.float32)


def test_most_expensive_branch_counts():
    def apply(params, x):
        return jax.lax.cond(x.sum() > 0, lambda x: x @ params, lambda x: x + 1, x)

    from jaxviz import views

    program = views.program(jv.Model.from_function(apply, jnp.eye(4)), jnp.zeros((2, 4)))
    assert program.flops >= 2 * 2 * 16
    assert program.flops <= 2 * 2 * 16 + 8 + 2  # the sum and the comparison


def test_nnx_and_attend():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)])

        def __call__(self, x):
            for layer in self.layers:
                x = layer(x)
            return self.layers[0](x)

    layers = jv.Model.from_nnx(Net(nnx.Rngs(0))).layers(jnp.zeros((2, 4)))
    assert [(layer.path, layer.parameters, layer.kind) for layer in layers] == [
        ("layers/0", 20, "Linear"),
        ("layers/1", 8, "BatchNorm"),
        ("layers/0#1", 0, "Linear"),
    ]

    class Tied(nn.Module):
        @nn.compact
        def __call__(self, ids):
            embed = nn.Embed(7, 4)
            return embed.attend(embed(ids))

    found = records(Tied(), jnp.zeros((2, 3), jnp.int32))
    assert found["Embed_0"].parameters == 28
    assert found["Embed_0.attend"].shape == (2, 3, 7)
    assert found["Embed_0.attend"].flops == 2 * 2 * 3 * 4 * 7


def test_shapes_in_place_of_arrays():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, other):
            return nn.Dense(3, dtype=jnp.bfloat16)(x) + nn.Dense(3, dtype=jnp.bfloat16)(other)

    x = jnp.zeros((2, 4))
    model = jv.Model.from_linen(Net(), Net().init(KEY, x, x))
    shape = jax.ShapeDtypeStruct((2, 4), jnp.float32)
    assert model.layers((shape, shape)) == model.layers((x, x))
    assert model.layers((x, x))[0].dtype == jnp.bfloat16
    shapes = model.with_params(jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), model.params))
    assert shapes.layers((shape, shape)) == model.layers((x, x))


def test_size():
    assert size({"a": jnp.zeros((2, 3), jnp.bfloat16), "b": [jnp.zeros(4), None, "text"]}) == (10, 28)
