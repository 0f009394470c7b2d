"""Early stopping restores the best; NaN and inf name their step and layer."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxviz import train
from jaxviz.models import MLP
from jaxviz.train.stopping import Patience

KEY = jax.random.key(0)
INPUTS = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
LABELS = (np.arange(12) % 3).astype(np.int32)
SETTINGS: dict[str, Any] = {"loss": "softmax_cross_entropy", "progress": False}


def fit(module, data=(INPUTS, LABELS), *, optimizer=optax.sgd(0.1), inputs=INPUTS, **settings):  # noqa: B008
    state = train.create_state(module, inputs, optimizer=optimizer, key=KEY)
    return train.fit(state, data, **{**SETTINGS, "batch_size": 4, **settings})


def test_early_stopping_restores_the_best():
    rule = train.EarlyStopping(patience=3)
    # Random labels are learned by heart: the validation loss rises after some epochs.
    validation = (INPUTS[::-1].copy(), LABELS)
    state, history = fit(MLP(features=(32, 3)), epochs=200, validation_data=validation, early_stopping=rule)
    losses = history.epochs["val_loss"]
    assert history.stopped
    assert history.best_epoch == losses.argmin() == len(losses) - 4
    assert int(state.step) == 3 * (history.best_epoch + 1)
    assert train.evaluate(state, validation, loss="softmax_cross_entropy")["loss"] == pytest.approx(
        losses.min(), rel=1e-6
    )
    alone, _ = fit(MLP(features=(32, 3)), epochs=history.best_epoch + 1)
    jax.tree.map(np.testing.assert_array_equal, state.params, alone.params)


@pytest.mark.parametrize(
    ("rule", "values", "waited", "best"),
    [
        (train.EarlyStopping("loss"), [3, 2, 2, 1.5], 0, 3),
        (train.EarlyStopping("loss", min_delta=0.6), [3, 2, 2, 1.5], 2, 1),
        (train.EarlyStopping("accuracy"), [0.1, 0.5, 0.3], 1, 1),
        (train.EarlyStopping("loss", mode="max"), [1, 2, 1], 1, 1),
        (train.EarlyStopping("loss"), [np.nan, 2, np.nan], 1, 1),
    ],
)
def test_what_counts_as_better(rule, values, waited, best):
    patience = Patience()
    for epoch, value in enumerate(values):
        patience = patience.after(rule, epoch, value)
    assert (patience.waited, patience.epoch) == (waited, best)


@pytest.mark.parametrize("change", [{"patience": 0}, {"mode": "up"}, {"min_delta": -1.0}])
def test_wrong_rules_are_refused(change):
    with pytest.raises(ValueError, match=f"EarlyStopping: {next(iter(change))}"):
        train.EarlyStopping(**change)


class Faulty(nn.Module):
    """Takes the logarithm of something that is negative at the example of value 100."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(4, name="first")(x)
        marker = jnp.where(jnp.abs(x) > 20, -1.0, 1.0)
        x = nn.Dense(4, name="second")(x + jnp.log(marker))
        return nn.Dense(3, name="third")(x)


class Rooted(nn.Module):
    """The gradient of a root is infinite at zero."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="head")(jnp.sqrt(jnp.abs(nn.Dense(4, name="body", use_bias=False)(x))))


def faulty_data(row):
    inputs = INPUTS.copy()
    inputs[row] = 100.0
    return inputs, LABELS


@pytest.mark.parametrize("dispatch", [1, 4])
def test_the_step_and_the_layer_of_a_nan_are_named(dispatch):
    settings = {"shuffle": False, "steps_per_dispatch": dispatch, "epochs": 3}
    with pytest.raises(train.NonFiniteError, match="not finite at step 1, first in second") as caught:
        fit(Faulty(), faulty_data(5), **settings)
    error = caught.value
    assert (error.step, error.layer) == (1, "second")
    assert "NaN" in error.reason
    # The state is the one before: one step on the first four examples.
    before, _ = fit(Faulty(), (INPUTS[:4], LABELS[:4]), shuffle=False)
    assert int(error.state.step) == 1
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), error.state.params, before.params)
    assert error.history.steps["loss"].shape == (2,)
    again, _ = train.fit(error.state, (INPUTS, LABELS), batch_size=4, **SETTINGS)
    assert bool(again.finite)


def test_a_gradient_that_is_not_finite_is_named():
    inputs = INPUTS.copy()
    inputs[5] = 0.0
    with pytest.raises(train.NonFiniteError, match="while the forward pass is finite") as caught:
        fit(Rooted(), (inputs, LABELS), shuffle=False)
    assert (caught.value.step, caught.value.layer) == (1, "body/kernel")


class Logarithm(nn.Module):
    @nn.compact
    def __call__(self, x):
        return jnp.log(x)


class Masked(nn.Module):
    """Takes an additive mask, and makes a NaN itself where all is masked."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(Softmax()(x, jnp.full(x.shape, -jnp.inf)))


class Softmax(nn.Module):
    @nn.compact
    def __call__(self, x, mask):
        return nn.softmax(x + mask)


def test_infinities_that_are_meant_are_not_blamed():
    with pytest.raises(train.NonFiniteError, match="first in Softmax_0") as caught:
        fit(Masked(), (INPUTS, LABELS))
    assert "inf" in caught.value.reason
    assert "arose between" not in caught.value.reason


def test_what_arises_between_layers_is_told():
    with pytest.raises(
        train.NonFiniteError, match=r"first in second.*; its input already has 3 NaN, which arose between"
    ):
        fit(Faulty(), faulty_data(5))
    with pytest.raises(train.NonFiniteError, match="first in layers_1") as caught:  # in a layer
        fit(nn.Sequential([nn.Dense(4), Logarithm(), nn.Dense(3)]), (INPUTS, LABELS))
    assert "its input" not in caught.value.reason


def test_bad_data_and_labels_are_told():
    inputs = INPUTS.copy()
    inputs[0, 0] = np.inf
    with pytest.raises(train.NonFiniteError, match=r"in inputs: .*1 inf.* in the data"):
        fit(MLP(features=(3,)), (inputs, LABELS))
    with pytest.raises(train.NonFiniteError, match=r"the labels reach from . to 7, the 3 classes from 0 to 2"):
        fit(MLP(features=(3,)), (INPUTS, np.where(LABELS == 2, 7, LABELS)))


def test_without_the_check_training_goes_on():
    state, history = fit(Faulty(), faulty_data(5), shuffle=False, check_finite=False)
    assert np.isnan(history.steps["loss"][1:]).all()
    assert int(state.step) == 3


def test_an_exploding_network_stops_where_it_explodes():
    with pytest.raises(train.NonFiniteError) as caught:
        fit(
            MLP(features=(8, 8, 1)),
            (INPUTS, INPUTS[:, :1] * 1e3),
            loss="squared_error",
            optimizer=optax.sgd(10.0),
            epochs=50,
        )
    losses = caught.value.history.steps["loss"]
    assert np.isfinite(losses[:-1]).all()
    assert caught.value.step == len(losses) - 1
