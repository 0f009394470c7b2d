"""A transformer as plain NumPy in float64, and networks of JAX with its parameters."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxviz as jv

HEADS, SIZE, CHANNELS, CLASSES = 2, 3, 6, 3
TRACES = [0]  # how often a network was traced, forwards


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, mask=None):
        y = nn.MultiHeadDotProductAttention(HEADS, name="attention")(nn.LayerNorm(name="before")(x), mask=mask)
        x = x + y
        y = nn.gelu(nn.Dense(8, name="one")(nn.LayerNorm(name="middle")(x)), approximate=False)
        return x + nn.Dense(CHANNELS, name="two")(y)


class Vit(nn.Module):
    """A vision transformer: patches of 4 x 4, a class token, two blocks."""

    @nn.compact
    def __call__(self, images):
        TRACES[0] += 1
        x = nn.Conv(CHANNELS, (4, 4), (4, 4), name="patch")(images)
        x = x.reshape(x.shape[0], -1, CHANNELS)
        first = self.param("first", nn.initializers.normal(), (1, 1, CHANNELS))
        x = jnp.concatenate([jnp.broadcast_to(first, (x.shape[0], 1, CHANNELS)), x], axis=1)
        for i in range(2):
            x = Block(name=f"block_{i}")(x)
        return nn.Dense(CLASSES, name="head")(x[:, 0])


class Bert(nn.Module):
    """A reader of token ids, of which 0 is padding."""

    @nn.compact
    def __call__(self, ids):
        TRACES[0] += 1
        x = nn.Embed(9, CHANNELS, name="tokens")(ids) + self.param(
            "places", nn.initializers.normal(1.0), (1, ids.shape[1], CHANNELS)
        )
        for i in range(2):
            x = Block(name=f"block_{i}")(x, (ids > 0)[:, None, None, :])
        return nn.Dense(CLASSES, name="head")(x[:, 0])


class NnxBlock(nnx.Module):
    def __init__(self, rngs):
        self.before, self.middle = (nnx.LayerNorm(CHANNELS, rngs=rngs) for _ in range(2))
        self.attention = nnx.MultiHeadAttention(HEADS, CHANNELS, decode=False, dropout_rate=0.5, rngs=rngs)
        self.one, self.two = nnx.Linear(CHANNELS, 8, rngs=rngs), nnx.Linear(8, CHANNELS, rngs=rngs)

    def __call__(self, x):
        x = x + self.attention(self.before(x))
        return x + self.two(nnx.gelu(self.one(self.middle(x)), approximate=False))


class NnxNet(nnx.Module):
    """Two blocks over a sequence, read at its first token."""

    def __init__(self, rngs):
        self.blocks = nnx.List([NnxBlock(rngs) for _ in range(2)])
        self.head = nnx.Linear(CHANNELS, CLASSES, rngs=rngs)

    def __call__(self, x):
        TRACES[0] += 1
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])


def plain(params, x):
    """The same as a function of arrays."""
    TRACES[0] += 1
    for block in params["blocks"]:
        y = layer_norm(jnp, x, block["before"])
        q, k, v = (jnp.einsum("btc,chd->bthd", y, kernel) + bias[None, None] for kernel, bias in block["qkv"])
        x = x + jnp.einsum("bqhd,hdc->bqc", jax.nn.dot_product_attention(q, k, v), block["out"][0]) + block["out"][1]
        y = layer_norm(jnp, x, block["middle"])
        y = jax.nn.gelu(y @ block["one"][0] + block["one"][1], approximate=False)
        x = x + y @ block["two"][0] + block["two"][1]
    return x[:, 0] @ params["head"][0] + params["head"][1][0]


def layer_norm(np, x, params):
    scale, bias = (leaf.reshape(1, 1, -1) for leaf in params)
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6) * scale + bias


def transformer(
    params: Any, x: np.ndarray, mask: Any = None, shifts: Any = None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The outputs and the attention weights `(batch, heads, queries, keys)` of each block; with something added to these."""
    used = []
    for number, block in enumerate(params["blocks"]):
        y = layer_norm(np, x, block["before"])
        q, k, v = (np.einsum("btc,chd->bthd", y, kernel) + bias for kernel, bias in block["qkv"])
        logits = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(SIZE)
        if mask is not None:
            logits = np.where(mask[:, None, None], logits, -np.inf)
        exponential = np.exp(logits - logits.max(axis=-1, keepdims=True))
        weights = exponential / exponential.sum(axis=-1, keepdims=True)
        used.append(weights)
        if shifts is not None:
            weights = weights + shifts[number]
        y = np.einsum("bhqk,bkhd->bqhd", weights, v)
        x = x + np.einsum("bqhd,hdc->bqc", y, block["out"][0]) + block["out"][1]
        y = layer_norm(np, x, block["middle"]) @ block["one"][0] + block["one"][1]
        y = y * (1 + np.vectorize(math.erf)(y / np.sqrt(2))) / 2
        x = x + y @ block["two"][0] + block["two"][1]
    return x[:, 0] @ params["head"][0] + params["head"][1][0], used


class Case(NamedTuple):
    model: jv.Model
    inputs: jax.Array
    paths: list[str]  # of the layers
    reference: Callable[..., tuple[np.ndarray, list[np.ndarray]]]  # of shifts: the outputs and the weights


RANDOM = np.random.default_rng(0)
SEQUENCES = RANDOM.normal(size=(2, 5, CHANNELS)).astype(np.float32)
IMAGES = RANDOM.normal(size=(2, 8, 12, 1)).astype(np.float32)
IDS = np.array([[1, 4, 2, 8, 0], [3, 5, 0, 0, 0]])


def drawn(tree: Any) -> Any:
    """Random numbers of the shapes of a pytree, drawn by NumPy: nothing is compiled."""
    return jax.tree.map(lambda leaf: jnp.asarray(RANDOM.normal(size=leaf.shape) / 1.5, leaf.dtype), tree)


def of_block(get: Callable[[str], Any]) -> Any:
    """The parameters of a block for NumPy."""
    pair = lambda path, *names: [np.asarray(get(f"{path}/{name}"), np.float64) for name in names]
    dense = lambda path: [leaf if leaf.ndim > 1 else leaf[None, None] for leaf in pair(path, "kernel", "bias")]
    return {
        "before": pair("before", "scale", "bias"),
        "middle": pair("middle", "scale", "bias"),
        "qkv": [pair(f"attention/{name}", "kernel", "bias") for name in ("query", "key", "value")],
        **{name: dense(path) for name, path in (("out", "attention/out"), ("one", "one"), ("two", "two"))},
    }


def _flat(model: jv.Model) -> dict[str, Any]:
    return model.apply.parameters(model.params)


def _within(flat: dict[str, Any], prefix: str, path: str) -> Any:
    return flat[f"{prefix}/{path}"]


def for_numpy(model: jv.Model, blocks: str) -> Any:
    flat = _flat(model)
    return {
        "blocks": [of_block(functools.partial(_within, flat, f"{blocks}{i}")) for i in range(2)],
        "head": [np.asarray(flat["head/kernel"], np.float64), np.asarray(flat["head/bias"], np.float64)[None, None]],
    }


def linen(module: nn.Module, inputs: Any) -> jv.Model:
    return jv.Model.from_linen(module, drawn(jax.eval_shape(module.init, jax.random.key(0), inputs)))


def _vit() -> Case:
    model = linen(Vit(), IMAGES)
    params, flat = for_numpy(model, "block_"), jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), _flat(model))
    patches = IMAGES.reshape(2, 2, 4, 3, 4, 1).transpose(0, 1, 3, 2, 4, 5).reshape(2, 6, 16).astype(np.float64)
    x = patches @ flat["patch/kernel"].reshape(16, CHANNELS) + flat["patch/bias"]
    x = np.concatenate([np.repeat(flat["first"], 2, axis=0), x], axis=1)
    paths = [f"block_{i}/attention/attention_weights" for i in range(2)]
    return Case(model, jnp.asarray(IMAGES), paths, lambda shifts=None: transformer(params, x, None, shifts))


def _bert() -> Case:
    model = linen(Bert(), IDS)
    params, flat = for_numpy(model, "block_"), _flat(model)
    x = np.asarray(flat["tokens/embedding"], np.float64)[IDS] + np.asarray(flat["places"], np.float64)
    paths = [f"block_{i}/attention/attention_weights" for i in range(2)]
    return Case(model, jnp.asarray(IDS), paths, lambda shifts=None: transformer(params, x, IDS > 0, shifts))


def _nnx() -> Case:
    graph, state = nnx.split(nnx.eval_shape(lambda: NnxNet(nnx.Rngs(0))))

    def filled(leaf: Any) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        return drawn(leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else jnp.zeros((), leaf.dtype)

    state = jax.tree.map(filled, state)
    model = jv.Model.from_nnx(nnx.merge(graph, state))
    params = for_numpy(model, "blocks/")
    x = SEQUENCES.astype(np.float64)
    paths = [f"blocks/{i}/attention/attention_weights" for i in range(2)]
    return Case(model, jnp.asarray(SEQUENCES), paths, lambda shifts=None: transformer(params, x, None, shifts))


def _function() -> Case:
    params = for_numpy(linen(Bert(), IDS), "block_")
    model = jv.Model.from_function(plain, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params))
    x = SEQUENCES.astype(np.float64)
    paths = ["attention_weights", "attention_weights#1"]
    return Case(model, jnp.asarray(SEQUENCES), paths, lambda shifts=None: transformer(params, x, None, shifts))


CASES = {"vit": _vit, "bert": _bert, "nnx": _nnx, "function": _function}


@pytest.fixture(scope="session")
def cases() -> Callable[[str], Case]:
    made: dict[str, Case] = {}

    def case(name: str) -> Case:
        if name not in made:
            made[name] = CASES[name]()
        return made[name]

    return case


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, cases: Callable[[str], Case]) -> Case:
    """A network with attention, and what NumPy makes of it."""
    return cases(request.param)


@pytest.fixture
def traces() -> list[int]:
    """How often a network was traced."""
    return TRACES
