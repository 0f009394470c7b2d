"""Models of every make: the values of their layers, read, replaced and started from, against the plain model."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxviz as jv


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Dense(4)(x)) + x


class Kitchen(nn.Module):
    """Everything at once: remat, jit, scan, vmap, a reused module, tuple outputs, batch norm, dropout, a residual around."""

    @nn.compact
    def __call__(self, x, train=False):
        x = x + nn.remat(Block)(name="remat")(x)
        x = nn.jit(Block)(name="jitted")(x)
        reused = nn.Dense(4, name="reused")
        x = jnp.tanh(reused(jnp.tanh(reused(x))))
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        cell = nn.LSTMCell(4, name="cell")
        _, x = cell(cell.initialize_carry(jax.random.key(0), x.shape), x)
        stack = nn.scan(
            lambda block, x, _: (block(x), None), variable_axes={"params": 0}, split_rngs={"params": True}, length=3
        )
        x, _ = stack(Block(name="scanned"), x, None)
        twins = nn.vmap(
            Block, in_axes=None, out_axes=1, axis_size=2, variable_axes={"params": 0}, split_rngs={"params": True}
        )
        return twins(name="twins")(x).sum(axis=1)


class Cells(nnx.Module):
    def __init__(self, rngs):
        self.blocks = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(2)])
        self.heads = nnx.Dict({"a": nnx.Linear(4, 2, rngs=rngs)})
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        for block in self.blocks:
            x = x + jnp.tanh(block(x))
        return self.heads["a"](self.drop(self.norm(nnx.relu(self.blocks[0](x)))))


def function(params, x):
    """A scan, a conditional and a while loop, with tags inside."""

    def body(carry, weights):
        carry = jv.tag(jnp.tanh(carry @ weights), "step")
        return carry, carry.sum()

    x, _ = jax.lax.scan(body, x, params)
    x = jax.lax.cond(x.sum() > 0, lambda x: jv.tag(x * 2, "positive"), lambda x: jv.tag(jnp.sin(x), "negative"), x)
    return jax.lax.fori_loop(0, 3, lambda _, x: jv.tag(x * 0.5, "loop"), x)


INPUTS = jax.random.normal(jax.random.key(1), (3, 4))


@functools.cache
def model(name):
    if name == "linen":
        module = Kitchen()
        variables = jax.jit(module.init)(jax.random.key(0), INPUTS)
        return jv.Model.from_linen(module, variables), lambda x: module.apply(variables, x)
    if name == "nnx":
        module = Cells(nnx.Rngs(0))
        evaluated = nnx.merge(*nnx.split(module))
        evaluated.eval()
        return jv.Model.from_nnx(module), lambda x: evaluated(x)
    params = jax.random.normal(jax.random.key(2), (3, 4, 4))
    return jv.Model.from_function(function, params), lambda x: function(params, x)


NAMES = ["linen", "nnx", "function"]


@pytest.mark.parametrize("name", NAMES)
def test_is_the_plain_model_to_the_bit(name):
    of, plain = model(name)
    np.testing.assert_array_equal(of(INPUTS), jax.jit(plain)(INPUTS))
    np.testing.assert_array_equal(jax.jit(of)(INPUTS), of(INPUTS))
    many = jax.vmap(of)(jnp.stack([INPUTS, 2 * INPUTS]))
    np.testing.assert_allclose(many[1], of(2 * INPUTS), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_can_be_read_replaced_and_started_from(name):
    of, _ = model(name)
    outputs = of(INPUTS)
    captured = of.capture(INPUTS)
    records = {layer.path: layer for layer in of.layers(INPUTS)}
    assert set(captured) <= set(records)
    assert list(captured) == list(records)[: len(captured)] or name == "function"
    for path, value in captured.items():
        shapes = tuple(leaf.shape for leaf in jax.tree.leaves(value))
        assert records[path].shape == (shapes if len(shapes) > 1 else shapes[0])
    # One of each kind; all of them would compile for minutes.
    chosen = {
        "linen": ["remat/Dense_0", "jitted", "reused", "reused#1", "norm", "cell", "scanned/Dense_0", "twins"],
        "nnx": ["blocks/0", "blocks/0#1", "norm", "heads/a"],
        "function": ["step", "negative", "positive"],
    }[name]
    for path in chosen:
        value = captured[path]
        jax.tree.map(np.testing.assert_array_equal, of.until(path)(INPUTS), value)
        tail, activation = of.since(path, INPUTS)
        jax.tree.map(np.testing.assert_array_equal, activation, value)
        np.testing.assert_allclose(tail(activation), outputs, atol=1e-6)
        if not any(np.isnan(leaf).any() for leaf in jax.tree.leaves(value)):  # in a branch that is not taken
            np.testing.assert_allclose(of.replace({path: value})(INPUTS), outputs, atol=1e-6)
            changed = jax.tree.map(lambda leaf: 2 * leaf, value)
            assert not np.allclose(of.replace({path: changed})(INPUTS), outputs)
            if path not in ("step", "scanned/Dense_0"):  # in a scan, what is added at one step changes the next
                np.testing.assert_allclose(
                    of.add({path: value})(INPUTS), of.replace({path: changed})(INPUTS), atol=1e-5
                )


def test_numbers_of_the_calls_and_parameters():
    of, _ = model("linen")
    layers = {layer.path: layer for layer in of.layers(jax.ShapeDtypeStruct((3, 4), jnp.float32))}
    dense = 3 * 4 * (2 * 4 + 1)
    assert layers["reused"].parameters == 4 * 4 + 4
    assert layers["reused#1"].parameters == 0
    assert layers["reused#1"].flops == dense
    assert layers["scanned/Dense_0"].shape == (3, 3, 4)
    assert layers["scanned/Dense_0"].parameters == 3 * (4 * 4 + 4)
    assert layers["scanned/Dense_0"].flops == 3 * dense
    assert layers["scanned"].flops == 3 * (dense + 3 * 4 + 3 * 4)  # relu, residual addition
    assert layers["twins/Dense_0"].flops == 2 * dense
    assert layers["norm"].parameters == 8
    assert (layers["cell"].kind, layers["cell"].shape) == ("LSTMCell", ((3, 4),) * 3)


def test_a_bypass_stays_a_bypass():
    """The tail after a layer inside a residual block keeps what goes around it; its gradient is by the layer alone."""
    kernel = jnp.arange(16.0).reshape(4, 4) / 10

    def apply(params, x):
        return (x + jv.tag(x @ params, "inner")).sum(axis=1) ** 2

    of = jv.Model.from_function(apply, kernel)
    tail, activation = of.since("inner", INPUTS)
    gradient = jax.grad(lambda a: tail(a).sum())(activation)
    by_hand = 2 * (INPUTS + INPUTS @ kernel).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(gradient, jnp.broadcast_to(by_hand, (3, 4)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"since: the tail from layer 'inner' takes an activation of shape"):
        tail(activation[:2])


def test_views_of_views():
    of, _ = model("function")
    zeroed = of.replace({"step": 0.0})
    assert (np.asarray(zeroed.capture(INPUTS, "negative")["negative"]) == 0).all()
    np.testing.assert_array_equal(zeroed.until("negative")(INPUTS), jnp.zeros((3, 4)))
    np.testing.assert_allclose(of.replace({"step": jnp.abs}).add({"negative": 1.0})(INPUTS).shape, (3, 4))


def test_inputs_of_layers():
    of, _ = model("linen")
    inside = of.capture(INPUTS, ["reused", "reused#1"], side="input")
    outside = of.capture(INPUTS, ["jitted", "reused"])
    np.testing.assert_array_equal(inside["reused"], outside["jitted"])
    np.testing.assert_allclose(inside["reused#1"], jnp.tanh(outside["reused"]), atol=1e-6)


@pytest.mark.parametrize("name", ["linen", "nnx"])
def test_a_second_model_of_the_same_module_traces_nothing(name):
    traced = []

    def count():
        traced.append(1)

    if name == "linen":

        class Counting(nn.Module):
            @nn.compact
            def __call__(self, x):
                count()
                return nn.Dense(2, name="inner")(x)

        variables = Counting().init(jax.random.key(0), INPUTS)
        make = lambda: jv.Model.from_linen(Counting(), variables)  # noqa: E731
    else:

        class CountingNnx(nnx.Module):
            def __init__(self):
                self.inner = nnx.Linear(4, 2, rngs=nnx.Rngs(0))

            def __call__(self, x):
                count()
                return self.inner(x)

        make = lambda: jv.Model.from_nnx(CountingNnx())  # noqa: E731

    def use(of, x):
        tail, activation = of.since("inner", x)
        of(x), of.capture(x), of.until("inner")(x), tail(activation), of.layers(x)
        of.replace({"inner": activation})(x), of.add({"inner": 1.0})(x)

    use(make(), INPUTS)
    before = len(traced)
    use(make(), INPUTS + 1)
    assert len(traced) == before


def test_errors_name_what_there_is():
    of, _ = model("function")
    for call, message in [
        (lambda: of.capture(INPUTS, "stepp"), r"capture: layer 'stepp' not found; layers: step, "),
        (lambda: of.capture(INPUTS, "loop"), "negative|step|loop"),
        (lambda: of.until("*e*")(INPUTS), r"until: layer '\*e\*' fits 3 layers"),
        (
            lambda: of.replace({"step": jnp.ones(3)})(INPUTS),
            r"layer 'step' has shape \(3,\), the layer has \(3, 3, 4\)",
        ),
        (lambda: of.capture(INPUTS, side="middle"), "side must be 'input' or 'output', got 'middle'"),
        (lambda: jv.tag(INPUTS, "a::b"), "tag: name must be"),
    ]:
        if "loop" in message:
            continue  # a loop of fixed length is a scan: its values can be read
        with pytest.raises(ValueError, match=message):
            call()
    assert of.capture(INPUTS, "loop")["loop"].shape == (3, 3, 4)
    with pytest.raises(
        TypeError, match=r"from_linen: module must be a flax.linen.Module, got Cells; use Model.from_nnx"
    ):
        jv.Model.from_linen(Cells(nnx.Rngs(0)), {})
    with pytest.raises(ValueError, match=r"Pass \{'params': params\}"):
        jv.Model.from_linen(Block(), {"Dense_0": {"kernel": INPUTS}})
