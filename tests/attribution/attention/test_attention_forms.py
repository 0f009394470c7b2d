"""Attention in every form in which it is found, and what is said where it is not, or where layers do not follow each other."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

RANDOM = np.random.default_rng(1)
LOGITS = jnp.asarray(RANDOM.normal(size=(2, 3, 5, 5)), jnp.float32)  # batch, heads, queries, keys
X = jnp.asarray(RANDOM.normal(size=(2, 5, 8)), jnp.float32)


def softmax(logits):
    exponential = np.exp(np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True))
    return exponential / exponential.sum(axis=-1, keepdims=True)


def of(function):
    return jv.Model.from_function(lambda params, inputs: function(inputs), ())


def linen(module, inputs=X, **keywords):
    draw = lambda leaf: jnp.asarray(RANDOM.normal(size=leaf.shape) / 2, leaf.dtype)
    return jv.Model.from_linen(
        module, jax.tree.map(draw, jax.eval_shape(module.init, jax.random.key(0), inputs)), **keywords
    )


def values(weights, logits):
    """A product with values that depend on the example."""
    return jnp.einsum("bhqk,bkhd->bqhd", weights, jnp.tanh(logits[:, :, 0]).transpose(0, 2, 1)[..., None])


def by_hand(logits):
    exponential = jnp.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponential / exponential.sum(axis=-1, keepdims=True)


def by_a_reciprocal(logits):
    exponential = jnp.exp(logits)
    return exponential * (1 / (exponential.sum(axis=-1, keepdims=True) + 1e-12))


def by_a_logarithm(logits):
    return jnp.exp(logits - jax.scipy.special.logsumexp(logits, axis=-1, keepdims=True))


FORMS = {
    "softmax": jax.nn.softmax,
    "by hand": by_hand,
    "by a reciprocal": by_a_reciprocal,
    "by a logarithm": by_a_logarithm,
    "log_softmax": lambda logits: jnp.exp(jax.nn.log_softmax(logits)),
    "jitted": jax.jit(jax.nn.softmax),
    "of half precision": lambda logits: jax.nn.softmax(logits).astype(jnp.bfloat16).astype(jnp.float32),
    "transposed": lambda logits: jax.nn.softmax(logits.swapaxes(1, 2)).swapaxes(1, 2),
    "other axis": lambda logits: jax.nn.softmax(logits.transpose(0, 3, 1, 2), axis=1).transpose(0, 2, 3, 1),
    "flattened": lambda logits: jax.nn.softmax(logits.reshape(2, 15, 5)).reshape(2, 3, 5, 5),
    "mapped": jax.vmap(jax.vmap(jax.nn.softmax)),
    "checkpointed": jax.checkpoint(jax.nn.softmax),
    "tagged": lambda logits: jv.tag(jax.nn.softmax(logits), "mine"),
    "dropped out": lambda logits: jax.nn.softmax(logits) * (LOGITS > -9).astype(jnp.float32),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_way_to_write_a_softmax(form):
    maps = jv.attention_maps(of(lambda logits: values(FORMS[form](logits), logits)), LOGITS)
    assert list(maps) == ["mine" if form == "tagged" else "attention_weights"]
    (found,) = maps.values()
    np.testing.assert_allclose(found, softmax(LOGITS), rtol=1e-2 if "half" in form else 1e-5)


def test_masks_inside_of_a_softmax():
    mask = jnp.tril(jnp.ones((5, 5), bool))[None, None]
    model = of(lambda logits: values(jax.nn.softmax(logits, where=jnp.broadcast_to(mask, logits.shape)), logits))
    (found,) = jv.attention_maps(model, LOGITS).values()
    np.testing.assert_allclose(found, softmax(np.where(mask, LOGITS, -np.inf)), rtol=1e-5)


PRODUCTS = {
    "batch, heads, queries": lambda w, v: jnp.einsum("bhqk,bkhd->bqhd", w, v),
    "batch, queries, heads": lambda w, v: jnp.einsum("bqhk,bkhd->bqhd", w.swapaxes(1, 2), v),
    "values first": lambda w, v: jnp.einsum("bkhd,bhqk->bqhd", v, w),
    "heads in front": lambda w, v: jnp.einsum("hbqk,bkhd->bqhd", w.swapaxes(0, 1), v),
    "one value for all heads": lambda w, v: jnp.einsum("bhqk,bkd->bqhd", w, v[:, :, 0]),
    "one value, queries before heads": lambda w, v: jnp.einsum("bqhk,bkd->bqhd", w.swapaxes(1, 2), v[:, :, 0]),
    "sum over heads": lambda w, v: jnp.einsum("bhqk,bkhd->bqd", w, v),
    "matrices": lambda w, v: w @ v.swapaxes(1, 2),
    "mapped": lambda w, v: jax.vmap(lambda w, v: jnp.einsum("hqk,khd->qhd", w, v))(w, v),
    "two products": lambda w, v: jnp.einsum("bhqk,bkhd->bqhd", w, v) + jnp.einsum("bhqk,bkhd->bqhd", 2 * w, v),
    "jitted": lambda w, v: jax.jit(functools.partial(jnp.einsum, "bhqk,bkhd->bqhd"))(w, v),
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_layout_of_a_product(product):
    def function(logits):
        v = jnp.broadcast_to(logits[:, :, 0].swapaxes(1, 2)[..., None], (*logits[:, :, 0].swapaxes(1, 2).shape, 4))
        weights = jax.nn.softmax(logits, axis=-1)
        return PRODUCTS[product](weights, v)

    model = of(function)
    # Products of one example may be written otherwise, where they are not written by einsum.
    for logits in (LOGITS, LOGITS[1:]) if product in ("matrices", "mapped", "heads in front") else (LOGITS,):
        (found,) = jv.attention_maps(model, logits).values()
        np.testing.assert_allclose(found, softmax(logits), rtol=1e-5)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("batch", [1, 2])
def test_matrices_of_one_example_or_head(batch, heads):
    def function(x):
        q = x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)
        for _ in range(2):
            q = q + jax.nn.softmax(q @ q.mT) @ q
        return q.sum(axis=(1, 2, 3))

    q = np.asarray(X[:batch], np.float64).reshape(batch, 5, heads, -1).swapaxes(1, 2)
    weights = softmax(q @ q.swapaxes(2, 3))
    later = q + weights @ q
    maps = jv.attention_maps(of(function), X[:batch])
    np.testing.assert_allclose(maps["attention_weights"], weights, rtol=1e-4)
    np.testing.assert_allclose(
        maps["attention_weights#1"], softmax(later @ later.swapaxes(2, 3)), rtol=1e-4, atol=1e-12
    )
    # d score / d weights[q, k] of the last layer is the sum of value k.
    passed = np.maximum(list(maps.values())[1] * later.sum(axis=-1)[:, :, None], 0).mean(axis=1)
    found = jv.attention_x_gradient(of(function), X[:batch], layers="attention_weights#1")
    np.testing.assert_allclose(found, np.eye(5) + passed, rtol=1e-4, atol=1e-6)


def test_queries_are_told_from_heads_by_their_number():
    def function(x):  # 4 heads over 5 tokens, with one value for all
        logits = jnp.einsum("bqhd,bkd->bqhk", jnp.stack([x[..., :2]] * 4, axis=2), x[..., :2])
        return jnp.einsum("bqhk,bkd->bqhd", jax.nn.softmax(logits), x)

    (found,) = jv.attention_maps(of(function), X).values()
    assert found.shape == (2, 4, 5, 5)
    expected = softmax(np.asarray(X[..., :2] @ X[..., :2].mT))
    np.testing.assert_allclose(found, np.repeat(expected[:, None], 4, axis=1), rtol=1e-5)


@pytest.mark.parametrize(("groups", "lengths"), [(1, (5, 5)), (2, (4, 5)), (5, (5, 5))])  # as many groups as keys, too
def test_grouped_queries_of_jax(groups, lengths):
    draw = lambda *shape: jnp.asarray(RANDOM.normal(size=shape), jnp.float32)
    q, k, v = draw(2, lengths[0], 2 * groups, 3), draw(2, lengths[1], 2, 3), draw(2, lengths[1], 2, 3)
    model = of(lambda inputs: jax.nn.dot_product_attention(*inputs))
    (found,) = jv.attention_maps(model, (q, k, v)).values()
    # Head h takes the keys of head h // groups; the groups stand in front.
    logits = np.einsum("bqhgd,bkhd->bghqk", q.reshape(*q.shape[:2], 2, groups, 3), k) / np.sqrt(3)
    np.testing.assert_allclose(found, softmax(logits).reshape(2, 2 * groups, *lengths), rtol=1e-4)


def test_half_precision():
    module = nn.MultiHeadDotProductAttention(2, dtype=jnp.bfloat16)
    model = linen(nn.Sequential([module, lambda x: x[:, 0, :1]]))
    (found,) = jv.attention_maps(model, X).values()
    assert found.dtype == jnp.bfloat16
    for method in (jv.attention_rollout, jv.attention_x_gradient):
        result = method(model, X)
        assert result.dtype == jnp.bfloat16
        assert np.isfinite(np.asarray(result, np.float32)).all()


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, _=None):
        for _ in range(2):
            x = x + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(x))
        return x + nn.Dense(8)(nn.gelu(x)), None


class Stack(nn.Module):
    """Blocks in a row, in a loop, in a loop in a loop."""

    scanned: bool = True
    remat: bool = False

    @nn.compact
    def __call__(self, x):
        block = nn.remat(Block) if self.remat else Block
        if self.scanned:
            stack = nn.scan(block, variable_axes={"params": 0}, split_rngs={"params": True}, length=2)
            x, _ = stack(name="blocks")(x, None)
        else:
            for i in range(2):
                x, _ = block(name=f"block_{i}")(x)
        return nn.Dense(3, name="head")(x.mean(1))


@functools.cache
def stacked() -> jv.Model:
    return linen(Stack())


def unrolled() -> jv.Model:
    params = stacked().params["params"]
    blocks = {f"block_{i}": jax.tree.map(lambda leaf, i=i: leaf[i], params["blocks"]) for i in range(2)}
    variables = {"params": {"head": params["head"], **blocks}}
    return jv.Model.from_linen(Stack(scanned=False), variables)


def test_scanned_and_checkpointed_layers_are_those_of_a_row():
    row, checkpointed = unrolled(), jv.Model.from_linen(Stack(remat=True), stacked().params)
    expected = jv.attention_maps(row, X)
    names = [f"MultiHeadDotProductAttention_{k}/attention_weights" for k in range(2)]
    assert list(expected) == [f"block_{i}/{name}" for i in range(2) for name in names]
    steps = [f"blocks/{name}@{i}" for i in range(2) for name in names]
    for model, paths in ((stacked(), steps), (checkpointed, steps)):
        maps = jv.attention_maps(model, X)
        assert list(maps) == paths
        for one, other in zip(maps.values(), expected.values(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4)
    one, other = (jv.attention_x_gradient(each, X, target=1) for each in (checkpointed, row))
    np.testing.assert_allclose(one, other, rtol=1e-4)


def test_steps_of_a_scan_are_named():
    model, path = stacked(), "blocks/MultiHeadDotProductAttention_1/attention_weights"
    maps = jv.attention_maps(model, X)
    (found,) = jv.attention_maps(model, X, layers="blocks/*_1@1").items()
    assert found[0] == f"{path}@1"
    np.testing.assert_array_equal(found[1], maps[f"{path}@1"])
    assert list(jv.attention_maps(model, X, layers=path)) == [f"{path}@{i}" for i in range(2)]
    fused = [np.asarray(weights, np.float64).mean(axis=1) for weights in maps.values()]
    expected = functools.reduce(lambda result, layer: (layer + np.eye(5)) / 2 @ result, fused, np.eye(5))
    np.testing.assert_allclose(jv.attention_rollout(model, X), expected, rtol=1e-4)


def test_a_reversed_scan_runs_from_its_end():
    def step(x, scale):
        return x + jax.nn.softmax(x @ x.mT * scale) @ x, None

    model = of(lambda x: jax.lax.scan(step, x, jnp.arange(1.0, 4.0), reverse=True)[0])
    maps = jv.attention_maps(model, X / 4)
    assert list(maps) == [f"attention_weights@{i}" for i in (2, 1, 0)]
    np.testing.assert_allclose(maps["attention_weights@2"][:, 0], softmax(X / 4 @ X.mT / 4 * 3), rtol=1e-4)


def test_a_module_that_is_called_again():
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            block = nn.MultiHeadDotProductAttention(2, name="attention")
            return block(block(x))

    model = linen(Twice())
    maps = jv.attention_maps(model, X)
    assert list(maps) == ["attention/attention_weights", "attention/attention_weights#1"]
    second = jv.attention_maps(model, X, layers="attention#1")
    np.testing.assert_array_equal(second["attention/attention_weights#1"], maps["attention/attention_weights#1"])
    assert list(second) == ["attention/attention_weights#1"]


class Decoder(nn.Module):
    """Encoder and decoder, of which each attends to itself, and the decoder to the encoder."""

    @nn.compact
    def __call__(self, source, goal):
        attention = lambda name: nn.MultiHeadDotProductAttention(2, name=name)
        for i in range(2):
            source = source + attention(f"encoder_{i}")(nn.LayerNorm(use_scale=False, use_bias=False)(source))
        for i in range(2):
            goal = goal + attention(f"decoder_{i}")(goal)
            goal = goal + attention(f"cross_{i}")(goal, source)
        return goal[:, 0]


@pytest.mark.parametrize("length", [4, 5])  # cross-attention is told where there are as many queries as keys, too
def test_cross_attention(length):
    inputs = (X, X[:, ::-1][:, :length])
    module = Decoder()
    draw = lambda leaf: jnp.asarray(RANDOM.normal(size=leaf.shape) / 2, leaf.dtype)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))
    model = jv.Model.from_linen(module, jax.tree.map(draw, shapes))
    maps = jv.attention_maps(model, inputs)
    assert maps["cross_1/attention_weights"].shape == (2, 2, length, 5)
    match = (
        "attention_rollout: cross_0/attention_weights, cross_1/attention_weights are of cross-attention .*"
        "Self-attention: encoder_0"
    )
    with pytest.raises(ValueError, match=match):
        jv.attention_rollout(model, inputs)
    for method in (jv.attention_rollout, jv.attention_x_gradient):
        assert method(model, inputs, target=0, layers="encoder_*").shape == (2, 5, 5)
    decoder = jv.attention_rollout(model, inputs, layers=["decoder_0", "decoder_1"])
    one, two = (np.asarray(maps[f"decoder_{i}/attention_weights"], np.float64).mean(axis=1) for i in range(2))
    np.testing.assert_allclose(decoder, (two + np.eye(length)) @ (one + np.eye(length)) / 4, rtol=1e-5)
    if length == 5:  # named layers are taken for what the caller says
        assert jv.attention_rollout(model, inputs, layers="cross_*").shape == (2, 5, 5)
    else:
        with pytest.raises(ValueError, match="do not have the same number of tokens"):
            jv.attention_rollout(model, inputs, layers=["encoder_0", "decoder_0"])
        with pytest.raises(ValueError, match="cross-attention"):
            jv.attention_rollout(model, inputs, layers="cross_*")


def test_a_mask_among_the_inputs_makes_no_cross_attention():
    def function(inputs):
        x, mask = inputs
        for _ in range(2):
            x = x + jax.nn.softmax(jnp.where(mask[:, None] > 0, x @ x.mT, -1e9)) @ x
        return x[:, 0, 0]

    mask = jnp.asarray(np.arange(5)[None] < np.array([[3], [5]]), jnp.float32)
    result = np.asarray(jv.attention_x_gradient(of(function), (X, mask)))
    assert result.shape == (2, 5, 5)
    assert not result[0, :3, 3:].any()


def test_memory_that_a_loop_is_given_makes_cross_attention():
    def function(inputs):
        x, memory = inputs

        def step(x, _):
            return x + jax.nn.softmax(x @ memory.mT) @ memory, None

        return jax.lax.scan(step, x, None, length=2)[0]

    with pytest.raises(ValueError, match="attention_weights@0, attention_weights@1 are of cross-attention"):
        jv.attention_rollout(of(function), (X, X + 1))


def test_masks_of_the_batch_that_are_keywords():
    mask = jnp.asarray(np.arange(5)[None] < np.array([[3], [5]]))[:, None, None]
    model = linen(nn.MultiHeadDotProductAttention(2), mask=mask)
    (found,) = jv.attention_maps(model, X).values()
    assert found.shape == (2, 2, 5, 5)
    assert not np.asarray(found)[0, :, :, 3:].any()
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)


def test_a_model_for_one_batch_alone():
    mask = jnp.asarray(np.arange(5)[None] < np.array([[3], [5]]))[:, None]  # part of the program
    model = of(lambda x: jax.nn.softmax(jnp.where(mask, x @ x.mT, -1e9)) @ x)
    (found,) = jv.attention_maps(model, X).values()
    assert found.shape == (2, 1, 5, 5)
    np.testing.assert_allclose(found[:, 0], softmax(np.where(mask, X @ X.mT, -np.inf)), rtol=1e-5, atol=1e-12)


def test_what_is_no_attention_is_left_out():
    def function(params, x):
        gates = jax.nn.softmax(x @ params[0])  # a mixture of experts
        x = x + jnp.einsum("bte,bted->btd", gates, jnp.stack([x, x + 1], axis=2))
        x = x + jax.nn.softmax(x) @ params[1]  # a layer of parameters
        x = x + jax.nn.softmax(params[2]) @ x  # the same weights for all examples
        x = x + jnp.einsum(
            "bhqk,hkd->bqd", jax.nn.softmax(x)[:, None] * jnp.ones((1, 2, 1, 1)), params[3]
        )  # and values
        pooled = jnp.einsum("bt,btd->bd", jax.nn.softmax(x.mean(-1)), x)  # without queries
        x = x + jax.nn.softmax(x @ x.mT) @ x
        return pooled + x[:, 0]

    params = [jnp.asarray(RANDOM.normal(size=shape), jnp.float32) for shape in [(8, 2), (8, 8), (5, 5), (2, 8, 8)]]
    model = jv.Model.from_function(function, params)
    (found,) = jv.attention_maps(model, X).values()
    assert found.shape == (2, 1, 5, 5)
    assert jv.attention_rollout(model, X).shape == (2, 5, 5)


def sigmoid_attention(params: Any, x: jax.Array) -> jax.Array:
    weights = jv.tag(jax.nn.sigmoid(x @ x.mT), "weights")
    return (weights @ x).sum(axis=(1, 2))


def test_weights_of_which_one_use_is_tagged():
    def function(x):
        weights = jax.nn.softmax(x @ x.mT)
        return (jv.tag(weights, "one") @ x + 2 * weights @ x).sum(axis=(1, 2))

    maps = jv.attention_maps(of(function), X)
    assert list(maps) == ["attention_weights"]
    passed = 3 * np.maximum(np.asarray(maps["attention_weights"])[:, 0] * np.asarray(X).sum(axis=-1)[:, None], 0)
    model = of(function)
    np.testing.assert_allclose(jv.attention_x_gradient(model, X), np.eye(5) + passed, rtol=1e-4)
    # The gradient of what is tagged is that of its own use.
    one = np.asarray(jv.attention_x_gradient(model, X, layers="one"))
    np.testing.assert_allclose(one, np.eye(5) + passed / 3, rtol=1e-4)


def test_a_bias_of_the_inputs_makes_no_cross_attention():
    def function(params, inputs):
        x, pairs = inputs
        for _ in range(2):
            x = x + jax.nn.softmax((pairs @ params)[..., 0] + x @ x.mT) @ x
        return x

    model = jv.Model.from_function(function, jnp.ones((3, 1)))
    assert jv.attention_rollout(model, (X, jnp.ones((2, 5, 5, 3)))).shape == (2, 5, 5)


def test_weights_of_one_s_own_are_named():
    model = jv.Model.from_function(sigmoid_attention, ())
    for method in (jv.attention_maps, jv.attention_rollout, jv.attention_x_gradient):
        with pytest.raises(ValueError, match=f"{method.__name__}: no attention weights found.*jaxviz.tag"):
            method(model, X)
        with pytest.raises(
            ValueError, match=f"{method.__name__}: layer 'nothing' not found; no attention weights found"
        ):
            method(model, X, layers="nothing")
    weights = jv.attention_maps(model, X, layers="weights")["weights"]
    expected = 1 / (1 + np.exp(-np.asarray(X @ X.mT, np.float64)))
    np.testing.assert_allclose(weights[:, 0], expected, rtol=1e-5)
    # d score / d weights[q, k] is the sum of value k.
    passed = np.maximum(expected * np.asarray(X, np.float64).sum(axis=-1)[:, None], 0)
    found = jv.attention_x_gradient(model, X, layers="weights")
    np.testing.assert_allclose(found, np.eye(5) + passed, rtol=1e-4)


def test_windows_have_maps_and_no_product():
    def function(x):  # two windows of 4 of 8 tokens
        x = x.reshape(x.shape[0], 2, 4, 8)
        q = x.reshape(*x.shape[:3], 2, 4)
        weights = jax.nn.softmax(jnp.einsum("bwqhd,bwkhd->bwhqk", q, q))
        return jnp.einsum("bwhqk,bwkhd->bwqhd", weights, q)[:, 0, 0, 0, 0]

    x = jnp.concatenate([X, X], axis=1)[:, :8]
    (found,) = jv.attention_maps(of(function), x).values()
    assert found.shape == (2, 4, 4, 4)
    for method in (jv.attention_rollout, jv.attention_x_gradient):
        with pytest.raises(ValueError, match=f"{method.__name__}: attention_weights have further axes"):
            method(of(function), x)


def test_a_batch_that_is_one_axis_with_heads_is_an_error():
    def function(x):
        q = x.reshape(*x.shape[:2], 2, 4).swapaxes(1, 2).reshape(-1, x.shape[1], 4)
        return (jax.nn.softmax(q @ q.mT) @ q).reshape(x.shape[0], -1)[:, 0]

    with pytest.raises(
        ValueError, match=r"shape \(4, 5, 5\), in which the batch of 2 is one axis with others.*jaxviz.tag"
    ):
        jv.attention_maps(of(function), X)


def test_no_values_are_kept_in_a_while_loop():
    def body(carry):
        number, x = carry
        return number + 1, x + jax.nn.softmax(x @ x.mT) @ x

    model = of(lambda x: jax.lax.while_loop(lambda carry: carry[0] < 2, body, (0, x))[1])
    with pytest.raises(ValueError, match="no attention weights found"):
        jv.attention_maps(model, X)
    with pytest.raises(ValueError, match="runs inside a while loop"):
        jv.attention_maps(model, X, layers="attention_weights")


def test_tags_that_are_no_weights():
    model = of(lambda x: jax.nn.softmax(jv.tag(x @ x.mT, "logits")) @ jv.tag(x.mean(2), "mean")[..., None])
    with pytest.raises(ValueError, match=r"layer 'mean' has a value of shape \(2, 5\), which is not attention weights"):
        jv.attention_maps(model, X, layers="mean")
    with pytest.raises(ValueError, match="layer 'other' not found; layers: attention_weights"):
        jv.attention_maps(model, X, layers="other")
    assert list(jv.attention_maps(model, X, layers=["logits", "attention_weights"])) == ["logits", "attention_weights"]


def test_the_model_with_its_weights_as_layers():
    model = stacked()
    tagged = jv.tag_attention(model)
    assert jv.tag_attention(tagged) is tagged
    np.testing.assert_allclose(tagged(X), model(X), rtol=1e-6)
    path = "blocks/MultiHeadDotProductAttention_1/attention_weights"
    assert tagged.capture(X, path)[path].shape == (2, 2, 2, 5, 5)
    # Without the second head, everywhere.
    both = np.asarray(tagged.capture(X, path)[path]) * np.array([1, 0], np.float32).reshape(1, 1, 2, 1, 1)
    without = tagged.replace({path: jnp.asarray(both)})(X)
    assert np.abs(np.asarray(without - model(X))).max() > 1e-3
    assert jv.attention_maps(tagged, X).keys() == jv.attention_maps(model, X).keys()
