"""Rules in place of equations: which equations they see, and that what they make is an ordinary function."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz import views
from jaxviz.program import Active, Key, Rules, Where, evaluate, trace
from jaxviz.program._compat import bind

X = jnp.linspace(-1.0, 1.0, 24).reshape(4, 2, 3)


def plain(equation, operands, where):
    results = bind(equation, [leaf.value if isinstance(leaf, Active) else leaf for leaf in operands])
    return [Active(leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf for leaf in results]


def recurrent(params, x):
    def step(carry, now):
        new, _, count = carry  # the second is active after a step, the third never
        return (jnp.tanh(now @ params + new), new, count + 1), now.sum()

    start = (jnp.ones((2, 3)), jnp.zeros((2, 3)), 0)
    (new, last, count), sums = jax.lax.scan(step, start, x)
    chosen = jax.lax.cond(params.sum() > 0, lambda x: x * 2, lambda x: 0 * last + 3.0, new)  # plain in one branch
    other = jax.lax.cond(new.sum() > 0, jnp.sin, jax.checkpoint(jnp.cos), last)  # which branch depends on the inputs
    return jax.nn.silu(chosen + other) * sums.sum() * count.astype(jnp.float32)


@pytest.mark.parametrize("active_integers", [False, True])
def test_calls_are_gone_into_and_the_result_has_the_derivative_of_its_rules(active_integers):
    params = jax.random.normal(jax.random.key(0), (3, 3))
    program = trace(recurrent, params, X)
    seen = set()

    def rule(equation, operands, where):
        seen.add(equation.primitive.name)
        results = plain(equation, operands, where)
        if active_integers:
            return [leaf if isinstance(leaf, Active) else Active(leaf) for leaf in results]
        return results

    def rewritten(x):
        return evaluate(program, [params, Active(x)], rules=Rules("test", {"*": rule}))[0].value

    np.testing.assert_array_equal(rewritten(X), recurrent(params, X))
    expected = jax.grad(lambda x: recurrent(params, x).sum())(X)
    ours = jax.jit(jax.grad(lambda x: rewritten(x).sum()))(X)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
    assert {"tanh", "dot_general", "sin", "cos", "logistic"} <= seen
    assert ("select_n" in seen) == active_integers  # a rule chooses among the branches, if the choice is active
    assert not seen & {"scan", "cond", "jit", "pjit", "custom_jvp_call", "checkpoint", "remat2"}
    np.testing.assert_allclose(jax.vmap(rewritten)(jnp.stack([X, X])), jnp.stack([rewritten(X)] * 2), rtol=1e-6)


def test_what_does_not_depend_on_the_inputs_is_plain():
    program = trace(lambda params, x: (jnp.exp(params) * 2, jnp.exp(x)), X, X)
    plain_result, active_result = evaluate(program, [X, Active(X)], rules=Rules("test", {"exp": plain}))[0]
    assert isinstance(plain_result, jax.Array)
    assert isinstance(active_result, Active)


class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
        dense = nn.Dense(3)
        return nn.relu(dense(nn.relu(dense(x)))) + Block(name="block")(x)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return jnp.tanh(nn.Dense(3)(x))


def where_seen(table_of):
    inputs = X[0]
    model = jv.Model.from_linen(Network(), Network().init(jax.random.key(0), inputs))
    seen = []

    def note(equation, operands, where):
        seen.append((equation.primitive.name, where))
        return plain(equation, operands, where)

    leaves = [*jax.tree.leaves((model.params, model.keywords)), Active(inputs)]
    program = views.program(model, inputs)
    result, captured = evaluate(program, leaves, rules=Rules("test", table_of(note)), capture=[Key("block")])
    np.testing.assert_allclose(result.value, model(inputs), rtol=1e-6)
    np.testing.assert_allclose(captured[Key("block")].value, model.capture(inputs)["block"], rtol=1e-6)
    return seen


DENSE = "Dense_0", "Dense_0#1", "block/Dense_0"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("tanh", [("tanh", Where("block", "Block"))]),
        ("block:*", [("tanh", Where("block", "Block"))]),
        ("block/**:dot_general", [("dot_general", Where("block/Dense_0", "Dense"))]),
        ("**/Dense_0*:dot_general", [("dot_general", Where(path, "Dense")) for path in DENSE]),
        ("Dense_0#1:add", [("add", Where("Dense_0#1", "Dense"))]),
        ("relu()", [("custom_jvp_call", Where())] * 2),
        ("max", [("max", Where())] * 2),
        ("block:max", []),
    ],
)
def test_which_equations_a_key_names(key, expected):
    assert where_seen(lambda note: {"*": plain, key: note}) == expected


def test_a_rule_may_have_a_call_gone_into():
    def enter(equation, operands, where):
        return NotImplemented

    seen = where_seen(lambda note: {"*": plain, "max": note, "relu()": enter, "custom_jvp_call": note})
    assert seen == [("max", Where())] * 2


def test_the_last_of_several_layers_counts():
    assert where_seen(lambda note: {"*": plain, "block:tanh": note, "bl*:tanh": plain}) == []
    assert len(where_seen(lambda note: {"*": plain, "bl*:tanh": plain, "block:tanh": note})) == 1


def test_a_primitive_without_a_rule():
    words = r"test: no rule for the primitive 'tanh', .* in layer 'block' \(Block\); give one: rules=\{'tanh': rule\}"
    with pytest.raises(ValueError, match=words):
        where_seen(lambda note: dict.fromkeys(("dot_general", "add", "max"), plain))
