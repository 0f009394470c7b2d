"""Hooks in fit: measured at their steps, written through a real writer, compiled once."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxviz as jv

INPUTS = np.random.default_rng(0).normal(size=(96, 6, 6, 1)).astype(np.float32)
LABELS = (INPUTS.mean((1, 2, 3)) > 0).astype(np.int32)
TRACED: list[int] = []


@pytest.mark.parametrize("kind", ["steps one by one", "many steps per dispatch"])
def test_each_hook_is_measured_at_its_steps(kind, tmp_path):
    if kind == "steps one by one":  # convolutions
        module, layer = jv.models.CNN(classes=2, channels=(3,)), "relu_0"
    else:
        module, layer = jv.models.MLP(features=(5, 2)), "relu_0"
    hooks = [
        jv.watch.weights(every=4, layers="**/kernel"),
        jv.watch.gradients(every=3, layers="Dense_0/*"),
        jv.watch.updates(every=6, layers="Dense_0/kernel"),
        jv.watch.activations(INPUTS[:16], layers=layer, every=4),
        jv.watch.saliency(INPUTS[:2], target=LABELS[:2], every=5),
        jv.watch.input_gradients(INPUTS[:4], target=LABELS[:4], every=12),
    ]
    state = jv.train.create_state(module, INPUTS, optimizer=optax.adam(1e-2), key=jax.random.key(0))
    state, history = jv.train.fit(
        state,
        (INPUTS, LABELS),
        loss="softmax_cross_entropy",
        epochs=2,
        batch_size=16,
        hooks=hooks,
        logdir=tmp_path,
        progress=False,
    )
    assert int(state.step) == len(history.step_numbers) == 12
    log = jv.tensorboard.read(tmp_path)
    for tag, every in {
        "weights/Dense_0/kernel": 4,
        "gradients/Dense_0/bias": 3,
        "updates_ratio/Dense_0/kernel": 6,
        f"activations/{layer}": 4,
        "saliency": 5,
        "input_gradients/mean": 12,
    }.items():
        assert list(log[tag].steps) == list(range(0, 12, every)), tag
    assert "gradients/Conv_0/kernel" not in log
    # The weights of step 0 are those that the network began with.
    first = jv.train.create_state(module, INPUTS, optimizer=optax.adam(1e-2), key=jax.random.key(0))
    kernel = np.asarray(first.params["Dense_0"]["kernel"])
    left, right, counts = np.asarray(log["weights/Dense_0/kernel"].values[0]).T
    np.testing.assert_array_equal(counts, np.histogram(kernel, np.append(left, right[-1]))[0])


@pytest.mark.parametrize("epochs", [2, 3])
def test_a_resumed_run_does_not_miss_hooks_that_are_not_due(epochs, tmp_path):
    module, inputs = jv.models.MLP(features=(2,)), INPUTS.reshape(96, -1)
    state = jv.train.create_state(module, inputs, optimizer=optax.sgd(0.1), key=jax.random.key(0))
    probe = jv.watch.activations(inputs[:4], every=100)

    def fit(epochs):  # any warning is an error here
        jv.train.fit(
            state,
            (inputs, LABELS),
            loss="softmax_cross_entropy",
            epochs=epochs,
            hooks=[probe, jv.watch.weights(every=100)],
            logdir=tmp_path / "log",
            checkpoint_dir=tmp_path / "saved",
            progress=False,
        )

    fit(2)
    fit(epochs)  # nothing left to do, or an epoch in which no hook is due
    assert list(jv.tensorboard.read(tmp_path / "log")["weights/Dense_0/kernel"].steps) == [0]


def test_a_second_fit_with_the_same_hooks_traces_nothing(tmp_path):
    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            TRACED.append(1)
            return nn.Dense(2)(x.reshape(x.shape[0], -1))

    hooks = [jv.watch.weights(every=2), jv.watch.saliency(INPUTS[:2], target=LABELS[:2], every=2)]
    state = jv.train.create_state(Network(), INPUTS, optimizer=optax.sgd(0.1), key=jax.random.key(0))
    settings = {"loss": "softmax_cross_entropy", "batch_size": 32, "hooks": hooks, "progress": False}
    jv.train.fit(state, (INPUTS, LABELS), logdir=tmp_path / "one", **settings)
    before = len(TRACED)
    jv.train.fit(state, (jnp.asarray(INPUTS) + 1, LABELS), logdir=tmp_path / "two", **settings)
    assert len(TRACED) == before
    assert before > 0
