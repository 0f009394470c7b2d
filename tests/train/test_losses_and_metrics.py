"""Losses and metrics against formulas in float64, and their errors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz import train
from jaxviz.model import Model
from jaxviz.train.losses import LOSSES, resolve_loss
from jaxviz.train.metrics import resolve_metrics

WRONG: Any = 3
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(7, 5)).astype(np.float32)
LABELS = RNG.integers(0, 5, 7).astype(np.int32)
TARGETS = RNG.uniform(size=(7, 5)).astype(np.float32)


def log_softmax(x):
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


FORMULAS = {
    "softmax_cross_entropy": (TARGETS, lambda x, t: -(t * log_softmax(x)).sum(-1)),
    "sigmoid_binary_cross_entropy": (TARGETS, lambda x, t: (np.log1p(np.exp(x)) - t * x).mean(-1)),
    "squared_error": (TARGETS, lambda x, t: ((x - t) ** 2).mean(-1)),
    "absolute_error": (TARGETS, lambda x, t: np.abs(x - t).mean(-1)),
    "huber": (TARGETS, lambda x, t: np.where(abs(x - t) < 1, (x - t) ** 2 / 2, abs(x - t) - 0.5).mean(-1)),
    "log_cosh": (TARGETS, lambda x, t: np.log(np.cosh(x - t)).mean(-1)),
    "hinge": (np.sign(TARGETS - 0.5), lambda x, t: np.maximum(0, 1 - t * x).mean(-1)),
}


def test_every_loss_has_a_formula_here():
    assert set(FORMULAS) == set(LOSSES)


@pytest.mark.parametrize("name", FORMULAS)
def test_losses_are_their_formulas(name):
    targets, formula = FORMULAS[name]
    values = resolve_loss(name)(jnp.asarray(LOGITS), jnp.asarray(targets))
    assert values.shape == (7,)
    np.testing.assert_allclose(values, formula(LOGITS.astype(float), targets.astype(float)), rtol=2e-5, atol=1e-6)


def test_integer_labels_are_one_hot_rows():
    rows = np.eye(5, dtype=np.float32)[LABELS]
    loss = resolve_loss("softmax_cross_entropy")
    np.testing.assert_allclose(
        loss(jnp.asarray(LOGITS), jnp.asarray(LABELS)), loss(jnp.asarray(LOGITS), jnp.asarray(rows)), rtol=1e-6
    )
    for name in ("accuracy", "top_2_accuracy"):
        metric = resolve_metrics((name,))[name]
        assert (metric(LOGITS, LABELS) == metric(LOGITS, rows)).all()


def test_accuracies_are_counted_right():
    order = np.argsort(-LOGITS, axis=1)
    for name, k in (("accuracy", 1), ("top_2_accuracy", 2), ("top_5_accuracy", 5)):
        values = resolve_metrics((name,))[name](jnp.asarray(LOGITS), jnp.asarray(LABELS))
        assert values.tolist() == [float(label in row[:k]) for label, row in zip(LABELS, order, strict=True)]
    binary = resolve_metrics(("binary_accuracy",))["binary_accuracy"]
    assert binary(jnp.array([[1.0], [-1.0], [2.0]]), jnp.array([[1], [1], [0]])).tolist() == [1, 0, 0]


@pytest.mark.parametrize("batch_size", [None, 3, 7, 100])
def test_means_do_not_depend_on_the_batches(batch_size):
    model = Model.from_function(linear, jnp.eye(5))
    found = train.evaluate(
        model, (LOGITS, LABELS), loss="softmax_cross_entropy", metrics=("accuracy",), batch_size=batch_size
    )
    expected = -log_softmax(LOGITS.astype(float))[np.arange(7), LABELS].mean()
    assert found["loss"] == pytest.approx(expected, rel=1e-6)
    assert found["accuracy"] == pytest.approx(np.mean(LOGITS.argmax(1) == LABELS))
    np.testing.assert_array_equal(train.predict(model, LOGITS, batch_size=batch_size), LOGITS)


def test_a_scalar_loss_is_weighted_by_the_size_of_its_batch():
    model = Model.from_function(linear, jnp.eye(5))
    found = train.evaluate(model, (LOGITS, TARGETS), metrics={"mine": scalar_error}, batch_size=3)
    assert found == {"mine": pytest.approx(np.mean((LOGITS - TARGETS) ** 2), rel=1e-6)}


def linear(params, x):
    return jnp.asarray(x) @ params


def scalar_error(outputs, targets):
    return jnp.mean((outputs - targets) ** 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: resolve_loss("softmax_crossentropy"), ValueError, "did you mean 'softmax_cross_entropy'"),
        (lambda: resolve_loss("zzz"), ValueError, "names: softmax_cross_entropy, sigmoid"),
        (lambda: resolve_loss(WRONG), TypeError, "fit: loss must be a name or a callable"),
        (lambda: resolve_metrics("accuracy"), TypeError, r"write \('accuracy',\)"),
        (lambda: resolve_metrics(("accurracy",)), ValueError, "did you mean 'accuracy'"),
        (lambda: resolve_metrics(("accuracy", "accuracy")), ValueError, "different names"),
        (lambda: resolve_metrics({"loss": "accuracy"}), ValueError, "none of them loss"),
        (
            lambda: resolve_loss("squared_error")(jnp.zeros((4, 1)), jnp.zeros(4)),
            ValueError,
            r"give targets\[..., None\]",
        ),
        (
            lambda: resolve_loss("softmax_cross_entropy")(jnp.zeros((4, 3)), jnp.zeros((4, 1), int)),
            ValueError,
            r"shape \(4,\)",
        ),
        (lambda: train.top_accuracy(0), ValueError, "at least 1"),
    ],
)
def test_errors_say_what_to_do(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_evaluation_refuses_what_it_cannot_do():
    model = Model.from_function(linear, jnp.eye(5))
    with pytest.raises(ValueError, match="give a loss, or metrics"):
        train.evaluate(model, (LOGITS, LABELS))
    with pytest.raises(ValueError, match=r"data\[0\] has 7, data\[1\] has 3"):
        train.evaluate(model, (LOGITS, LABELS[:3]), metrics=("accuracy",))
    with pytest.raises(TypeError, match=r"train\.State or a jaxviz\.Model"):
        train.predict(WRONG, LOGITS)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        train.predict(model, LOGITS, batch_size=0)
    assert jax.tree.leaves(train.predict(model, LOGITS))[0].shape == (7, 5)


def test_a_label_below_zero_is_no_label():
    outputs = jnp.array([[0.0, 5.0], [0.0, 5.0]])
    values = LOSSES["softmax_cross_entropy"](outputs, jnp.array([-1, 1]))
    assert np.isnan(values[0])
    assert np.isfinite(values[1])
