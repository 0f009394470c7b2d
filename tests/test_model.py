"""The model and its views, on one network per construction that JAX and Flax offer.

Every network is checked in the same way: equal to the plain model bit for bit; what is captured, cut off, started from or
replaced at each of its layers fits together.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

import jaxviz as jv

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (2, 4))
SEQUENCE = jax.random.normal(jax.random.key(2), (2, 5, 4))
IMAGE = jax.random.normal(jax.random.key(3), (2, 6, 6, 1))


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + nn.Dense(4)(nn.relu(nn.Dense(5)(x)))


class Reused(nn.Module):
    @nn.compact
    def __call__(self, x):
        dense = nn.Dense(4)
        return dense(jv.tag(nn.tanh(dense(x)), "hidden")) + dense(x)


class Convolutions(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(3, (3, 3))(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        x = nn.Dropout(0.5, deterministic=not train)(nn.max_pool(x, (2, 2), (2, 2)))
        return nn.Dense(3)(x.reshape(x.shape[0], -1))


class Step(nn.Module):
    @nn.compact
    def __call__(self, carry, shift):
        carry = nn.tanh(nn.Dense(4)(carry) + (0.0 if shift is None else shift))
        return carry, carry.sum(axis=-1)


def scan(cell: Any, **settings: Any) -> Any:
    return nn.scan(cell, variable_axes={"params": 0}, split_rngs={"params": True}, **settings)


class Deep(nn.Module):
    """A scan over layers."""

    @nn.compact
    def __call__(self, x):
        carry, sums = scan(Step, length=3)()(x, None)
        return nn.Dense(2)(carry), sums


class InnerScan(nn.Module):
    @nn.compact
    def __call__(self, carry, _):
        return scan(Step, length=2)()(carry, None)[0], None


class Nested(nn.Module):
    @nn.compact
    def __call__(self, x):
        return scan(InnerScan, length=3)()(x, None)[0]


class Recurrent(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.RNN(nn.SimpleCell(3), reverse=True, keep_order=True)(x)
        outputs: Any = nn.RNN(nn.OptimizedLSTMCell(3))(x)
        return nn.Dense(2)(outputs[:, -1])


class LstmSteps(nn.Module):
    """A cell with tuple outputs, called step by step."""

    @nn.compact
    def __call__(self, x):
        cell = nn.LSTMCell(3)
        carry = cell.initialize_carry(KEY, x[:, 0].shape)
        for step in range(2):
            carry, y = cell(carry, x[:, step])
        return y


class Lifted(nn.Module):
    """The other lifted transformations: remat, jit, vmap over parameters and over an axis of the input."""

    @nn.compact
    def __call__(self, x):
        x = nn.remat(Block)()(x)
        x = nn.jit(Block)()(x)
        ensemble = nn.vmap(
            Block, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=None, out_axes=1, axis_size=3
        )()(x)
        shared = nn.vmap(Block, variable_axes={"params": None}, split_rngs={"params": False}, in_axes=1, out_axes=1)
        return shared()(ensemble)


class JittedMethod(nn.Module):
    @nn.jit
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(Block()(x))


class WithJittedMethod(nn.Module):
    @nn.compact
    def __call__(self, x):
        return JittedMethod()(x)


class Mixed(nn.Module):
    """A layer whose output is a dict with a None and something that is not an array."""

    @nn.compact
    def __call__(self, x):
        return {"a": nn.Dense(2)(x), "nothing": None, "number": 3, "b": (x, x + 1)}


class Mapped(nn.Module):
    @nn.compact
    def __call__(self, x):
        result = Mixed()(x)
        return result["a"].sum() + result["b"][1] * result["number"]


class Branches(nn.Module):
    @nn.compact
    def __call__(self, x):
        first, second = nn.Dense(4, name="first"), nn.Dense(4, name="second")
        if self.is_initializing():
            return first(x) + second(x)
        return nn.cond(x.sum() > 0, lambda module, x: first(x), lambda module, x: jnp.tanh(second(x)), self, x)


class Attention(nn.Module):
    @nn.compact
    def __call__(self, ids, mask=None):
        x = nn.LayerNorm()(nn.Embed(7, 4)(ids))
        return nn.MultiHeadDotProductAttention(2)(x, mask=mask)


class TwoInputs(nn.Module):
    @nn.compact
    def __call__(self, x, extra):
        return nn.Dense(3)(x) * nn.Dense(3)(extra["shift"])


class Half(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, dtype=jnp.bfloat16)(nn.relu(nn.Dense(4, dtype=jnp.bfloat16)(x)))


@jax.custom_vjp
def clipped(x):
    return jnp.clip(x, -1, 1)


clipped.defvjp(lambda x: (clipped(x), None), lambda _, g: (g,))


@jax.custom_jvp
def doubled(x):
    return 2 * x


doubled.defjvp(lambda primals, tangents: (doubled(*primals), 7 * tangents[0]))


def rules_of_its_own(params, x):
    """Functions with derivatives of their own, loops, a map over devices, and random numbers."""
    hidden = jv.tag(clipped(x @ params["w"]), "clipped")
    hidden = jv.tag(doubled(hidden), "doubled")
    hidden = jax.lax.fori_loop(0, 3, lambda _, h: jv.tag(jnp.sin(h), "loop"), hidden)
    hidden = jax.lax.while_loop(lambda h: (h**2).sum() > 1, lambda h: jv.tag(h / 2, "while"), hidden)
    hidden = jax.lax.switch(1, [jnp.sin, lambda h: jv.tag(jnp.cos(h), "branch")], hidden)
    mesh = jax.make_mesh((1,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = PartitionSpec("i")
    hidden = jax.shard_map(lambda h: jv.tag(h * 2, "shard"), mesh=mesh, in_specs=spec, out_specs=spec)(hidden)
    hidden = hidden + jax.random.normal(params["key"], hidden.shape)
    return jv.tag(jax.checkpoint(lambda h: jv.tag(jnp.exp(h), "exp") * 2)(hidden), "end")


class NnxBlock(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(4, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return x + self.dropout(nnx.relu(self.norm(self.linear(x))))


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.blocks = nnx.List([NnxBlock(rngs) for _ in range(2)])
        self.shared = nnx.Linear(4, 4, rngs=rngs)
        self.again = self.shared
        self.sequence = nnx.Sequential(nnx.Linear(4, 4, rngs=rngs), nnx.tanh)
        self.heads = nnx.Dict({"left": nnx.Linear(4, 2, rngs=rngs), "right": nnx.Linear(4, 2, rngs=rngs)})

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        x = self.sequence(self.again(self.shared(x)))
        return {name: head(x) for name, head in self.heads.items()}


class NnxLifted(nnx.Module):
    def __init__(self, rngs):
        self.scanned = nnx.split_rngs(splits=3)(nnx.vmap(NnxBlock))(rngs)
        self.remat, self.jit = NnxBlock(rngs), NnxBlock(rngs)
        self.ensemble = nnx.split_rngs(splits=3)(nnx.vmap(NnxBlock))(rngs)

    def __call__(self, x):
        x = nnx.scan(lambda block, x: block(x), in_axes=(0, nnx.Carry), out_axes=nnx.Carry)(self.scanned, x)
        x = nnx.remat(lambda block, x: block(x))(self.remat, x)
        x = nnx.jit(lambda block, x: block(x))(self.jit, x)
        return nnx.vmap(lambda block, x: block(x), in_axes=(0, None))(self.ensemble, x)


def linen(module: Any, inputs: Any, initial: dict[str, Any] | None = None, **keywords: Any) -> Any:
    """A model, its inputs, and the plain function of the inputs that it must equal."""
    args = inputs if type(inputs) is tuple else (inputs,)
    variables = module.init(KEY, *args, **(initial or {}))
    settings = {**(initial or {}), **keywords}

    @jax.jit  # the variables are arguments: XLA computes with constants in other ways
    def plain(variables: Any, inputs: Any) -> Any:
        return module.apply(variables, *(inputs if type(inputs) is tuple else (inputs,)), **settings)

    return jv.Model.from_linen(module, variables, **keywords), inputs, functools.partial(plain, variables)


def from_nnx(cls: Any) -> Any:
    module = cls(nnx.Rngs(0))
    reference = cls(nnx.Rngs(0))
    reference.eval()
    graph, state = nnx.split(reference)
    plain = jax.jit(lambda state, inputs: nnx.merge(graph, state)(inputs))
    return jv.Model.from_nnx(module), X, functools.partial(plain, state)


def from_function(apply: Any, params: Any) -> Any:
    return jv.Model.from_function(apply, params), X, functools.partial(jax.jit(apply), params)


NETWORKS: dict[str, Callable[[], Any]] = {
    "residual": lambda: linen(nn.Sequential([Block(), nn.tanh, Block()]), X),
    "reused": lambda: linen(Reused(), X),
    "convolutions": lambda: linen(Convolutions(), IMAGE, {"train": False}),
    "deep": lambda: linen(Deep(), X),
    "nested": lambda: linen(Nested(), X),
    "recurrent": lambda: linen(Recurrent(), SEQUENCE),
    "bidirectional": lambda: linen(nn.Bidirectional(nn.RNN(nn.SimpleCell(3)), nn.RNN(nn.SimpleCell(3))), SEQUENCE),
    "lstm steps": lambda: linen(LstmSteps(), SEQUENCE),
    "lifted": lambda: linen(Lifted(), X),
    "jitted method": lambda: linen(WithJittedMethod(), X),
    "mapped": lambda: linen(Mapped(), X),
    "branches": lambda: linen(Branches(), X),
    "attention": lambda: linen(Attention(), jnp.array([[1, 2, 3], [4, 0, 6]]), mask=jnp.tri(3, dtype=bool)[None, None]),
    "two inputs": lambda: linen(TwoInputs(), (X, {"shift": X + 1})),
    "half": lambda: linen(Half(), X),
    "own rules": lambda: from_function(rules_of_its_own, {"w": jnp.eye(4), "key": KEY}),
    "jitted function": lambda: from_function(jax.jit(Block().apply), Block().init(KEY, X)),
    "nnx": lambda: from_nnx(NnxNet),
    "nnx lifted": lambda: from_nnx(NnxLifted),
}


@functools.cache
def network(name: str) -> Any:
    return NETWORKS[name]()


def assert_same(ours: Any, theirs: Any) -> None:
    """Equal bit for bit, structure and dtypes included."""
    assert str(jax.tree.structure(ours)) == str(jax.tree.structure(theirs))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert jnp.asarray(a).dtype == jnp.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


def assert_close(ours: Any, theirs: Any) -> None:
    """Equal up to what fusing operations differently does."""
    assert str(jax.tree.structure(ours)) == str(jax.tree.structure(theirs))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        tolerance = 2e-2 if a.dtype == jnp.bfloat16 else 2e-6
        np.testing.assert_allclose(np.asarray(a, np.float64), np.asarray(b, np.float64), rtol=tolerance, atol=tolerance)


@jax.jit
def some_views(model: jv.Model, inputs: Any) -> Any:
    """For each side of a few layers: the activation, as until gives it and as since does, and the outputs composed again."""
    views = {}
    for side in ("output", "input"):
        captured = list(model.capture(inputs, side=side).items())
        for layer, value in captured[side == "input" :: len(captured) // 2 + 1]:
            tail, activation = model.since(layer, inputs, side=side)
            until = model.until(layer, side=side)(inputs)
            replaced = model.replace({layer: value}, side=side)(inputs) if side == "output" else model(inputs)
            views[f"{side} {layer}"] = value, until, activation, tail(activation), replaced
    return model(inputs), views


@pytest.mark.parametrize("name", NETWORKS)
def test_views_fit_together(name):
    model, inputs, plain = network(name)
    expected = plain(inputs)  # before the model is traced with marks: JAX has unmarked programs in its caches
    assert_same(model(inputs), expected)
    outputs, views = some_views(model, inputs)
    assert_close(outputs, expected)
    assert views
    for value, until, activation, again, replaced in views.values():
        assert_close(until, value)
        assert_close(activation, value)
        if jax.tree.all(jax.tree.map(lambda leaf: bool(jnp.isfinite(leaf).all()), value)):  # else a branch not taken
            assert_close(again, expected)
            assert_close(replaced, expected)


PATHS = {
    "residual": "layers_0/Dense_1 layers_0/Dense_0 layers_0 layers_2/Dense_1 layers_2/Dense_0 layers_2",
    "reused": "Dense_0 hidden Dense_0#1 Dense_0#2",
    "deep": "ScanStep_0/Dense_0 ScanStep_0 Dense_0",
    "nested": "ScanInnerScan_0/ScanStep_0/Dense_0 ScanInnerScan_0/ScanStep_0 ScanInnerScan_0",
    "jitted method": (
        "JittedMethod_0/Block_0/Dense_1 JittedMethod_0/Block_0/Dense_0 JittedMethod_0/Block_0 "
        "JittedMethod_0/Dense_0 JittedMethod_0"
    ),
    "mapped": "Mixed_0/Dense_0 Mixed_0",
    "attention": " ".join(
        ["Embed_0", "LayerNorm_0"]
        + [f"MultiHeadDotProductAttention_0/{part}" for part in ("query", "key", "value", "out")]
        + ["MultiHeadDotProductAttention_0"]
    ),
    "branches": "second first",  # JAX has the branch of False first
    "own rules": "clipped doubled loop branch exp end",  # not those in the while loop and the map over devices
    "jitted function": "Dense_1 Dense_0",
    "nnx": (
        "blocks/0/linear blocks/0/norm blocks/0/dropout blocks/0 blocks/1/linear blocks/1/norm blocks/1/dropout blocks/1 "
        "again again#1 sequence/layers/0 sequence heads/left heads/right"
    ),
}


@pytest.mark.parametrize("name", PATHS)
def test_order_of_capture(name):
    model, inputs, _ = network(name)
    captured = list(model.capture(inputs))
    assert captured == PATHS[name].split()
    assert [layer.path for layer in model.layers(inputs) if layer.path in captured] == captured


@pytest.mark.parametrize("name", ["residual", "reused", "convolutions", "lstm steps", "attention", "half", "mapped"])
def test_capture_equals_flax_intermediates(name):
    model, inputs, _ = network(name)
    module = model.apply.parts[0].value
    keywords = {**model.apply.parts[1].value, **model.keywords}
    _, state = jax.jit(
        lambda inputs: module.apply(
            model.params, inputs, **keywords, capture_intermediates=True, mutable=["intermediates"]
        )
    )(inputs)
    expected = {}

    def collect(tree: Any, path: tuple[str, ...]) -> None:
        for part, value in tree.items():
            if part == "__call__":
                expected.update(
                    {"/".join(path) + (f"#{call}" if call else ""): output for call, output in enumerate(value)}
                )
            else:
                collect(value, (*path, part))

    collect(state["intermediates"], ())
    del expected[""]  # the model itself
    captured = model.capture(inputs)
    captured.pop("hidden", None)
    assert captured.keys() == expected.keys()
    arrays = lambda tree: [leaf for leaf in jax.tree.leaves(tree) if jnp.ndim(leaf)]
    for path, value in captured.items():
        assert_close(jax.tree.leaves(value), arrays(expected[path]))


def test_scan_by_hand():
    model, x, _ = network("deep")
    params = model.params["params"]["ScanStep_0"]["Dense_0"]
    carry, steps = x, []
    for kernel, bias in zip(params["kernel"], params["bias"], strict=True):
        steps.append(carry @ kernel + bias[None])
        carry = jnp.tanh(steps[-1])
    assert_close(model.capture(x)["ScanStep_0/Dense_0"], jnp.stack(steps))
    # One step's change, with what it does to the next.
    changed = jnp.stack(steps).at[1].add(1.0)
    expected = jnp.tanh(jnp.tanh(steps[1] + 1) @ params["kernel"][2] + params["bias"][2][None])
    delta = jnp.zeros((3, 1, 1)).at[1].set(1.0)
    got = model.add({"ScanStep_0/Dense_0": delta}).capture(x, "ScanStep_0")["ScanStep_0"][0][-1]
    assert_close(got, expected)
    # Replacing the whole stack holds every step's value fixed.
    got = model.replace({"ScanStep_0/Dense_0": changed}).capture(x, "ScanStep_0")["ScanStep_0"][0]
    assert_close(got, jnp.tanh(changed))


def test_reversed_scan_keeps_the_order_of_inputs():
    def apply(params, x):
        step = lambda carry, x: (jv.tag(carry + x, "sum"), None)
        return jax.lax.scan(step, jnp.zeros(4), x, reverse=True)[0]

    model = jv.Model.from_function(apply, {})
    assert_close(model.capture(X)["sum"], jnp.stack([X[1] + X[0], X[1]]))
    added = model.add({"sum": jnp.zeros((2, 4)).at[1].set(3.0)}).capture(X)["sum"]
    assert_close(added, jnp.stack([X[1] + 3 + X[0], X[1] + 3]))


def test_nested_scan_shapes_and_values():
    model, x, _ = network("nested")
    inner = "ScanInnerScan_0/ScanStep_0"
    captured = model.capture(x)
    assert captured[f"{inner}/Dense_0"].shape == (3, 2, 2, 4)
    params = model.params["params"]["ScanInnerScan_0"]["ScanStep_0"]["Dense_0"]
    value, carry = np.zeros((3, 2, 2, 4)), x
    for i in range(3):
        for j in range(2):
            value[i, j] = carry @ params["kernel"][i, j] + params["bias"][i, j][None]
            carry = jnp.tanh(jnp.asarray(value[i, j], jnp.float32))
    np.testing.assert_allclose(captured[f"{inner}/Dense_0"], value, atol=1e-6)


def test_branch_not_taken_is_nan():
    model, _, _ = network("branches")
    for sign, taken, other in ((1.0, "first", "second"), (-1.0, "second", "first")):
        x = jnp.full((2, 4), sign)
        captured = model.capture(x)
        assert jnp.isnan(captured[other]).all()
        assert jnp.isfinite(captured[taken]).all()
        changed = model.replace({"first": 5.0, "second": 0.5})(x)
        np.testing.assert_allclose(changed, jnp.full((2, 4), 5.0 if sign > 0 else np.tanh(0.5)), rtol=1e-6)


def test_input_side_and_edits_by_hand():
    model, x, _ = network("reused")
    kernel, bias = (model.params["params"]["Dense_0"][name] for name in ("kernel", "bias"))
    dense = lambda x: x @ kernel + bias[None]
    hidden = jnp.tanh(dense(x))
    assert_close(model.capture(x, side="input"), {"Dense_0": x, "Dense_0#1": hidden, "Dense_0#2": x})
    assert_close(model.replace({"hidden": 0.5})(x), dense(jnp.full((2, 4), 0.5)) + dense(x))
    assert_close(model.replace({"hidden": jnp.sin})(x), dense(jnp.sin(hidden)) + dense(x))
    assert_close(model.add({"hidden": x})(x), dense(hidden + x) + dense(x))
    assert_close(model.add({"hidden": jnp.sin})(x), dense(hidden + jnp.sin(hidden)) + dense(x))
    assert_close(model.replace({"Dense_0#2": 0})(x), dense(hidden))
    assert_close(model.add({"Dense_0*": 1.0})(x), dense(jnp.tanh(dense(x) + 1)) + dense(x) + 2)
    assert_close(model.add({"Dense_0#1": 1.0}, side="input")(x), dense(hidden + 1) + dense(x))
    assert_close(model.replace({"Dense_0*": 0.0, "Dense_0#2": 1})(x), jnp.ones((2, 4)))  # the last counts


def test_tuple_layers():
    model, x, _ = network("lstm steps")
    (c, h), y = model.capture(x)["LSTMCell_0"]
    assert c.shape == h.shape == y.shape == (2, 3)
    zero = model.replace({"LSTMCell_0#1": 0.0})(x)
    assert_close(zero, jnp.zeros((2, 3)))
    new = ((c, h), y + 1)
    assert_close(model.replace({"LSTMCell_0#1": new})(x), y + 1)
    flipped = model.replace({"LSTMCell_0#1": lambda value: (value[0], -value[1])})
    assert_close(flipped(x), -model(x))
    with pytest.raises(ValueError, match=r"replace: layer 'LSTMCell_0' has 3 arrays, the value given has 2"):
        model.replace({"LSTMCell_0": (c, h)})(x)
    with pytest.raises(ValueError, match="has the structure"):
        model.replace({"LSTMCell_0": lambda value: value[1]})(x)


def test_views_of_views():
    model, x, _ = network("reused")
    changed = model.replace({"hidden": 0.5})
    assert_close(changed.until("hidden")(x), jnp.full((2, 4), 0.5))
    assert_close(changed.capture(x)["Dense_0#1"], model.until("Dense_0#1").replace({"hidden": 0.5})(x))
    tail, activation = changed.since("Dense_0#1", x)
    assert_close(tail(activation), changed(x))
    tail, activation = model.since("Dense_0", x)
    inner, hidden = tail.since("hidden", activation)
    assert_close(inner(hidden), model(x))
    assert_close(tail.until("hidden")(activation * 2), jnp.tanh(activation * 2))
    assert_close(tail.replace({"hidden": 0.5})(activation), changed(x))
    twice = model.add({"hidden": 1.0}).add({"hidden": 1.0})
    assert_close(twice(x), model.add({"hidden": 2.0})(x))
    assert_close(model.until("hidden").until("Dense_0")(x), model.capture(x)["Dense_0"])


def test_with_params():
    model, x, plain = network("reused")
    doubled_params = jax.tree.map(lambda leaf: leaf * 2, model.params)
    assert_same(model.with_params(doubled_params)(x), jax.jit(Reused().apply)(doubled_params, x))
    assert model.with_params(doubled_params).apply == model.apply
    assert_same(model(x), plain(x))


@pytest.mark.parametrize("name", ["reused", "deep", "own rules", "nnx"])
def test_under_vmap_and_jit(name):
    model, x, _ = network(name)
    many = jnp.stack([x, x + 0.5, -x])
    mapped = jax.vmap(model.capture)(many)
    for index, inputs in enumerate(many):
        assert_close(jax.tree.map(lambda leaf, index=index: leaf[index], mapped), model.capture(inputs))
    assert_close(jax.jit(lambda model, x: model.capture(x))(model, x), model.capture(x))
    params = jax.vmap(lambda scale: jax.vmap(model)(many * scale))(jnp.array([1.0, 2.0]))
    assert_close(jax.tree.map(lambda leaf: leaf[0, 0], params), model(x))


def test_gradients_equal_those_of_the_plain_model():
    for name in ("residual", "nested", "jitted function"):
        model, x, plain = network(name)
        assert_close(
            jax.grad(lambda x, plain=plain: (plain(x) ** 2).sum())(x),
            jax.jit(jax.grad(lambda x, model=model: (model(x) ** 2).sum()))(x),
        )
    model, x, _ = network("residual")
    ours = jax.grad(lambda model: model(x).sum())(model).params
    module = model.apply.parts[0].value
    assert_close(ours, jax.jit(jax.grad(lambda params: module.apply(params, x).sum()))(model.params))


def test_gradient_at_a_layer():
    """Of a tail, against the formula: y = dense(tanh(h)) + dense(x)."""
    model, x, _ = network("reused")
    tail, hidden = model.since("Dense_0", x)
    kernel = np.asarray(model.params["params"]["Dense_0"]["kernel"], np.float64)
    expected = (1 - np.tanh(np.asarray(hidden, np.float64)) ** 2) * kernel.sum(axis=1)
    np.testing.assert_allclose(jax.grad(lambda h: tail(h).sum())(hidden), expected, atol=1e-6)
    added = jax.grad(lambda delta: model.add({"Dense_0": delta})(x).sum())(jnp.zeros((2, 4)))
    np.testing.assert_allclose(added, expected, atol=1e-6)
    # With respect to the inputs, through what the tail was given.
    whole = jax.grad(lambda x: (lambda tail, h: tail(h).sum())(*model.since("Dense_0", x)))(x)
    assert_close(whole, jax.grad(lambda x: model(x).sum())(x))


def test_derivative_rules_are_kept():
    model, x, _ = network("own rules")
    tail, start = model.since("clipped", 5 * x)
    gradient = lambda tail, value: jax.grad(lambda value: tail(value).sum())(value)
    assert_close(gradient(tail.until("doubled"), start), jnp.full((2, 4), 7.0))
    until = model.until("clipped")
    assert_close(gradient(until, 5 * x), jnp.ones((2, 4)))  # the identity, clipped or not


def test_remat_is_kept_under_grad():
    """A rematerialised block saves nothing for the backward pass, with an edit inside it as without."""

    def apply(params, x):
        for _ in range(3):
            x = jax.checkpoint(lambda x: jnp.sin(jv.tag(jnp.sin(jnp.sin(x)), "inside")))(x)
        return x * params

    model = jv.Model.from_function(apply, 1.0)
    for view in (model, model.add({"inside": 1.0}), model.replace({"inside#1": jnp.cos})):
        jaxpr = str(jax.make_jaxpr(jax.grad(lambda x, view=view: view(x).sum()))(X))
        assert jaxpr.count("checkpoint[") + jaxpr.count("remat2[") >= 3


def test_numpy_and_weakly_typed_values():
    model = jv.Model.from_function(lambda params, x: jv.tag(x * params["scale"], "scaled") + params["shift"], {})
    model = model.with_params({"scale": 2.0, "shift": 1})  # Python numbers
    x = np.arange(3.0, dtype=np.float32)
    assert_close(model(x), jnp.array([1.0, 3.0, 5.0]))
    tail, scaled = model.since("scaled", x)
    assert_close(tail(np.asarray(scaled)), model(x))


TRACED: list[str] = []


class Counting(nn.Module):
    """Tells when its Python is run."""

    widths: Any = (3, 2)
    activation: Callable[[Any], Any] = nn.tanh

    @nn.compact
    def __call__(self, x, train: bool = True):
        TRACED.append("linen")
        for width in self.widths:
            x = self.activation(nn.Dense(width)(x))
        return nn.Dropout(0.5, deterministic=not train)(x)


class NnxCounting(nnx.Module):
    def __init__(self, seed):
        self.first = nnx.Linear(4, 3, rngs=nnx.Rngs(seed))
        self.norm = nnx.BatchNorm(3, rngs=nnx.Rngs(seed))

    def __call__(self, x):
        TRACED.append("nnx")
        return self.norm(self.first(x))


class Owner:
    """Of a bound method; equal to another by value."""

    def __init__(self, scale):
        self.scale = scale

    def __eq__(self, other):
        return isinstance(other, Owner) and self.scale == other.scale

    def __hash__(self):
        return hash(self.scale)

    def apply(self, params, x):
        return counted(params, x, scale=self.scale)


def counted(params, x, *, scale):
    TRACED.append("function")
    return jv.tag(x @ params, "first") * scale


def counting(kind: str, seed: int) -> jv.Model:
    weights = jax.random.normal(jax.random.key(seed), (4, 4))
    match kind:
        case "linen" | "list" | "partial":
            activation = functools.partial(nn.leaky_relu, negative_slope=0.1) if kind == "partial" else nn.tanh
            module = Counting([3, 2] if kind == "list" else (3, 2), activation)
            return jv.Model.from_linen(module, module.init(jax.random.key(seed), X, train=False))
        case "nnx":
            return jv.Model.from_nnx(NnxCounting(seed))
        case "bound":
            return jv.Model.from_function(Owner(2.0).apply, weights)
    return jv.Model.from_function(functools.partial(counted, scale=2.0), weights)


@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        ("linen", "Dense_0"),
        ("list", "Dense_0"),
        ("partial", "Dense_0"),
        ("nnx", "first"),
        ("bound", "first"),
        ("function", "first"),
    ],
)
def test_second_model_traces_nothing(kind, layer):
    def use(model: jv.Model, x: Any) -> None:
        model(x)
        model.layers(x)
        model.capture(x, (layer,))
        activation = model.until(layer)(x)
        tail, activation = model.since(layer, x)
        tail(activation)
        model.replace({layer: activation})(x)
        model.replace({layer: jnp.sin})(x)
        model.add({layer: 0.5 * activation})(x)

    use(counting(kind, 0), X)
    again = counting(kind, 1)
    TRACED.clear()
    sizes = [function._cache_size() for function in compiled()]
    use(again, X * 2 + 1)
    assert TRACED == []
    assert [function._cache_size() for function in compiled()] == sizes


def compiled() -> list[Any]:
    from jaxviz import model, views

    return [model._call, model._capture, views._before]


def test_static_parts_differ_by_type():
    shaped = jv.Model.from_function(functools.partial(counted, scale=2.0), jnp.eye(4))
    module = Counting()
    variables = module.init(KEY, X, train=False)
    training = jv.Model.from_linen(module, variables, train=True, rngs={"dropout": KEY})
    assert shaped.apply != jv.Model.from_function(functools.partial(counted, scale=2), jnp.eye(4)).apply
    assert jv.Model.from_linen(module, variables, train=0).apply != jv.Model.from_linen(module, variables).apply
    assert training.apply != jv.Model.from_linen(module, variables).apply
    assert_same(training(X), jax.jit(lambda x: module.apply(variables, x, train=True, rngs={"dropout": KEY}))(X))


def test_threads():
    """Traced at the same time, on inputs of a shape not seen before."""
    names = ["residual", "reused", "lstm steps", "nnx"]
    models = {name: network(name)[:2] for name in names}
    got: dict[str, Any] = {}

    def work(name: str) -> None:
        model, inputs = models[name]
        got[name] = model.capture(jnp.concatenate([inputs, inputs]))

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, (model, inputs) in models.items():
        assert_close(jax.tree.map(lambda leaf: leaf[2:], got[name]), model.capture(inputs))


def test_errors_name_the_nearest_layers():
    model, x, _ = network("residual")
    with pytest.raises(ValueError, match=r"capture: layer 'layers_0/Dense' not found; layers: layers_0/Dense_1, "):
        model.capture(x, "layers_0/Dense")
    with pytest.raises(ValueError, match=r"until: layer 'nope' not found"):
        model.until("nope")(x)
    with pytest.raises(ValueError, match=r"since: layer 'nope' not found"):
        model.since("nope", x)
    with pytest.raises(ValueError, match=r"until: layer '\*\*/Dense_0' fits 2 layers, give one of them: layers_0/D"):
        model.until("**/Dense_0")(x)
    with pytest.raises(ValueError, match="side must be one of 'output', 'input', got 'in'"):
        model.capture(x, side="in")
    with pytest.raises(TypeError, match="until: layer must be a path string, got int"):
        model.until(3)(x)
    with pytest.raises(ValueError, match="no named layers"):
        jv.Model.from_function(lambda params, x: x, {}).until("a")(x)


def test_errors_of_edits():
    model, x, _ = network("residual")
    with pytest.raises(ValueError, match=r"replace: the new value of layer 'layers_0' has shape \(3,\), the layer has"):
        model.replace({"layers_0": jnp.ones(3)})(x)
    with pytest.raises(TypeError, match=r"add: the new value of layer 'layers_0' has dtype bfloat16, the layer has fl"):
        model.add({"layers_0": jnp.ones((2, 4), jnp.bfloat16)})(x)
    with pytest.raises(ValueError, match="replace: layer 'nope' not found"):
        model.replace({"nope": 1.0})(x)
    with pytest.raises(TypeError, match="replace: values must be a non-empty dict"):
        model.replace({})
    integers = jv.Model.from_function(lambda params, x: jv.tag(x, "ids") + 1, {})
    with pytest.raises(TypeError, match="dtype float32, the layer has int32"):
        integers.replace({"ids": 0.5})(jnp.arange(3))
    tail, activation = model.since("layers_0", x)
    with pytest.raises(ValueError, match=r"the tail from layer 'layers_0' takes .*\[\(2, 4\)\].*got \[\(3, 4\)\]"):
        tail(jnp.ones((3, 4)))
    with pytest.raises(TypeError, match="since: the new value of layer 'layers_0' has dtype int32"):
        tail(activation.astype(jnp.int32))


def test_layer_inside_a_while_loop():
    model, x, _ = network("own rules")
    with pytest.raises(ValueError, match=r"capture: layer 'while' runs inside a while loop.*nn\.scan"):
        model.capture(10 * x, "while")
    assert_close(model.replace({"while": 0.0}).until("branch")(10 * x + 3), jnp.ones((2, 4)))
    with pytest.raises(ValueError, match="layer 'shard' not found"):
        model.capture(x, "shard")
