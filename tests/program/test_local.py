"""A program at inputs of which a window is replaced, computed only where the window changes it: equal to the whole program."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import jaxviz as jv
from jaxviz.program import local
from jaxviz.program.patches import sizes
from jaxviz.program.spans import window_span


def normal(*shape):
    """Drawn by NumPy: JAX compiles a program for each shape."""
    return jnp.asarray(np.random.default_rng(shape).normal(size=shape).astype(np.float32))


def compare(function, params, inputs, sides, strides=None, gain=1.0, most=0.999, tolerance=1e-6):
    """At each place of a window of these sides (per axis after the batch; None for all of the axis).

    At least that gain in floating-point operations is reached.
    """
    lengths = inputs.shape[1:]
    strides = strides or [1] * len(lengths)
    starts = [
        np.array([0]) if side is None else np.arange(0, length - side + stride, stride)
        for length, side, stride in zip(lengths, sides, strides, strict=True)
    ]
    where = (
        None,
        *(
            None if side is None else window_span(axis, length, side, places)
            for axis, (length, side, places) in enumerate(zip(lengths, sides, starts, strict=True), 1)
        ),
    )
    # Each place of each axis at least once, not each with each.
    count = max(map(len, starts))
    numbers = np.stack([np.arange(count) * (axis + 1) % len(places) for axis, places in enumerate(starts)], axis=1)
    for axis, places in enumerate(starts):
        numbers[: len(places), axis] = np.roll(np.arange(len(places)), axis)
    replaced = np.random.default_rng(0).normal(scale=3, size=inputs.shape).astype(inputs.dtype)
    covered, first = np.repeat(np.asarray(inputs)[None], count, axis=0), np.zeros((count, len(lengths)), np.int32)
    for window, places in enumerate(numbers):
        part: list[slice] = [slice(None)]
        for axis, (side, place) in enumerate(zip(sides, places, strict=True)):
            start = starts[axis][place]
            part.append(slice(None) if side is None else slice(start, start + side))
            span = where[axis + 1]
            first[window, axis] = 0 if span is None else span.starts[place]
        covered[window][tuple(part)] = replaced[tuple(part)]

    @jax.jit  # one program of all, since compilation takes most of the time
    def both(params, inputs, numbers, first, covered):
        kept = local.base(function, (params,), inputs, where)
        assert kept is not None, "the gain is less"

        def one(numbers, first, covered):
            patch = lax.dynamic_slice(covered, [jnp.int32(0), *first], sizes(inputs.shape, where))
            return local.onward(function, (params,), inputs, where, [jnp.int32(0), *numbers], patch, kept)

        return jax.vmap(one)(numbers, first, covered), jax.vmap(lambda covered: function(params, covered))(covered)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(local, "MOST", most)
        patched.setattr(local, "LEAST_GAIN", gain)
        result, expected = both(params, inputs, numbers.astype(np.int32), first, covered)
    for one, other in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        one, other = np.asarray(one), np.asarray(other)
        assert (
            np.abs(other[1:] - other[:-1]).max() > 100 * tolerance * np.abs(other).max()
        )  # windows do change something
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())


def convolution(inputs, weights, strides=1, padding="SAME", **settings):
    """Channels last, with as many spatial axes as the inputs have."""
    count = inputs.ndim - 2
    axes = "DHW"[-count:]
    numbers = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
    return lax.conv_general_dilated(inputs, weights, (strides,) * count, padding, dimension_numbers=numbers, **settings)


def weights(*shape):
    return np.float32(1 / np.sqrt(np.prod(shape[:-1]))) * normal(*shape)


def twice(axes=2, width=3, groups=1, **settings):
    """Two convolutions, an activation between, a third to one channel."""

    def function(params, x):
        hidden = jnp.tanh(convolution(x, params[0], **settings))
        hidden = convolution(hidden, params[1], feature_group_count=groups, **settings)
        return hidden.mean(range(1, axes + 1)), hidden

    return function, (weights(*[width] * axes, 2, 4), weights(*[width] * axes, 4 // groups, 8))


CONVOLUTIONS = {
    "same": (twice(), (13, 12), (3, 2)),
    "valid": (twice(padding="VALID"), (13, 12), (3, 2)),
    "negative padding": (twice(padding=[(-1, 1), (2, -2)]), (15, 14), (2, 1)),
    "even width": (twice(width=4), (13, 12), (1, 2)),
    "stride 2": (twice(strides=2), (21, 20), (3, 4)),
    "stride 3": (twice(strides=3), (31, 30), (5, 2)),
    "stride 3 of width 1, which leaves out": (twice(width=1, strides=3), (24, 23), (2, 4)),
    "stride 3 of width 2, padded": (twice(width=2, strides=3, padding=[(1, 2), (4, 0)]), (24, 23), (2, 3)),
    "dilated, stride 2": (twice(strides=2, rhs_dilation=(2, 1)), (25, 24), (2, 2)),
    "groups": (twice(groups=2), (13, 12), (3, 2)),
    "depthwise, stride 2": (twice(groups=4, width=5, strides=2), (33, 32), (3, 2)),
    "one axis": (twice(axes=1), (19,), (3,)),
    "one axis, stride 2": (twice(axes=1, strides=2, width=5), (33,), (3,)),
    "three axes": (twice(axes=3), (8, 7, 9), (2, 1, 1)),
    "all of one axis": (twice(), (13, 6), (3, None)),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(case):
    (function, params), lengths, sides = CONVOLUTIONS[case]
    compare(function, params, normal(2, *lengths, 2), (*sides, None), gain=1.2)


def test_windows_over_the_end():
    compare(*twice(strides=2), normal(2, 21, 20, 2), (5, 6, None), (4, 5, 1))


def test_window_of_some_channels():
    compare(*twice(), normal(1, 9, 9, 2), (2, 2, 1))


def test_channels_first():
    function = lambda params, x: lax.conv_general_dilated(
        lax.conv(x, params[0], (1, 1), "SAME"), params[1], (2, 2), "SAME"
    )
    compare(function, (weights(4, 2, 3, 3), weights(4, 4, 3, 3)), normal(2, 2, 15, 14), (None, 2, 3), gain=1.5)


def pooled(params, x):
    x = nn.max_pool(convolution(x, params), (3, 3), (2, 2), "SAME")
    x = lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 1, 1, 1), ((0, 0), (1, 0), (0, 1), (0, 0)))
    x = lax.reduce_window(x, jnp.inf, lax.min, (1, 2, 3, 1), (1, 2, 1, 1), ((0, 0), (1, 1), (0, 0), (0, 0)))
    return nn.max_pool(jnp.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0)), constant_values=0.5), (2, 2))


def residual(params, x):
    """Unions of patches of several sizes; what is used twice."""
    hidden = convolution(x, params[0])
    hidden = hidden + convolution(jnp.tanh(hidden), params[1])
    return jnp.concatenate([hidden, x, jnp.ones(x.shape, x.dtype)], axis=3).max(axis=-1)


def bounded(params, x):
    """Selections, comparisons and operands that do not depend on the inputs: scalars, per channel, per position."""
    position = jnp.arange(x.shape[1], dtype=x.dtype)[None, :, None, None]
    hidden = jnp.where(x > 0.1, convolution(x, params), position * x)
    hidden = jnp.clip(hidden - position, -1.0, 2.0).astype(jnp.bfloat16).astype(x.dtype)
    return jax.nn.relu6(hidden) * jnp.cos(jnp.ones(x.shape, x.dtype) * position) + jnp.square(jnp.flip(hidden, 3))


def reshaped(params, x):
    """Pooling by reshaping, as `jaxviz.models.CNN` has it, with an odd row left out."""
    x = convolution(x, params)
    batch, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, ::-1][:, :, 1:].transpose(0, 2, 1, 3)
    x = x[:, : (width - 1) // 2 * 2].reshape(batch, (width - 1) // 2, 2, 1, height // 2, 2, channels)
    x = x.max(axis=(2, 5))
    return x[:, ::2, 0, :, :, None]


def pointwise(params, x):
    """Layer normalization and dense layers along the channels."""
    x = (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-3)
    x = jnp.einsum("bhwc,cd->bhwd", x, params)
    return jnp.einsum("dc,bhwc->dbhw", params, jax.nn.gelu(x)), jnp.cumsum(x, axis=3), jnp.split(x, 2, axis=3)[1]


def excited(params, x):
    """A mean over the map in the midst, which the map is multiplied with."""
    x = convolution(x, params)
    return x * jax.nn.sigmoid(x.mean((1, 2), keepdims=True)) + x


@jax.custom_vjp
def scaled(x):
    return 2 * jnp.sin(x)


scaled.defvjp(lambda x: (scaled(x), None), lambda _, cotangent: (cotangent,))


def through_calls(params, x):
    inner = jax.checkpoint(jax.jit(lambda x: jax.nn.silu(scaled(convolution(x, params)))))
    return lax.fori_loop(0, 2, lambda _, x: 2 * x, inner(inner(x)))


def upsampled(params, x):
    """Without rules: a convolution of an operand with holes, resizing, a window reduction of another kind."""
    x = convolution(x, params)
    x = convolution(x, params, padding=[(1, 1), (2, 2)], lhs_dilation=(2, 2))
    return lax.reduce_window(x, 1.0, lax.mul, (1, 2, 2, 1), (1, 2, 2, 1), "SAME")


def mixed(params, x):
    """Windows' axes that cross."""
    return convolution(x, params) * x.transpose(0, 2, 1, 3)


PROGRAMS = {
    "pooling": (pooled, weights(3, 3, 2, 4), (2, 17, 16, 2), (3, 2, None), 1.5),
    "residual": (residual, (weights(3, 3, 2, 4), weights(3, 3, 4, 4)), (1, 13, 12, 2), (2, 2, None), 1.5),
    "bounded": (bounded, weights(3, 3, 2, 2), (2, 9, 8, 2), (2, 2, None), 1.5),
    "reshaped": (reshaped, weights(3, 3, 2, 2), (2, 15, 16, 2), (2, None, None), 1.5),
    "pointwise": (pointwise, weights(4, 4), (2, 7, 8, 4), (2, 2, None), 3),
    "pointwise, some channels": (pointwise, weights(4, 4), (2, 7, 8, 4), (2, 2, 3), 2),
    "excited": (excited, weights(3, 3, 2, 2), (2, 11, 10, 2), (2, 2, None), 1.2),
    "calls": (through_calls, weights(3, 3, 2, 2), (2, 11, 10, 2), (2, 2, None), 1.2),
    "upsampled": (upsampled, weights(3, 3, 2, 2), (2, 9, 9, 2), (2, 2, None), 0),
    "mixed": (mixed, weights(3, 3, 2, 2), (2, 9, 9, 2), (2, 2, None), 0),
    "rows": (lambda params, x: jnp.tanh(x) @ params, weights(8, 3), (4, 8), (2,), 0),
}


@pytest.mark.parametrize("case", PROGRAMS)
def test_programs(case):
    function, params, shape, sides, gain = PROGRAMS[case]
    compare(function, params, normal(*shape), sides, gain=gain)


def test_most_of_a_map_is_computed_in_whole():
    compare(*twice(), normal(2, 13, 12, 2), (3, 2, None), most=0.2)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=True)(nn.Conv(4, (3, 3), (2, 2))(x))
        y = nn.Conv(8, (3, 3), feature_group_count=4, name="depthwise")(nn.relu6(nn.Conv(4, (1, 1))(x)))
        x = nn.max_pool(x + nn.Conv(4, (1, 1))(nn.swish(y)), (2, 2), (2, 2))
        return nn.Dense(3)(nn.GroupNorm(2)(x).mean((1, 2)))


class Nnx(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
        self.dense = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return jax.nn.log_softmax(self.dense(nnx.silu(self.norm(self.conv(x))).mean((1, 2))))


INPUTS = normal(2, 20, 18, 2)
MODELS = {
    "linen": lambda: _linen(Linen()),
    "nnx": lambda: jv.Model.from_nnx(Nnx(nnx.Rngs(0))),
    "cnn": lambda: _linen(jv.models.CNN(classes=3, channels=(4, 8), batch_norm=True)),
}


def _linen(module):
    shapes = jax.eval_shape(module.init, jax.random.key(0), INPUTS)
    variables = jax.tree.map(lambda leaf: 0.3 * jnp.abs(normal(*leaf.shape)) + 0.1, shapes)
    return jv.Model.from_linen(module, jax.tree.map(lambda leaf: leaf if leaf.ndim == 1 else leaf - 0.3, variables))


@pytest.mark.parametrize("kind", MODELS)
def test_models(kind):
    compare(jv.Model.__call__, MODELS[kind](), INPUTS, (3, 4, None), (2, 3, 1), gain=1.2)


def long_loop(params, x):
    return lax.fori_loop(0, 100_000, lambda _, x: jnp.cos(x), convolution(x, params).sum((1, 2, 3)))


def dear_branch(params, x):
    x = convolution(x, params).sum((1, 2))
    dear = lambda x: x @ jnp.ones((2, 9000), x.dtype) @ jnp.ones((9000, 2), x.dtype)
    return lax.cond(x.sum() > 0, dear, lambda x: x, x)


@pytest.mark.parametrize("function", [long_loop, dear_branch])
def test_loops_and_branches_count(function):
    """A convolution that is computed in part does not pay where most of the time goes into what follows."""
    params, x = weights(3, 3, 2, 2), normal(1, 9, 9, 2)
    places = np.arange(8)
    where = (None, window_span(1, 9, 2, places), window_span(2, 9, 2, places), None)
    alone = lambda params, x: convolution(x, params).sum((1, 2, 3))
    bases = [jax.eval_shape(lambda f=f: local.base(f, (params,), x, where)) for f in (alone, function)]
    assert bases[0] is not None
    assert bases[1] is None


@jax.custom_jvp
def relu(x):
    return jnp.maximum(x, 0)


relu.defjvp(lambda primals, tangents: (relu(*primals), 2 * tangents[0]))


def test_a_derivative_that_would_be_lost():
    """Also of a function that is named as a known one; not where the values alone are asked for, nor after the window's part."""
    params, x = weights(3, 3, 2, 2), normal(1, 9, 9, 2)
    where = (None, window_span(1, 9, 2, np.arange(8)), window_span(2, 9, 2, np.arange(8)), None)

    def pays(activation, derived=True):
        function = lambda params, x: activation(convolution(x, params)).sum((1, 2, 3))
        return jax.eval_shape(lambda: local.base(function, (params,), x, where, derived=derived)) is not None

    assert pays(jax.nn.relu)
    assert pays(jax.nn.relu6)
    assert pays(lambda x: scaled(x.sum((1, 2), keepdims=True)))
    assert pays(relu, derived=False)
    assert not pays(relu)
    assert not pays(scaled)
