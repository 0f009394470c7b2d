"""A sweep's rows are single trainings; several devices compute what one does."""

import os
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import optax
import pytest

from jaxviz import train
from jaxviz.data import xor
from jaxviz.models import MLP

MODULE = MLP(features=(2, 1), activation="sigmoid")
POINTS, LABELS = xor()
DATA = (POINTS, LABELS[:, None].astype(np.float32))
KEYS = jax.random.split(jax.random.key(0), 5)
SETTINGS: dict[str, Any] = {"loss": "sigmoid_binary_cross_entropy", "metrics": ("binary_accuracy",)}
ADAM = optax.adam(0.05)


@pytest.mark.parametrize("batch_size", [None, 3])
def test_a_row_is_the_single_training(batch_size):
    swept = train.sweep(MODULE, DATA, optimizer=ADAM, keys=KEYS, steps=30, batch_size=batch_size, **SETTINGS)
    assert swept.losses.shape == swept.metrics["binary_accuracy"].shape == (5, 30)
    for row in (0, 3):
        state = train.create_state(MODULE, POINTS, optimizer=ADAM, key=KEYS[row])
        state, history = train.fit(
            state, DATA, epochs=30, batch_size=batch_size, drop_remainder=True, progress=False, **SETTINGS
        )
        np.testing.assert_allclose(swept.losses[row], history.steps["loss"], rtol=1e-5)
        np.testing.assert_array_equal(swept.metrics["binary_accuracy"][row], history.steps["binary_accuracy"])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), swept[row].params, state.params
        )
        assert int(swept[row].step) == 30


def test_learning_rates_differ():
    rates = np.array([0.0, 0.1, 0.1, 0.3, 1e30], np.float32)
    swept = train.sweep(
        MODULE,
        DATA,
        optimizer=optax.sgd,
        keys=KEYS[np.array([0, 0, 1, 0, 0])],
        learning_rates=rates,
        steps=20,
        **SETTINGS,
    )
    assert np.ptp(swept.losses[0]) == 0
    alone = train.create_state(MODULE, POINTS, optimizer=optax.sgd(0.3), key=KEYS[0])
    _, history = train.fit(alone, DATA, epochs=20, batch_size=None, progress=False, **SETTINGS)
    np.testing.assert_allclose(swept.losses[3], history.steps["loss"], rtol=1e-5)


def test_a_diverged_training_stands_still_and_leaves_the_others_alone():
    swept = train.sweep(
        MLP(features=(3, 1)),
        (POINTS, 1e3 + DATA[1]),
        loss="squared_error",
        optimizer=optax.sgd,
        keys=KEYS[:2],
        learning_rates=[1e-4, 1e4],
        steps=60,
    )
    assert swept.finite.tolist() == [True, False]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(swept.params))
    assert np.isfinite(swept.losses[0]).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"keys": jax.random.key(0)}, TypeError, r"jax\.random\.split"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"optimizer": optax.adam}, TypeError, "or give learning_rates"),
        ({"learning_rates": [0.1, 0.2]}, TypeError, r"such as optax\.adam itself"),
        ({"learning_rates": [0.1, 0.2], "optimizer": optax.sgd}, ValueError, r"one per key \(5,\)"),
        ({"learning_rates": "a", "optimizer": optax.sgd}, TypeError, "sweep: learning_rates must be numbers, got 'a'"),
        (
            {"learning_rates": -1.0, "optimizer": optax.sgd},
            ValueError,
            "sweep: learning_rates must be .* at least 0, got -1",
        ),
        (
            {"learning_rates": 0.1, "optimizer": lambda rate: optax.sgd(rate)},
            TypeError,
            r"optimizer\(learning_rate=\.\.\.\)",
        ),
        ({"learning_rates": 0.1, "optimizer": lambda learning_rate: None}, TypeError, "must return an optax optimizer"),
        ({"metrics": None}, TypeError, "sweep: metrics must be a tuple"),
        ({"batch_size": 0}, ValueError, "sweep: batch_size must be at least 1, got 0"),
        ({"data": POINTS}, TypeError, "sweep: data must be a tuple of arrays"),
        ({"data": (POINTS, None)}, TypeError, "sweep: data must be .* its targets are None"),
        ({"data": (POINTS, DATA[1][:2])}, ValueError, "sweep: the arrays of data must have one number of examples"),
        (
            {"data": (POINTS * np.nan, DATA[1])},
            ValueError,
            r"sweep: data\[0\] must be finite, but .* are NaN or infinite",
        ),
    ],
)
def test_errors_name_the_argument(change, error, message):
    with pytest.raises(error, match=message):
        train.sweep(
            **{"module": MODULE, "data": DATA, "optimizer": ADAM, "keys": KEYS, "steps": 3, **SETTINGS, **change}
        )


def test_labels_out_of_range_are_told_before_the_training():
    labels = np.arange(len(POINTS), dtype=np.int32) % 4
    with pytest.raises(ValueError, match=r"sweep: .* the labels reach from 0 to 3, the 2 classes from 0 to 1"):
        train.sweep(
            MLP(features=(2,)), (POINTS, labels), loss="softmax_cross_entropy", optimizer=ADAM, keys=KEYS, steps=1
        )


def test_a_sweep_inside_jit():
    with pytest.raises(TypeError, match=r"sweep: data\[0\] is traced; .* outside of jax\.jit"):
        jax.jit(lambda x: train.sweep(MODULE, (x, DATA[1]), optimizer=ADAM, keys=KEYS, steps=1, **SETTINGS).losses)(
            POINTS
        )


PROGRAM = """
import jax, numpy as np, optax
from jaxviz import train
from jaxviz.models import CNN, MLP
assert len(jax.devices()) == 8
rng = np.random.default_rng(0)
images, labels = rng.normal(size=(44, 6, 6, 1)).astype(np.float32), rng.integers(0, 3, 44).astype(np.int32)
for module in (CNN(classes=3, channels=(4,), batch_norm=True), MLP(features=(8, 3))):
    runs = []
    for devices in (None, jax.devices()):
        state = train.create_state(module, images, optimizer=optax.sgd(0.1), key=jax.random.key(0))
        state, history = train.fit(
            state, (images, labels), loss="softmax_cross_entropy", epochs=2, batch_size=16, devices=devices, progress=False
        )
        runs.append((history, state))
    assert len(jax.tree.leaves(state.params)[0].sharding.device_set) == 8
    np.testing.assert_allclose(runs[0][0].steps["loss"], runs[1][0].steps["loss"], rtol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), runs[0][1].params, runs[1][1].params)
print("equal")
"""


def test_eight_devices_compute_what_one_does():
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "equal", done.stderr
