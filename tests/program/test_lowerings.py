"""Lowerings: equal to the plain program in value and in derivatives, ties included."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxviz.program import lowerings


def names(function: Any, *args: Any) -> set[str]:
    """The primitives of a function's program, inner programs and what is chosen on CPU included."""

    def walk(jaxpr: Any) -> set[str]:
        found = set()
        for equation in jaxpr.eqns:
            if "branches" in equation.params:  # of platform_dependent: the first is that for CPU
                found |= walk(equation.params["branches"][0].jaxpr)
            else:
                found.add(equation.primitive.name)
                for value in equation.params.values():
                    found |= walk(value.jaxpr) if hasattr(value, "jaxpr") else set()
        return found

    return walk(jax.make_jaxpr(function)(*args).jaxpr)


POOLINGS: list[Any] = [
    ((2, 7, 7, 2), (2, 2), (2, 2), "VALID"),
    ((2, 9, 8, 2), (3, 3), (2, 2), "SAME"),
    ((1, 6, 6, 1), (3, 3), (1, 1), ((1, 1), (0, 2))),
    ((2, 9, 3), (3,), (2,), ((1, 1),)),
    ((2, 9, 3), (3,), (3,), ((2, 1),)),
    ((1, 4, 4, 4, 2), (2, 2, 2), (2, 2, 2), "VALID"),
]


@pytest.mark.parametrize(("shape", "window", "strides", "padding"), POOLINGS)
def test_max_pool(shape, window, strides, padding):
    x = jnp.round(jax.random.normal(jax.random.key(0), shape))  # rounded, so that windows have several maxima
    pool = lambda x: nn.max_pool(x, window, strides, padding)
    weights = jax.random.normal(jax.random.key(1), pool(x).shape)
    plain = jax.grad(lambda x: (weights * pool(x) ** 2).sum())
    lowered = lowerings.lowered(plain)
    np.testing.assert_allclose(jax.jit(lowered)(x), plain(x), atol=1e-6)
    assert "select_and_scatter_add" in names(plain, x)
    assert "select_and_scatter_add" not in names(lowered, x)
    batch = jnp.stack([x, 1 - x])
    np.testing.assert_allclose(jax.jit(jax.vmap(lowered))(batch), jax.vmap(plain)(batch), atol=1e-6)
    np.testing.assert_allclose(jax.jit(lowerings.lowered(jax.vmap(plain)))(batch), jax.vmap(plain)(batch), atol=1e-6)


LAST = {3: ("NWC", "WIO", "NWC"), 4: ("NHWC", "HWIO", "NHWC"), 5: ("NDHWC", "DHWIO", "NDHWC")}
# shape, kernel with its inputs and outputs, groups, strides, padding, dilation of the operand, dilation of the kernel, layout
CONVOLUTIONS: dict[str, Any] = {
    "from one channel": ((2, 8, 8, 1), (3, 3, 1, 16), 1, (1, 1), "SAME", (1, 1), (1, 1), None),
    "from three, with stride": ((2, 9, 8, 3), (3, 3, 3, 32), 1, (2, 2), "SAME", (1, 1), (1, 1), None),
    "from two, uneven": ((2, 9, 8, 2), (5, 3, 2, 32), 1, (2, 1), "VALID", (1, 1), (1, 2), None),
    "from three, channels first": ((2, 3, 9, 8), (32, 3, 3, 3), 1, (2, 1), "SAME", (1, 1), (1, 1), ("NCHW", "OIHW", "NCHW")),
    "a series, causal": ((2, 9, 2), (3, 2, 8), 1, (1,), ((2, 0),), (1,), (1,), None),
    "to two channels": ((2, 7, 8, 16), (3, 3, 16, 2), 1, (1, 1), "SAME", (1, 1), (2, 1), None),
    "transposed, to two": ((2, 5, 6, 16), (3, 3, 16, 2), 1, (1, 1), ((2, 2), (1, 3)), (2, 3), (1, 1), None),
    "of one place": ((2, 5, 4, 6), (1, 1, 6, 8), 1, (1, 1), "VALID", (1, 1), (1, 1), None),
    "depthwise": ((2, 7, 8, 6), (3, 3, 1, 6), 6, (1, 1), "SAME", (1, 1), (1, 1), None),
    "depthwise, with stride": ((2, 9, 8, 6), (5, 3, 1, 6), 6, (2, 3), "SAME", (1, 1), (1, 1), None),
    "depthwise, dilated": ((2, 9, 9, 5), (3, 3, 1, 5), 5, (2, 1), "SAME", (1, 1), (2, 3), None),
    "depthwise, two of each": ((2, 7, 7, 4), (3, 3, 1, 8), 4, (2, 2), "SAME", (1, 1), (1, 1), None),
    "depthwise, channels first": ((2, 6, 9, 8), (6, 1, 3, 5), 6, (1, 2), "SAME", (1, 1), (1, 1), ("NCHW", "OIHW", "NCHW")),
    "depthwise, cropped": ((2, 9, 8, 3), (3, 3, 1, 3), 3, (1, 1), ((-1, 2), (0, -1)), (1, 1), (1, 1), None),
    "depthwise, transposed": ((2, 5, 4, 3), (3, 2, 1, 3), 3, (1, 1), ((1, 3), (0, 2)), (2, 3), (1, 1), None),
    "depthwise, transposed and dilated": ((2, 5, 4, 3), (3, 3, 1, 3), 3, (1, 1), ((5, 4), (1, 6)), (2, 2), (2, 3), None),
    "depthwise series": ((2, 11, 4), (3, 1, 4), 4, (2,), ((2, 0),), (1,), (1,), None),
    "depthwise volume": ((1, 4, 5, 6, 3), (3, 3, 2, 1, 3), 3, (1, 2, 1), "SAME", (1, 1, 1), (1, 1, 1), None),
}  # fmt: skip


def convolution(name: str) -> Any:
    shape, kernel_shape, groups, strides, padding, holes, dilation, layout = CONVOLUTIONS[name]
    x = jax.random.normal(jax.random.key(0), shape)
    kernel = jax.random.normal(jax.random.key(1), kernel_shape)
    conv = functools.partial(
        lax.conv_general_dilated,
        window_strides=strides,
        padding=padding,
        lhs_dilation=holes,
        rhs_dilation=dilation,
        dimension_numbers=layout or LAST[len(shape)],
        feature_group_count=groups,
    )
    return conv, x, kernel


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name):
    conv, x, kernel = convolution(name)
    lowered = lowerings.lowered(conv)
    assert "conv_general_dilated" not in names(lowered, x, kernel)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    close(jax.jit(lowered)(x, kernel), conv(x, kernel))
    # The derivative's program, which has convolutions of other forms, and the derivative of the faster way itself.
    square = lambda conv: lambda x, kernel: jnp.square(conv(x, kernel)).sum()
    wanted = jax.grad(square(conv), (0, 1))(x, kernel)
    both = jax.jit(
        lambda *args: (lowerings.call(jax.grad(square(conv)), *args), jax.grad(square(lowered), (0, 1))(*args))
    )
    of_program, of_way = both(x, kernel)
    close(of_program, wanted[0], rtol=1e-4, atol=1e-4)
    jax.tree.map(functools.partial(close, rtol=1e-4, atol=1e-4), of_way, wanted)


def test_derivatives_of_a_depthwise_network_have_no_convolution():
    conv, x, kernel = convolution("depthwise, with stride")
    derivative = jax.grad(lambda x: jnp.square(conv(x, kernel)).sum())
    assert "conv_general_dilated" in names(derivative, x)
    assert "conv_general_dilated" not in names(lowerings.lowered(derivative), x)
    batch = jnp.stack([x, 2 * x])
    mapped = jax.vmap(derivative)
    assert "conv_general_dilated" not in names(lowerings.lowered(mapped), batch)
    np.testing.assert_allclose(lowerings.call(mapped, batch), mapped(batch), rtol=1e-4, atol=1e-4)


def test_what_has_no_lowering_stays():
    x = jnp.ones((1, 8, 8, 8))
    module = nn.Conv(8, (3, 3))
    params = module.init(jax.random.key(0), x)
    assert "conv_general_dilated" in names(lowerings.lowered(lambda x: module.apply(params, x)), x)
    integers = jnp.arange(16).reshape(1, 4, 4, 1)
    pool = lambda x: lax.reduce_window(x, -1, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    np.testing.assert_array_equal(lowerings.call(pool, integers)[0, :, :, 0], [[5, 7], [13, 15]])


def test_what_is_no_array_is_part_of_the_program():
    function = lowerings.lowered(lambda x, *, power, names: dict.fromkeys(names, x**power))
    found = jax.jit(function, static_argnames=("power", "names"))(np.float32(3), power=2, names=("a", "b"))
    assert {name: float(value) for name, value in found.items()} == {"a": 9, "b": 9}
