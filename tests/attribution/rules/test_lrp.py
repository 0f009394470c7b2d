"""LRP on what a program is made of: relevance against formulas in numpy, conserved, and the same however it is written."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.layout import Layout, with_layout_constraint

import jaxviz as jv
from jaxviz.attribution.rules import (
    AlphaBeta,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    Norm,
    Pass,
    Stabilizer,
    WSquare,
    ZBox,
    ZPlus,
    epsilon_plus,
)
from jaxviz.attribution.rules.assignment import Assignment
from jaxviz.attribution.rules.propagation import propagation
from jaxviz.attribution.rules.rescale import LINEAR

EPSILON = 1e-6


def stable(z: np.ndarray) -> np.ndarray:
    return z + np.where(z < 0, -EPSILON, EPSILON)


def relevance(apply: Callable[[Any, Any], Any], inputs: Any, params: Any = (), **settings: Any) -> Any:
    """LRP of a function, in float64."""
    arrays = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), (params, inputs))
    return jv.lrp(jv.Model.from_function(apply, arrays[0]), arrays[1], **settings)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# Each rule on a layer turned into a dense matrix by its Jacobian: what a rule makes of x, matrix, bias, value and relevance.


def by_parts(x, w, b, z, r):
    up = np.maximum(x, 0) * np.maximum(w, 0) + np.minimum(x, 0) * np.minimum(w, 0)
    return up, x * w - up


def z_plus(x, w, b, z, r):
    up, _ = by_parts(x, w, b, z, r)
    return (up / stable(up.sum(1) + np.maximum(b, 0))[:, None] * r[:, None]).sum(0)


def alpha_beta(x, w, b, z, r):
    up, down = by_parts(x, w, b, z, r)
    first = up / stable(up.sum(1) + np.maximum(b, 0))[:, None]
    second = down / stable(down.sum(1) + np.minimum(b, 0))[:, None]
    return ((2 * first - second) * r[:, None]).sum(0)


def gamma(x, w, b, z, r):
    total = np.zeros_like(x)
    for sign in (1, -1):
        favored = np.maximum(sign * x * w, 0) * sign * 0.25 + x * w
        bias = b + 0.25 * sign * np.maximum(sign * b, 0)
        gate = (sign * z > 0) * r
        total += (favored / stable(favored.sum(1) + bias)[:, None] * gate[:, None]).sum(0)
    return total


def z_box(x, w, b, z, r):
    parts = x * w - LOW * np.maximum(w, 0) - HIGH * np.minimum(w, 0)
    return (parts / stable(parts.sum(1))[:, None] * r[:, None]).sum(0)


LOW, HIGH = -2.0, 3.0
FORMULAS = {
    "epsilon": (Epsilon(), lambda x, w, b, z, r: (x * w / stable(z)[:, None] * r[:, None]).sum(0)),
    "gamma": (Gamma(), gamma),
    "alpha-beta": (AlphaBeta(), alpha_beta),
    "z-plus": (ZPlus(), z_plus),
    "z-box": (ZBox(LOW, HIGH), z_box),
    "w-square": (WSquare(), lambda x, w, b, z, r: (w**2 / stable((w**2).sum(1) + b**2)[:, None] * r[:, None]).sum(0)),
    "flat": (Flat(), lambda x, w, b, z, r: ((w != 0) / stable((w != 0).sum(1))[:, None] * r[:, None]).sum(0)),
}


class Layer(nn.Module):
    """A convolution that batch normalization scales with factors of both signs."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(3, (2, 2), padding="VALID")(x)
        return nn.BatchNorm(use_running_average=True, dtype=x.dtype)(x)


def layer_variables() -> Any:
    norm = {"scale": [1.5, -0.7, 0.3], "bias": [0.4, -0.2, 0.1], "mean": [0.1, 0.2, -0.3], "var": [0.5, 2.0, 1.0]}
    params = {
        "Conv_0": {"kernel": normal(20, 2, 2, 2, 3), "bias": normal(21, 3)},
        "BatchNorm_0": {name: np.array(norm[name]) for name in ("scale", "bias")},
    }
    statistics = {"BatchNorm_0": {name: np.array(norm[name]) for name in ("mean", "var")}}
    return jax.tree.map(jnp.asarray, {"params": params, "batch_stats": statistics})


def of_each_example(outputs: jax.Array) -> jax.Array:
    return outputs.sum(axis=(1, 2, 3))


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("written", ["weights", "scale of each value"])
def test_each_rule_on_a_dense_matrix(name, written):
    rule, formula = FORMULAS[name]
    x = jnp.asarray(normal(1, 1, 3, 4, 2))
    variables = layer_variables()
    factors = jnp.asarray(normal(2, 2, 3, 3))[None]  # no factors of the weights

    def apply(variables: Any, x: jax.Array) -> Any:
        z: Any = Layer().apply(variables, x)
        return z if written == "weights" else z * factors

    composite = Composite({"convolution": rule})
    model = jv.Model.from_function(apply, variables)
    ours = np.asarray(jv.lrp(model, x, target=of_each_example, composite=composite)).ravel()
    matrix = np.asarray(jax.jacobian(lambda x: apply(variables, x))(x)).reshape(-1, x.size)
    bias = np.asarray(apply(variables, jnp.zeros_like(x))).ravel()
    z = matrix @ np.asarray(x).ravel() + bias
    theirs = formula(np.asarray(x).ravel(), matrix, bias, z, z / stable(z.sum()) * z.sum())
    assert np.abs(ours - theirs).max() < 1e-10 * np.abs(theirs).max()


def test_sums_products_and_maxima_by_hand():
    x = np.array([[3.0, -1.0, 2.0]])
    half = lambda params, x: x[:, 0] * x[:, 1] + x[:, 2]  # -3 + 2
    assert np.allclose(relevance(half, x), [[-1.5, -1.5, 2.0]], atol=1e-5)
    assert np.allclose(relevance(lambda params, x: x.mean(axis=1), x), x / 3, atol=1e-5)
    assert np.allclose(relevance(lambda params, x: x.max(axis=1), x), [[3.0, 0.0, 0.0]])
    assert np.allclose(relevance(lambda params, x: jnp.maximum(x[:, 0], x[:, 1]), x), [[3.0, 0.0, 0.0]])
    assert np.allclose(relevance(lambda params, x: x[:, 0] / x[:, 1], x), [[-3.0, 0.0, 0.0]])
    assert np.allclose(relevance(lambda params, x: x[:, 0] - x[:, 2], x), [[3.0, 0.0, -2.0]], atol=1e-5)
    assert np.allclose(
        relevance(lambda params, x: jnp.where(x > 0, x, x * 0.1).sum(axis=1), x), [[3.0, -0.1, 2.0]], atol=1e-5
    )
    assert np.allclose(relevance(lambda params, x: jnp.cumsum(x, axis=1)[:, 1], x), [[3.0, -1.0, 0.0]], atol=1e-5)


def resharded(x: jax.Array) -> jax.Array:
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(jax.sharding.AxisType.Explicit,))
    return jax.sharding.reshard(x, jax.NamedSharding(mesh, jax.sharding.PartitionSpec()))


MOVES: dict[str, Callable[[Any], Any]] = {
    "stack": lambda x: jnp.stack([x[:, 0], x[:, 2]], axis=1),
    "tile": lambda x: jnp.tile(x, (1, 2))[:, 1:5],
    "unstack": lambda x: jnp.unstack(x, axis=1)[2][:, None],
    "reshard": resharded,
    "layout_constraint": lambda x: with_layout_constraint(x, Layout((1, 0))),
    "scatter-sub": lambda x: jnp.zeros_like(x).at[:, 1:].subtract(x[:, 1:]),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_values_moves_their_relevance(name):
    move, x, w = MOVES[name], normal(6, 2, 3), normal(7, 3, 3)
    assert name in str(jax.make_jaxpr(move)(x))
    of = lambda x: move(x).sum(axis=1)
    slope = np.asarray(jax.jacobian(lambda x: of(x[None])[0])(x[0]))
    assert np.allclose(relevance(lambda params, x: of(x), x), x * slope, rtol=1e-4)
    # After a layer, too, all of whose copies go back to it.
    expected = x * (w @ slope)
    assert np.allclose(relevance(lambda w, x: of(x @ w), x, w), expected, rtol=1e-4)


def test_what_is_linear_has_a_rule_here_where_deeplift_has_one():
    without = set(LINEAR) - set(propagation(Assignment("lrp", Composite())).table)
    assert without == {"complex", "conj", "fft", "imag", "real"}  # of complex values, which have no relevance


ELEMENTWISE: dict[str, Callable[[Any], Any]] = {
    "gelu": jax.nn.gelu,
    "exact gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu, written out": lambda x: x / (1 + jnp.exp(-x)),
    "softsign": jax.nn.soft_sign,
    "mish": lambda x: x * jnp.tanh(jax.nn.softplus(x)),
    "scaled and shifted": lambda x: (3.0 - 2.0 * x) / 7.0,
    "elu": jax.nn.elu,
    "hard sigmoid": jax.nn.hard_sigmoid,
    "hard tanh": jax.nn.hard_tanh,
    "hard swish": jax.nn.hard_swish,
    "sparse sigmoid": jax.nn.sparse_sigmoid,
    "squareplus": jax.nn.squareplus,
}


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # where a function is 0
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_functions_pass_relevance(name):
    function = ELEMENTWISE[name]
    x = normal(3, 2, 4)
    passed = relevance(lambda params, x: function(x)[:, 2], x)
    assert np.allclose(passed[:, 2], function(jnp.asarray(x))[:, 2], rtol=1e-12)
    assert np.count_nonzero(np.delete(passed, 2, axis=1)) == 0
    if name == "scaled and shifted":
        return
    # After a layer, too, it is the function's: what it adds is no bias of the layer.
    matrix, bias = normal(4, 4, 3), normal(5, 3)
    z = x @ matrix + bias
    after = relevance(lambda params, x: function(x @ params + bias[None])[:, 1], x, matrix)
    share = x * matrix[:, 1] / stable(z)[:, 1:2]
    assert np.allclose(after, share * np.asarray(function(jnp.asarray(z)))[:, 1:2], rtol=1e-12)


def test_a_layer_called_twice_and_a_residual_sum():
    x, w = normal(4, 1, 3), normal(5, 3, 3)

    def apply(w: Any, x: jax.Array) -> jax.Array:
        hidden = jnp.tanh(x @ w)
        return (jnp.tanh(hidden @ w) + x)[:, 0]

    def layer(x, r):
        return x * ((r / stable(x @ w)) @ w.T)

    hidden = np.tanh(x @ w)
    last = np.tanh(hidden @ w)
    r = np.array([[1.0, 0, 0]]) * (last + x)
    share = r / stable(last + x)
    theirs = layer(x, layer(hidden, share * last)) + share * x
    assert np.allclose(relevance(apply, x, w), theirs, rtol=1e-10)


def attention(params: Any, x: jax.Array) -> jax.Array:
    q, k, v = (x @ w for w in params)
    weights = jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", q, k) / 2.0)
    return jnp.einsum("bqk,bkd->bqd", weights, v)[:, 0, 0]


def test_attention_by_the_rules_of_attnlrp():
    x, weights = normal(6, 1, 3, 4), normal(7, 3, 4, 4)
    q, k, v = (x[0] @ w for w in weights)
    logits = q @ k.T / 2
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    out = softmax @ v
    r = np.zeros_like(out)
    r[0, 0] = out[0, 0]
    share = r / stable(out) / 2
    r_softmax, r_v = softmax * (share @ v.T), v * (softmax.T @ share)
    r_logits = logits * (r_softmax - softmax * r_softmax.sum(1, keepdims=True))
    share = r_logits / stable(q @ k.T) / 2
    r_q, r_k = q * (share @ k), k * (share.T @ q)
    theirs = sum(x[0] * ((r / stable(z)) @ w.T) for r, z, w in zip((r_q, r_k, r_v), (q, k, v), weights, strict=True))
    assert np.allclose(relevance(attention, x, weights)[0], theirs, rtol=1e-9, atol=1e-12)


def test_a_mask_of_attention_takes_nothing_and_is_finite():
    def apply(params: Any, x: jax.Array) -> jax.Array:
        masked = jnp.where(jnp.arange(3)[None] < 2, x, -jnp.inf)
        return (jax.nn.softmax(masked) * x)[:, 0]

    found = relevance(apply, normal(8, 2, 3))
    assert np.isfinite(found).all()
    assert (found[:, 2] == 0).all()
    assert (np.asarray(found)[:, :2] != 0).all()


@pytest.mark.parametrize("softmax", [jax.nn.softmax, jax.nn.log_softmax])
def test_the_maximum_that_softmax_takes_off_is_no_bias(softmax):
    """The largest of its logits is left at 0, where a bias would absorb more than there is."""
    x, w = normal(22, 2, 4), normal(23, 4, 3)
    function = lambda w, x: softmax(x @ w)[:, 0]
    z = x @ w
    found = relevance(function, x, w)
    if softmax is jax.nn.softmax:
        s = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        r = z * s[:, :1] * (np.array([1.0, 0, 0]) - s)
    else:
        shifted = z - z.max(1, keepdims=True)
        total = np.exp(shifted).sum(1, keepdims=True)
        y = shifted[:, :1] - np.log(total)
        r = y / stable(y) * (shifted * np.array([1.0, 0, 0]) - np.log(total) * np.exp(shifted) / total)
    assert np.allclose(found, x * ((r / stable(z)) @ w.T), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm", ["flax", "division", "rms"])
def test_layer_norm_is_linear_at_its_statistics(norm):
    x, scale, shift, w = normal(9, 2, 5), normal(10, 5), normal(11, 5), normal(12, 5, 2)

    def apply(params: Any, x: jax.Array) -> jax.Array:
        scale, shift, w = params
        if norm == "flax":
            with jax.numpy_dtype_promotion("standard"):
                y = nn.LayerNorm(epsilon=0.1, dtype=x.dtype).apply({"params": {"scale": scale, "bias": shift}}, x)
        elif norm == "rms":
            with jax.numpy_dtype_promotion("standard"):
                y = nn.RMSNorm(epsilon=0.1, dtype=x.dtype).apply({"params": {"scale": scale}}, x)
        else:
            centered = x - x.mean(axis=1, keepdims=True)
            y = centered / jnp.sqrt(x.var(axis=1, keepdims=True) + 0.1) * scale[None] + shift[None]
        return (y @ w)[:, 1]

    mean = 0.0 if norm == "rms" else x.mean(1, keepdims=True)
    deviation = np.sqrt(((x - mean) ** 2).mean(1, keepdims=True) + 0.1)
    y = (x - mean) / deviation * scale + (0.0 if norm == "rms" else shift)
    r = y * w[:, 1]  # the share of each in the score, but for the stabilizer
    if norm == "rms":
        theirs = r
    else:
        back = r / stable(y) * scale / deviation
        theirs = x * (back - back.mean(1, keepdims=True))
    assert np.allclose(relevance(apply, x, (scale, shift, w)), theirs, rtol=1e-4, atol=1e-6)


def gru(params: Any, x: jax.Array, unrolled: bool) -> jax.Array:
    """A small gated recurrent network: a scan, or the same written out."""

    def step(hidden: jax.Array, now: jax.Array) -> tuple[jax.Array, None]:
        gate = jax.nn.sigmoid(now @ params["in"] + hidden @ params["gate"])
        new = jnp.tanh(now @ params["in"] + (gate * hidden) @ params["new"])
        return gate * hidden + new - gate * new, None

    hidden = jnp.zeros((x.shape[0], 3))
    if not unrolled:
        hidden, _ = jax.lax.scan(jax.checkpoint(step), hidden, jnp.moveaxis(x, 1, 0))
    else:
        for time in range(x.shape[1]):
            hidden, _ = step(hidden, x[:, time])
    return hidden[:, 0]


def by_scan(params: Any, x: jax.Array) -> jax.Array:
    return gru(params, x, unrolled=False)


def written_out(params: Any, x: jax.Array) -> jax.Array:
    return gru(params, x, unrolled=True)


def test_a_scan_of_checkpoints_conserves_relevance_as_its_steps_written_out():
    x, params = normal(13, 2, 4, 2), {"in": normal(14, 2, 3), "gate": normal(15, 3, 3), "new": normal(16, 3, 3)}
    one, other = relevance(by_scan, x, params), relevance(written_out, x, params)
    assert np.allclose(one, other, rtol=1e-3, atol=1e-6)  # the first step has no share of zeros to stabilize
    score = by_scan(jax.tree.map(jnp.asarray, params), jnp.asarray(x))
    assert np.allclose(one.sum(axis=(1, 2)), score, rtol=1e-3)
    assert (np.abs(one).max(axis=(0, 2)) > 0).all()


def test_a_conditional():
    def apply(params: Any, x: jax.Array) -> jax.Array:
        return jax.lax.cond(params > 0, lambda x: jnp.tanh(x * 2.0 + x), lambda x: -x, x)[:, 0]

    x = np.array([[0.3, 0.1]])
    assert np.allclose(relevance(apply, x, np.array(1.0)), [[np.tanh(0.9), 0.0]])
    assert np.allclose(relevance(apply, x, np.array(-1.0)), [[-0.3, 0.0]])


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(4, param_dtype=x.dtype, name="one")(x))
        return nn.Dense(2, param_dtype=x.dtype, name="two")(x)


@pytest.fixture
def net() -> tuple[jv.Model, jax.Array]:
    x = jnp.asarray(normal(17, 3, 5))
    variables = Net().init(jax.random.key(1), x)
    variables["params"]["one"]["bias"] = jnp.asarray([0.3, -0.2, 0.1, 0.4])
    return jv.Model.from_linen(Net(), variables), x


def test_relevance_of_a_layer(net):
    model, x = net
    params = jax.tree.map(np.asarray, model.params["params"])
    hidden = np.maximum(np.asarray(x) @ params["one"]["kernel"] + params["one"]["bias"], 0)
    outputs = hidden @ params["two"]["kernel"] + params["two"]["bias"]
    theirs = hidden * params["two"]["kernel"][:, 1] * (outputs / stable(outputs))[:, 1:]
    at_input = jv.lrp(model, x, target=1, layer="two", side="input")
    assert np.allclose(at_input, theirs, rtol=1e-10)
    assert np.allclose(jv.lrp(model, x, target=1, layer="one"), theirs, rtol=1e-10)  # a ReLU passes it
    last = jv.lrp(model, x, target=1, layer="two")
    assert np.allclose(last, outputs * [0, 1])
    with pytest.raises(ValueError, match="layer 'three' not found; layers: one, two"):
        jv.lrp(model, x, target=1, layer="three")
    with pytest.raises(ValueError, match="fits 2 layers, give one of them: one, two"):
        jv.lrp(model, x, target=1, layer="*")


def test_the_report_tells_what_biases_absorb(net):
    model, x = net
    report = jv.relevance_report(model, x, target=1)
    attribution = jv.lrp(model, x, target=1)
    assert np.isclose(report.score, model(x)[:, 1].sum())
    assert np.isclose(report.attribution, attribution.sum())
    assert abs(report.elsewhere) < 1e-12
    assert [(flow.layer, flow.operation, flow.rule) for flow in report.flows] == [
        ("one", "dense", "Epsilon"),
        ("two", "dense", "Epsilon"),
    ]
    hidden = jv.lrp(model, x, target=1, layer="one").sum()
    assert np.isclose(report.flows[0].arriving, hidden)
    assert np.isclose(report.flows[0].absorbed, hidden - attribution.sum())
    assert abs(report.flows[0].absorbed) > 0.01
    assert abs(report.flows[1].absorbed) < 1e-5
    assert str(report).splitlines()[2].split()[:3] == ["one", "dense", "Epsilon"]


def test_the_report_tells_what_constants_take():
    def apply(params: Any, x: jax.Array) -> jax.Array:
        return jnp.concatenate([x, jnp.full((1, 1), 2.0)], axis=1).sum(axis=1)

    report = jv.relevance_report(jv.Model.from_function(apply, ()), jnp.array([[3.0, 1.0]]))
    assert np.isclose(report.elsewhere, 2.0, atol=1e-5)
    assert np.isclose(report.attribution, 4.0, atol=1e-5)


def alike(layer: Any, x: Any, relevance: Any) -> Any:
    return jnp.broadcast_to(relevance.sum(axis=1, keepdims=True) / x.shape[1], x.shape)


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # relevance of negative weights is cut off
def test_rules_by_kind_by_path_and_for_the_first_layer(net):
    model, x = net
    lrp = lambda composite: jv.lrp(model, x, target=1, composite=composite)
    spread = lambda found: np.allclose(found, found[:, :1])
    assert spread(lrp(Composite(layers={"o*": alike})))
    assert spread(lrp(Composite(first={"dense": alike})))
    assert spread(lrp(Composite(first={"Dense": alike})))
    assert not spread(lrp(Composite(layers={"two": alike})))
    assert np.allclose(lrp(Composite(rules={"Dense": ZPlus()})), lrp(ZPlus()))
    assert np.allclose(lrp(Composite(layers={"*": Gamma(), "two": Epsilon()}, rules={"dense": ZPlus()})),
                       lrp(Composite(rules={"dense": Epsilon()}, first={"dense": Gamma()})))  # fmt: skip
    with pytest.raises(ValueError, match="layer 'tow' not found"):
        lrp(Composite(layers={"tow": alike}))


class Pool(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return x.reshape(x.shape[0], -1, 2).mean(axis=2)


class Pooled(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.LayerNorm(name="norm", dtype=x.dtype, param_dtype=x.dtype)(Pool(name="pool")(x))
        return nn.Dense(2, name="dense", param_dtype=x.dtype)(x)


NAMES = [("pool", "Pool", "pooling"), ("norm", "LayerNorm", "centering"), ("dense", "Dense", "dense")]


@pytest.mark.parametrize(("path", "kind", "operation"), NAMES)
def test_a_rule_by_path_by_class_or_by_operation_is_the_same(path, kind, operation):
    x = jnp.asarray(normal(25, 3, 8))
    with jax.numpy_dtype_promotion("standard"):
        model = jv.Model.from_linen(Pooled(), Pooled().init(jax.random.key(0), x))
        calls = []

        def doubled(layer: Any, x: Any, relevance: Any) -> Any:
            calls.append(x.shape)
            return 2 * Epsilon(1e-6)(layer, x, relevance)

        lrp = lambda **rules: jv.lrp(model, x, target=1, composite=Composite(**rules))
        for rules in ({"layers": {path: doubled}}, {"rules": {kind: doubled}}, {"rules": {operation: doubled}}):
            assert np.allclose(lrp(**rules), 2 * lrp(), rtol=1e-12)
        # Not also for the statistics of a norm, to which no relevance goes; once more to see whether it asks for weights.
        assert len(calls) == (6 if operation == "centering" else 3)


@pytest.mark.parametrize("rules", [{"layers": {"norm": Pass()}}, {"rules": {"LayerNorm": Pass()}}])
def test_a_norm_that_passes_relevance(rules):
    x = jnp.asarray(normal(25, 3, 8))
    with jax.numpy_dtype_promotion("standard"):
        model = jv.Model.from_linen(Pooled(), Pooled().init(jax.random.key(0), x))
        before, after = (
            jv.lrp(model, x, target=1, composite=Composite(**rules), layer=one) for one in ("pool", "norm")
        )
    assert np.array_equal(before, after)


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # the rule passes nothing on
def test_own_rules_for_primitives():
    def apply(params: Any, x: jax.Array) -> jax.Array:
        return jnp.prod(x, axis=1)

    x = np.array([[2.0, 3.0, 4.0]])
    model = jv.Model.from_function(apply, ())
    words = r"lrp: no rule for the primitive 'reduce_prod'.*outside of its layers; give one: .*"
    with pytest.raises(ValueError, match=words + r"composite=Composite\(primitives=\{'reduce_prod': rule\}\)"):
        jv.lrp(model, jnp.asarray(x))

    def thirds(layer: Any, x: Any, relevance: Any) -> Any:
        assert layer(x).shape == relevance.shape
        return jnp.broadcast_to(relevance[:, None] / 3, x.shape)

    found = jv.lrp(model, jnp.asarray(x), composite=Composite(primitives={"reduce_prod": thirds}))
    assert np.allclose(found, 8.0)

    def first(layer: Any, x: Any, relevance: Any) -> Any:
        return relevance, jnp.zeros_like(relevance)

    def power(params: Any, x: jax.Array) -> jax.Array:
        return x[:, 0] ** x[:, 1]

    with pytest.raises(ValueError, match="no rule for the primitive 'pow' of several values that depend on the inputs"):
        relevance(power, x)
    assert np.allclose(relevance(power, x, composite=Composite(primitives={"pow": first})), [[8.0, 0.0, 0.0]])
    # A function that the program calls is taken whole.
    silu = lambda params, x: jax.nn.relu(x)[:, 0]
    zero = lambda layer, x, relevance: relevance * 0
    assert np.allclose(relevance(silu, x, composite=Composite(primitives={"relu()": zero})), 0)


def test_what_a_rule_of_ones_own_returns():
    model = jv.Model.from_function(lambda params, x: jnp.prod(jv.tag(x @ params, "dense"), axis=1), jnp.ones((3, 2)))
    for rule, words in (
        (lambda layer, x, relevance: relevance, r"of shape \(1, 3\), got \(1, 2\)"),
        (lambda layer, x, relevance: None, r"of shape \(1, 3\), got NoneType"),
        (lambda layer, x, relevance: (x, x), r"of shape \(1, 3\), got \(\(1, 3\), \(1, 3\)\)"),
    ):
        composite = Composite(rules={"dense": rule}, primitives={"reduce_prod": lambda layer, x, relevance: x})
        with pytest.raises(ValueError, match=f"^<lambda>: a rule must return the relevance of x, {words}"):
            jv.lrp(model, jnp.ones((1, 3)), composite=composite)


def test_a_primitive_that_jax_has_no_derivative_of():
    x = jnp.array([[2.0, 3.0]])
    model = jv.Model.from_function(lambda params, x: jax.lax.nextafter(x, jnp.full_like(x, 9)).sum(axis=1), ())
    assert np.allclose(jv.lrp(model, x), x)  # relevance passes, as through any function of each element
    double = Composite(primitives={"nextafter": lambda layer, x, relevance: 2 * relevance})
    assert np.allclose(jv.lrp(model, x, composite=double), 2 * x)


def test_complex_values_are_not_left_out_silently():
    with pytest.raises(
        ValueError, match="no rule for the primitive 'fft', through which the score depends on the inputs"
    ):
        relevance(lambda params, x: jnp.abs(jnp.fft.rfft(x, axis=1)).sum(axis=1), normal(24, 2, 4))


class Tokens(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(9, 4, param_dtype=jnp.float64, dtype=jnp.float64)(tokens)
        return nn.Dense(2, param_dtype=jnp.float64)(jnp.tanh(x).sum(axis=1))


def test_token_ids_at_their_embedding():
    tokens = jnp.array([[1, 2, 3], [4, 4, 0]])
    model = jv.Model.from_linen(Tokens(), Tokens().init(jax.random.key(0), tokens))
    found = jv.lrp(model, tokens, target=1, layer="Embed_0")
    assert found.shape == (2, 3, 4)
    tail, embedded = model.since("Embed_0", tokens)
    assert np.allclose(found, jv.lrp(tail, embedded, target=1))
    with pytest.raises(TypeError, match="attribute at an embedding layer"):
        jv.lrp(model, tokens, target=1)


def test_numbers_in_rules_are_data(net):
    model, x = net
    traces = 0

    def counted(layer: Any, x: Any, relevance: Any) -> Any:
        nonlocal traces
        traces += 1
        return Epsilon(0.1)(layer, x, relevance)

    def composite(number: Any) -> Composite:
        return Composite({"dense": Gamma(number, number)}, {"dense": counted}, stabilizer=number)

    found = [jv.lrp(model, x, target=1, composite=composite(number)) for number in (0.1, 0.2, np.float64(0.3).item())]
    assert traces == 1
    assert not np.allclose(found[0], found[1])


def test_stabilizers_by_hand():
    z = jnp.array([[3.0, -4.0, 0.0], [0.5, 0.0, -0.5]])
    means = np.sqrt([[25 / 3], [0.5 / 3]])
    signs = np.array([[1.0, -1.0, 1.0], [1.0, 1.0, -1.0]])
    assert np.allclose(Stabilizer(0.1)(z), z + 0.1 * signs)
    assert np.allclose(Stabilizer(1.0, clip=True)(z), [[3.0, -4.0, 1.0], [1.0, 1.0, -1.0]])
    assert np.allclose(Stabilizer(0.1, relative=True)(z), z + 0.1 * means * signs)
    found = Stabilizer(0.1, relative=True, axes=(-1,))(z[None])
    assert np.allclose(found, Stabilizer(0.1, relative=True)(z)[None])
    found = Stabilizer(0.1, relative=True, axes=(1,))(z[None])
    assert np.allclose(found[0, 0, 0], 3 + 0.1 * np.sqrt(9.25 / 2))
    assert np.allclose(Stabilizer(1.0, clip=True, relative=True)(z), np.maximum(abs(z), means) * signs)


def test_a_function_as_a_stabilizer_of_sums_and_of_rules():
    x, w = normal(30, 2, 3), normal(31, 3)
    away = lambda z: z + 1.0
    apply = lambda params, x: x @ params + x[:, 0] * 2.0  # a dense layer, and a sum of two values
    z = x @ w + 2 * x[:, 0]
    expected = x * w[None] * ((x @ w) / (x @ w + 1) / (z + 1) * z)[:, None]
    expected[:, 0] += 2 * x[:, 0] / (z + 1) * z
    found = relevance(apply, x, w, composite=Composite({"dense": Epsilon(away)}, stabilizer=away))
    assert np.allclose(found, expected)


def test_without_bias_nothing_is_absorbed(net):
    model, x = net
    scores = model(x)[:, 1]
    for composite in (epsilon_plus(epsilon=0.0, stabilizer=0.0, bias=False), Gamma(0.3, 0.0, bias=False)):
        assert np.allclose(jv.lrp(model, x, target=1, composite=composite).sum(axis=1), scores)
    assert not np.allclose(jv.lrp(model, x, target=1, composite=epsilon_plus()).sum(axis=1), scores)


def test_with_epsilon_0_it_is_input_x_gradient(net):
    model, x = net
    biasless = model.with_params(jax.tree.map(lambda leaf: leaf if leaf.ndim > 1 else leaf * 0.0, model.params))
    expected = jv.input_x_gradient(biasless, x, target=1)
    assert np.allclose(jv.lrp(biasless, x, target=1, composite=Epsilon(0)), expected, rtol=1e-12, atol=1e-14)


def test_under_jit_and_vmap(net):
    model, x = net
    call = jax.jit(lambda x: jv.lrp(model, x, target=1, composite="EpsilonPlus"))
    expected = jv.lrp(model, x, target=1, composite=epsilon_plus())
    assert np.allclose(call(x), expected)
    assert np.allclose(
        jax.vmap(lambda row: jv.lrp(model, row[None], target=1, composite="epsilon_plus")[0])(x), expected
    )


def test_several_inputs_and_integers_among_the_values():
    def apply(params: Any, inputs: Any) -> jax.Array:
        order = jnp.argsort(inputs[0], axis=1)
        return jnp.take_along_axis(inputs[0], order, axis=1)[:, 0] + inputs[1][:, 0]

    one, other = relevance(apply, (np.array([[3.0, -2.0]]), np.array([[5.0]])))
    assert np.allclose(one, [[0.0, -2.0]], atol=1e-5)
    assert np.allclose(other, [[5.0]], atol=1e-5)


def test_wrong_arguments(net):
    model, x = net
    lrp = lambda composite: jv.lrp(model, x, target=1, composite=composite)
    with pytest.raises(ValueError, match="composite 'EpsilonPlos' not found; presets: EpsilonGammaBox, EpsilonPlus"):
        lrp("EpsilonPlos")
    with pytest.raises(
        ValueError, match=r"'EpsilonGammaBox' needs the lowest and highest .*=epsilon_gamma_box\(low, high\)"
    ):
        lrp("EpsilonGammaBox")
    with pytest.raises(TypeError, match="composite must be a rule such as"):
        lrp(Epsilon)
    with pytest.raises(TypeError, match="composite must be a rule such as"):
        lrp(3)
    with pytest.raises(TypeError, match="a rule must be an instance such as Epsilon"):
        Composite({"dense": Epsilon})
    with pytest.raises(TypeError, match="Composite: rules must be a dict"):
        Composite(Epsilon())
    with pytest.raises(ValueError, match=r"^Pass: this rule is for elementwise layers"):
        lrp(Pass())
    with pytest.raises(ValueError, match="Epsilon: epsilon must be at least 0, got -1"):
        Epsilon(-1)
    with pytest.raises(TypeError, match="ZBox: low must be a number, got None"):
        ZBox(None, 1.0)
    with pytest.raises(ValueError, match=r"ZBox: high must be in \(-inf, inf\), got inf"):
        ZBox(-1.0, np.inf)
    with pytest.raises(ValueError, match=r"Gamma: gamma must be in \[0, inf\), got -0\.5"):
        Gamma(-0.5)
    with pytest.raises(TypeError, match="Gamma: stabilizer must be a number, a Stabilizer or a function, got '1'"):
        Gamma(0.5, "1")
    with pytest.raises(TypeError, match="Composite: stabilizer must be a number, a Stabilizer or a function, got None"):
        Composite(stabilizer=None)
    with pytest.raises(ValueError, match=r"Composite: stabilizer must be at least 0, got -1\.0"):
        Composite(stabilizer=-1.0)
    with pytest.raises(TypeError, match="ZPlus: bias must be True or False, got 0"):
        ZPlus(bias=0)
    with pytest.raises(ValueError, match="Stabilizer: epsilon must be"):
        Stabilizer(-0.1)
    with pytest.raises(TypeError, match="Stabilizer: clip must be True or False, got 1"):
        Stabilizer(0.1, clip=1)
    with pytest.raises(TypeError, match=r"Stabilizer: axes must be None or a tuple of ints, got \[1\]"):
        Stabilizer(0.1, relative=True, axes=[1])
    with pytest.raises(ValueError, match="Stabilizer: axes are those of the mean that relative=True takes"):
        Stabilizer(0.1, axes=(1,))
    with pytest.raises(ValueError, match=r"Stabilizer: axes must be without 0, the batch, .* got \(0, 1\)"):
        Stabilizer(0.1, relative=True, axes=(0, 1))
    for axes in ((5,), (-1, 1)):
        with pytest.raises(
            ValueError, match=r"^Stabilizer: axes must be different axes of the layer's .* got .* shape \(3, "
        ):
            lrp(Epsilon(Stabilizer(0.1, relative=True, axes=axes)))
    with pytest.raises(TypeError, match="Stabilizer: epsilon must be a number"):
        Stabilizer(jnp.abs)
    with pytest.raises(ValueError, match="Epsilon: epsilon must be at least 0"):
        Epsilon(np.float32(-1))
    with pytest.raises(
        ValueError, match=r"^sum: a stabilizer must give an array of the shape of its argument, .* got \(\)"
    ):
        lrp(Epsilon(jnp.sum))
    with pytest.raises(TypeError, match="extended: there are rules, first, layers, primitives, got stabilizer"):
        epsilon_plus().extended(stabilizer={})
    with pytest.raises(TypeError, match="extended: layers must be a dict"):
        epsilon_plus().extended(layers=Epsilon())
    for alpha, beta in ((2.0, 0.5), (np.float32(2), np.float32(7)), (2, np.int64(2)), (2.2, 1.20001)):
        with pytest.raises(ValueError, match="alpha - beta must be 1"):
            AlphaBeta(alpha, beta)
    for beta in (1.2, 0.1, 0.7, 1e4 / 3):  # whatever rounding makes of their difference
        AlphaBeta(1 + beta, beta)
        AlphaBeta(np.float32(1 + beta), np.float32(beta))
    words = "^lrp: the rule ZPlus of composite.rules for 'centering' asks for weights, .*, in the model itself, outside"
    with pytest.raises(ValueError, match=words):
        relevance(
            lambda params, x: (x - x.mean(axis=1, keepdims=True))[:, 0],
            normal(18, 2, 3),
            composite=Composite({"centering": ZPlus()}),
        )
    with pytest.raises(TypeError, match=r"relevance_report: a report cannot be made inside of jax\.jit"):
        jax.jit(lambda x: jv.relevance_report(model, x, target=1).score)(x)


def test_batch_norm_alone_passes_or_has_the_rule_given():
    x = normal(19, 2, 3)
    norm = nn.BatchNorm(dtype=jnp.float64)
    variables = {"params": {"scale": np.array([2.0, 1.0, -1.0]), "bias": np.array([1.0, 0.0, 2.0])}}
    variables["batch_stats"] = {"mean": np.zeros(3), "var": np.ones(3) - 1e-5}
    model = jv.Model.from_linen(norm, jax.tree.map(jnp.asarray, variables))
    y = x * [2.0, 1.0, -1.0] + [1.0, 0.0, 2.0]
    assert np.allclose(jv.lrp(model, jnp.asarray(x), target=2)[:, 2], y[:, 2])
    # The module itself is the model here, so it is no layer; its operations are of this kind.
    found = jv.lrp(model, jnp.asarray(x), target=2, composite=Composite({"normalization": Norm()}))
    assert np.allclose(found[:, 2], -x[:, 2] * y[:, 2] / stable(y[:, 2]))
