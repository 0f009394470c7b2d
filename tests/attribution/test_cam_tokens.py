"""Where in a row of tokens the patches stand: before class tokens and registers, behind them, or among them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

RANDOM = np.random.default_rng(3)
IMAGES = jnp.asarray(RANDOM.normal(size=(2, 16, 24, 2)), jnp.float32)
PATCHES = (4, 6)


def joined(rows, other):
    return jnp.concatenate([rows, other], axis=1)


def behind(rows, other):
    return jnp.concatenate([other, rows], axis=1)


# How patches and other tokens make one row, and where in it the patches begin.
ROWS = {
    "class token first": (behind, 1),
    "class token last": (joined, 0),
    "padded behind": (lambda rows, other: jnp.pad(rows, ((0, 0), (0, 2), (0, 0))), 0),
    "padded on both sides": (lambda rows, other: jnp.pad(rows, ((0, 0), (3, 1), (0, 0))), 3),
    "around": (lambda rows, other: jnp.concatenate([other, rows, other, other], axis=1), 1),
    "one after the other": (lambda rows, other: behind(joined(rows, other), jnp.tile(other, (1, 2, 1))), 2),
    "registers between": (
        lambda rows, other: jnp.concatenate([other, other, other, behind(rows, other)[:, 1:]], axis=1),
        3,
    ),
    "moved": (lambda rows, other: joined(behind(rows, other)[:, 1:], other), 0),
    "each example by itself": (jax.vmap(lambda rows, other: jnp.append(rows, other, axis=0)), 0),
    "in a jitted function": (jax.jit(joined), 0),
    "not joined": (lambda rows, other: jnp.zeros((2, 25, 8), rows.dtype).at[:, 1:].set(rows), 1),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_map_is_of_the_patches(name):
    join, first = ROWS[name]
    other = jnp.asarray(RANDOM.normal(size=(2, 1, 8)), jnp.float32)
    count = jax.eval_shape(join, jnp.zeros((2, 24, 8)), other).shape[1]
    weights = RANDOM.normal(size=(count, 8))

    def network(params, images):
        rows = jv.tag(images.reshape(2, 4, 4, 6, 4, 2).swapaxes(2, 3).reshape(2, 24, 32)[:, :, :8], "patches")
        rows = jv.tag(join(rows, other), "rows")
        moved = jnp.concatenate([rows[:, -1:], rows[:, :-1]], axis=1)  # after the layer, which does not count
        return (jnp.roll(params, 1, axis=0)[None] * jnp.tanh(moved)).sum(axis=(1, 2))

    model = jv.Model.from_function(network, jnp.asarray(weights, jnp.float32))
    rows = np.asarray(model.capture(IMAGES, "rows")["rows"], np.float64)
    expected = (rows * weights * (1 - np.tanh(rows) ** 2)).sum(axis=-1)[:, first : first + 24].reshape(2, *PATCHES)
    cam = jv.hires_cam(model, IMAGES, layer="rows", relu=False, upsample=False)
    assert np.abs(np.asarray(cam) - expected).max() < 1e-5 * np.abs(expected).max()
    patches = jv.fem_cam(model, IMAGES, layer="patches", upsample=False)  # a method without gradients: strong channels
    assert patches.shape == (2, *PATCHES)


def test_maps_of_biases_are_of_the_patches():
    """Of a bias that only patches have, all of the map is; `full_grad` reads it off a row that ends with a class token."""
    bias = jnp.zeros((1, 25, 8)).at[:, 5].set(1.0)  # of the patch in row 0, column 5

    def network(params, images):
        rows = images.reshape(2, 4, 4, 6, 4, 2).swapaxes(2, 3).reshape(2, 24, 32)[:, :, :8]
        return jv.tag(joined(rows, jnp.zeros((2, 1, 8))) + params, "rows").sum(axis=(1, 2))

    model = jv.Model.from_function(network, bias)
    without = model.with_params(jnp.zeros_like(bias))
    found = np.asarray(jv.full_grad(model, IMAGES) - jv.full_grad(without, IMAGES))
    grid = np.zeros((1, *PATCHES, 1), np.float32)
    grid[0, 0, 5] = 8  # the channels' sum of what is stretched to 1
    expected = np.asarray(jax.image.resize(grid, (1, 16, 24, 1), "linear"))[..., 0]
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-5)


class Last(nn.Module):
    """A transformer of one layer, with its class token last."""

    @nn.compact
    def __call__(self, images):
        x = nn.Conv(4, (4, 4), (4, 4), name="patch")(images)
        x = x.reshape(x.shape[0], -1, 4)
        x = joined(x, jnp.broadcast_to(self.param("last", nn.initializers.normal(1.0), (1, 1, 4)), (x.shape[0], 1, 4)))
        x = x + nn.MultiHeadDotProductAttention(2, name="attention")(x)
        return nn.Dense(3, name="head")(x[:, -1])


@pytest.mark.parametrize("method", [jv.attention_rollout, jv.attention_x_gradient])
def test_a_row_of_attention_is_of_the_patches(method):
    module = Last()
    draw = lambda leaf: jnp.asarray(RANDOM.normal(size=leaf.shape), leaf.dtype)
    model = jv.Model.from_linen(module, jax.tree.map(draw, jax.eval_shape(module.init, jax.random.key(0), IMAGES)))
    expected = np.asarray(method(model, IMAGES, target=1))[:, -1, :-1].reshape(2, *PATCHES)
    np.testing.assert_array_equal(method(model, IMAGES, target=1, token=-1, upsample=False), expected)
