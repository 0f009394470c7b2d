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


@pytest.fixture
def made():
    """What was checked, and the end of what a test puts off."""
    names = []
    yield names
    meanwhile.end()


def test_where_nothing_runs_a_check_is_made_at_once(made):
    meanwhile.put_off(lambda: made.append("now"))
    assert made == ["now"]


def test_a_check_is_made_when_the_next_program_is_on_its_way(made):
    program = jit(lambda x: made.append("traced") or x + 1)
    meanwhile.begin()
    meanwhile.put_off(lambda: made.append("first"))
    meanwhile.put_off(lambda: made.append("second"))
    assert made == []
    program(X)
    assert made == ["traced", "first", "second"]
    program(X)
    assert made == ["traced", "first", "second"]


def test_a_check_is_made_in_the_end_where_no_program_came(made):
    meanwhile.begin()
    meanwhile.put_off(lambda: made.append("late"))
    meanwhile.end()
    assert made == ["late"]
    meanwhile.put_off(lambda: made.append("now"))
    assert made == ["late", "now"]


def test_a_program_that_is_part_of_another_leaves_checks_to_that(made):
    part = jit(lambda x: x * 2)
    meanwhile.begin()
    meanwhile.put_off(lambda: made.append("checked"))
    jax.jit(lambda x: part(x) + 1)(X)
    assert made == []


def explained(x, target):
    return jv.gradient(MODEL, x, target=target)


MODEL = jv.Model.from_function(lambda params, x: jnp.tanh(x.astype(params.dtype) @ params), jnp.ones((3, 2)))


def test_values_are_checked_where_shapes_have_passed_already():
    for _ in range(2):
        assert np.isfinite(explained(X, LABELS)).all()
        with pytest.raises(ValueError, match=r"^gradient: inputs must be finite, but 1 of inputs are NaN or infinite"):
            explained(X.at[0, 0].set(jnp.nan), LABELS)
        with pytest.raises(ValueError, match=r"^gradient: target 2 is out of range; the model has 2 outputs, 0 to 1"):
            explained(X, LABELS.at[1].set(2))
        with pytest.raises(ValueError, match=r"^gradient: target -1 is out of range"):
            explained(X, np.array([-1, 0]))


def test_an_error_of_a_method_is_told_after_what_may_be_why():
    @cautious
    def failing(model, inputs, *, target=None):
        prepare("failing", model, inputs, target)
        raise RuntimeError("the method fails")

    explained(X, LABELS)  # the shapes have passed
    with pytest.raises(RuntimeError, match="the method fails"):
        failing(MODEL, X, target=LABELS)
    with pytest.raises(ValueError, match=r"^failing: inputs must be finite") as caught:
        failing(MODEL, X.at[0, 0].set(jnp.inf), target=LABELS)
    assert isinstance(caught.value.__context__, RuntimeError)


def test_an_interruption_is_passed_on():
    @cautious
    def interrupted(model, inputs, *, target=None):
        prepare("interrupted", model, inputs, target)
        raise KeyboardInterrupt

    explained(X, LABELS)
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
