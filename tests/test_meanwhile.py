"""Checks that are put off until the device computes: when they are made, and that none is lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz import meanwhile
from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.caution import cautious
from jaxviz.compilation import jit

X = jnp.arange(6.0).reshape(2, 3) / 10
LABELS = jnp.array([0, 1], jnp.int32)


QUICK = {"a method"}


@pytest.fixture
def made():
    """What was checked; a call that may put off checks is over afterwards."""
    names = []
    yield names
    meanwhile.end()


def test_where_nothing_runs_a_check_is_made_at_once(made):
    meanwhile.may_put_off(QUICK, "a method")
    meanwhile.put_off(lambda: made.append("now"))
    assert made == ["now"]


def test_a_check_is_made_when_the_next_program_is_on_its_way(made):
    program = jit(lambda x: made.append("traced") or x + 1)
    meanwhile.begin(may=True)
    meanwhile.may_put_off(QUICK, "a method")
    meanwhile.put_off(lambda: made.append("first"))
    meanwhile.put_off(lambda: made.append("second"))
    assert made == []
    program(X)
    assert made == ["traced", "first", "second"]
    program(X)
    assert made == ["traced", "first", "second"]


def test_a_method_that_was_not_quick_checks_at_once(made):
    meanwhile.begin(may=True)
    meanwhile.may_put_off(QUICK, "another")
    meanwhile.put_off(lambda: made.append("now"))
    assert made == ["now"]


@pytest.mark.parametrize("quick", [None, set()])
def test_what_is_not_quick_ends_what_another_may(made, quick):
    meanwhile.begin(may=True)
    meanwhile.may_put_off(QUICK, "a method")
    meanwhile.put_off(lambda: made.append("late"))
    meanwhile.may_put_off(quick, "another")
    assert made == ["late"]
    meanwhile.put_off(lambda: made.append("now"))
    assert made == ["late", "now"]


def test_a_call_with_settings_puts_nothing_off(made):
    meanwhile.begin(may=False)
    meanwhile.may_put_off(QUICK, "a method")
    meanwhile.put_off(lambda: made.append("now"))
    assert made == ["now"]


def test_what_was_quick_is_kept_in_mind(monkeypatch):
    quick, slow = set(), set()
    meanwhile.begin(may=True)
    meanwhile.may_put_off(quick, "a method")
    meanwhile.keep()
    monkeypatch.setattr(meanwhile, "QUICK", 0.0)
    meanwhile.begin(may=True)
    meanwhile.may_put_off(slow, "a method")
    meanwhile.keep()
    assert quick == {"a method"}
    assert slow == set()


def test_nothing_is_put_off_while_a_program_is_traced(made):
    def traced(x):
        meanwhile.may_put_off(QUICK, "a method")
        meanwhile.put_off(lambda: made.append("now"))
        return x

    meanwhile.begin(may=True)
    jax.jit(traced)(X)
    assert made == ["now"]


def test_a_program_that_is_part_of_another_leaves_checks_to_that(made):
    part = jit(lambda x: x * 2)
    meanwhile.begin(may=True)
    meanwhile.may_put_off(QUICK, "a method")
    meanwhile.put_off(lambda: made.append("checked"))
    jax.jit(lambda x: part(x) + 1)(X)
    assert made == []


@pytest.fixture
def always_quick(monkeypatch):
    """However slow the machine is, the second call is a quick one."""
    monkeypatch.setattr(meanwhile, "QUICK", 60.0)


def explained(x, target):
    return jv.gradient(MODEL, x, target=target)


MODEL = jv.Model.from_function(lambda params, x: jnp.tanh(x.astype(params.dtype) @ params), jnp.ones((3, 2)))


@pytest.mark.usefixtures("always_quick")
def test_values_are_checked_where_shapes_have_passed_already():
    for _ in range(3):
        assert np.isfinite(explained(X, LABELS)).all()
        with pytest.raises(
            ValueError, match=r"^gradient: inputs must be finite, but 1 of the values of inputs is NaN or infinite"
        ):
            explained(X.at[0, 0].set(jnp.nan), LABELS)
        with pytest.raises(ValueError, match=r"^gradient: target 2 is out of range; the model has 2 outputs, 0 to 1"):
            explained(X, LABELS.at[1].set(2))
        with pytest.raises(ValueError, match=r"^gradient: target -1 is out of range"):
            explained(X, np.array([-1, 0]))


@pytest.mark.usefixtures("always_quick")
def test_an_error_of_a_method_is_told_after_what_may_be_why():
    @cautious
    def failing(model, inputs, *, target=None):
        prepare("failing", model, inputs, target)
        raise RuntimeError("the method fails")

    model = MODEL.with_params(MODEL.params)
    jv.gradient(model, X, target=LABELS)  # the shapes have passed
    next(iter(model._known.values())).quick.add("failing")
    with pytest.raises(RuntimeError, match="the method fails"):
        failing(model, X, target=LABELS)
    with pytest.raises(ValueError, match=r"^failing: inputs must be finite") as caught:
        failing(model, X.at[0, 0].set(jnp.inf), target=LABELS)
    assert isinstance(caught.value.__context__, RuntimeError)


@pytest.mark.usefixtures("always_quick")
def test_an_interruption_is_passed_on():
    @cautious
    def interrupted(model, inputs, *, target=None):
        prepare("interrupted", model, inputs, target)
        raise KeyboardInterrupt

    explained(X, LABELS)
    next(iter(MODEL._known.values())).quick.add("interrupted")
    with pytest.raises(KeyboardInterrupt):
        interrupted(MODEL, X.at[0, 0].set(jnp.inf), target=LABELS)
    assert np.isfinite(explained(X, LABELS)).all()


def test_shapes_that_have_passed_are_those_of_one_model():
    wider = MODEL.with_params(jnp.ones((3, 4)))
    assert explained(X, 1).shape == jv.gradient(wider, X, target=3).shape
    with pytest.raises(ValueError, match="the model has 2 outputs"):
        explained(X, 3)
    with pytest.raises(TypeError, match="cannot be differentiated"):
        explained(X.astype(jnp.int32), 1)
    jv.feature_ablation(MODEL, jnp.ones((2, 3), jnp.int32), target=1)  # which passes there
    with pytest.raises(TypeError, match="cannot be differentiated"):
        explained(X.astype(jnp.int32), 1)


@pytest.mark.usefixtures("always_quick")
def test_a_loop_that_values_end_does_not_run_on_what_is_refused():
    def settle(params, x):
        before = lambda state: (state[0] != state[1]).any()  # which NaN never is
        return jax.lax.while_loop(before, lambda state: (state[1], jnp.round(state[1] / 2)), (x, x / 2))[0] + x

    model = jv.Model.from_function(settle, ())
    for _ in range(3):
        jv.feature_ablation(model, X + 1, target=0)
    with pytest.raises(ValueError, match=r"^feature_ablation: inputs must be finite"):
        jv.feature_ablation(model, X.at[0, 0].set(jnp.nan), target=0)


def test_what_is_wrong_inside_of_a_model_is_an_error_each_time():
    def apply(params, x):
        return jv.gradient(MODEL, x, target=np.array([9, 9])).sum(axis=1)

    outer = jv.Model.from_function(apply, ())
    for _ in range(3):
        with pytest.raises(ValueError, match="target 9 is out of range"):
            jv.gradient(outer, X)


def test_a_weak_type_is_no_new_program():
    traces = []

    def apply(params, x):
        traces.append(1)
        return jnp.tanh(x @ params)

    model = jv.Model.from_function(apply, jnp.ones((3, 2)))
    jv.gradient(model, X, target=LABELS)
    count = len(traces)
    for target in (jnp.full((2,), 1), np.array([0, 1]), 1, jnp.zeros((2,), jnp.int32)):
        jv.gradient(model, X, target=target)
    assert len(traces) == count


def test_a_layer_in_a_smoothed_method_leaks_no_tracer():
    model = jv.Model.from_function(lambda params, x: jv.tag(x @ params, "h").sum(axis=1), jnp.ones((3, 2)))
    smoothed = jv.smooth(jv.at_layer(jv.gradient, "h"), samples=2, noise=0.1)
    with jax.checking_leaks():
        assert np.isfinite(smoothed(model, X, key=jax.random.key(0))).all()
    broken = model.with_params(model.params.at[0, 0].set(jnp.nan))
    with pytest.raises(ValueError, match="NaN"):
        smoothed(broken, X, key=jax.random.key(0))


def test_a_layer_that_is_not_finite_is_told_where_another_looks():
    model = jv.Model.from_function(lambda params, x: jv.tag(jnp.exp(x @ params), "h").sum(axis=1), jnp.ones((3, 2)))
    batches = [X, X.at[0].set(50.0)]
    words = r"the activation of 'h' has NaN or infinite values"
    with pytest.raises(ValueError, match=words):
        jv.explain_dataset(jv.at_layer(jv.gradient, "h"), model, batches, progress=False)
    for _ in range(2):
        assert np.isfinite(jv.at_layer(jv.gradient, "h")(model, X)).all()
        with pytest.raises(ValueError, match=words):
            jv.at_layer(jv.gradient, "h")(model, batches[1])
