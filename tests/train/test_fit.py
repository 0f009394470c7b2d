"""`fit` and its step: against a step by hand, twice the same, nothing compiled twice, every kind of data."""

import io
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from rich.console import Console

from jaxviz import train
from jaxviz.data import noise
from jaxviz.models import CNN, MLP

KEY = jax.random.key(3)
MODULE = MLP(features=(6, 3), activation="tanh")
OPTIMIZER = optax.sgd(0.5)
RNG = np.random.default_rng(1)
INPUTS = RNG.normal(size=(22, 4)).astype(np.float32)
LABELS = RNG.integers(0, 3, 22).astype(np.int32)
DATA = (INPUTS, LABELS)
SETTINGS: dict[str, Any] = {"loss": "softmax_cross_entropy", "metrics": ("accuracy",), "progress": False}


def state(module=MODULE, optimizer=OPTIMIZER, inputs=INPUTS):
    return train.create_state(module, inputs, optimizer=optimizer, key=KEY)


def same(a, b):
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_a_step_is_gradient_descent_by_hand():
    before = state(MLP(features=(3, 1), activation="tanh"))
    targets = INPUTS[:, :1] * 2
    after, report = train.make_step(loss="squared_error")(jax.tree.map(jnp.copy, before), (INPUTS, targets))
    params = jax.tree.map(lambda leaf: np.asarray(leaf, float), before.params)
    (w1, b1), (w2, b2) = ((params[f"Dense_{i}"]["kernel"], params[f"Dense_{i}"]["bias"]) for i in (0, 1))
    hidden = np.tanh(INPUTS @ w1 + b1)
    error = hidden @ w2 + b2 - targets
    back = 2 * error / len(INPUTS)
    through = back @ w2.T * (1 - hidden**2)
    gradients = {
        "Dense_0": {"kernel": INPUTS.T @ through, "bias": through.sum(0)},
        "Dense_1": {"kernel": hidden.T @ back, "bias": back.sum(0)},
    }
    jax.tree.map(
        lambda new, old, g: np.testing.assert_allclose(new, old - 0.5 * g, atol=2e-6), after.params, params, gradients
    )
    assert float(report["loss"]) == pytest.approx((error**2).mean(), rel=1e-5)
    assert float(report["gradient_norm"]) == pytest.approx(
        np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(gradients))), rel=1e-5
    )
    assert int(after.step) == 1


def test_the_parameters_are_those_of_the_modules_init():
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), state().params, MODULE.init(KEY, INPUTS[:1])["params"]
    )


def test_the_same_arguments_give_the_same_bits_and_other_keys_do_not():
    runs = [train.fit(state(), DATA, epochs=2, batch_size=8, **SETTINGS) for _ in range(2)]
    jax.tree.map(same, runs[0][0].params, runs[1][0].params)
    same(runs[0][1].steps["loss"], runs[1][1].steps["loss"])
    other, _ = train.fit(state(), DATA, epochs=2, batch_size=8, key=jax.random.key(9), **SETTINGS)
    assert not np.array_equal(other.params["Dense_0"]["kernel"], runs[0][0].params["Dense_0"]["kernel"])


@pytest.mark.parametrize("batch_size", [8, None, 100])
def test_epochs_are_means_over_examples_and_dispatches_do_not_matter(batch_size):
    one, history = train.fit(state(), DATA, epochs=3, batch_size=batch_size, steps_per_dispatch=1, **SETTINGS)
    many, other = train.fit(state(), DATA, epochs=3, batch_size=batch_size, steps_per_dispatch=4, **SETTINGS)
    per_epoch = 3 if batch_size == 8 else 1
    assert history.step_numbers.tolist() == list(range(3 * per_epoch)) == other.step_numbers.tolist()
    assert history.epoch_ends.tolist() == [per_epoch, 2 * per_epoch, 3 * per_epoch]
    sizes = np.array([8, 8, 6]) if batch_size == 8 else np.array([22])
    for name in ("loss", "accuracy"):
        expected = history.steps[name].astype(float).reshape(3, per_epoch) @ sizes / 22
        np.testing.assert_allclose(history.epochs[name], expected, rtol=1e-6)
        np.testing.assert_allclose(history.steps[name], other.steps[name], rtol=1e-5, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), one.params, many.params)


def test_every_example_is_seen_once_per_epoch_in_a_new_order():
    seen = []

    def loss(outputs, targets):
        jax.debug.callback(lambda t: seen.append(t), targets)
        return outputs[:, 0] * 0

    numbers = np.arange(10, dtype=np.float32)
    train.fit(
        state(MLP(features=(1,)), inputs=numbers[:, None]),
        (numbers[:, None], numbers),
        loss=loss,
        epochs=2,
        batch_size=4,
        progress=False,
        steps_per_dispatch=1,
    )
    jax.effects_barrier()
    epochs = [np.concatenate(seen[:3]), np.concatenate(seen[3:])]
    assert all(sorted(epoch) == numbers.tolist() for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()


def test_a_second_fit_traces_nothing():
    traces = []

    class Counted(nn.Module):
        @nn.compact
        def __call__(self, x):
            traces.append(1)
            return nn.Dense(3)(x)

    optimizer = train.optimizer("adam", train.cosine(0.1, 10), weight_decay=0.1, clip_norm=1.0)
    for repeat in range(2):
        first = train.create_state(Counted(), INPUTS, optimizer=optimizer, key=jax.random.key(repeat))
        after, _ = train.fit(
            first,
            (INPUTS + repeat, LABELS),
            validation_data=(INPUTS[:9] * 2, LABELS[:9]),
            epochs=2,
            batch_size=8,
            augment=noise,
            **SETTINGS,
        )
        train.evaluate(after, DATA, loss="softmax_cross_entropy")
        train.predict(after, INPUTS)
        if not repeat:
            assert traces
            traces.clear()
    assert not traces


def test_the_given_state_can_still_be_used():
    before = state()
    train.fit(before, DATA, **SETTINGS)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(before))


def test_batch_norm_and_dropout_are_in_training_mode_only_while_training():
    images = RNG.normal(size=(16, 8, 8, 1)).astype(np.float32)
    module = CNN(classes=3, channels=(4,), batch_norm=True, dropout=0.5)
    before = state(module, optax.adam(0.01), images)
    after, _ = train.fit(before, (images, LABELS[:16]), epochs=3, batch_size=8, **SETTINGS)
    means = [s.model_state["batch_stats"]["BatchNorm_0"]["mean"] for s in (before, after)]
    assert not np.array_equal(*means)
    same(after.model(images), after.model(images))
    variables = {"params": after.params, **after.model_state}
    np.testing.assert_allclose(
        train.predict(after, images), np.asarray(module.apply(variables, images, train=False)), atol=1e-5
    )


def test_an_iterable_of_batches_is_the_arrays_cut():
    whole, history = train.fit(state(), DATA, epochs=2, batch_size=8, shuffle=False, steps_per_dispatch=1, **SETTINGS)
    batches = [(INPUTS[i : i + 8], LABELS[i : i + 8]) for i in range(0, 22, 8)]
    for given in (batches, lambda: iter(batches), lambda key: iter(batches)):
        other, found = train.fit(state(), given, epochs=2, **SETTINGS)
        np.testing.assert_allclose(found.epochs["loss"], history.epochs["loss"], rtol=1e-6)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), whole.params, other.params)


def test_data_too_large_for_the_device_give_the_same(monkeypatch):
    kept, _ = train.fit(state(), DATA, epochs=2, batch_size=8, steps_per_dispatch=1, **SETTINGS)
    monkeypatch.setattr("jaxviz.train.source.RESIDENT_BYTES", 0)
    sent, _ = train.fit(state(), DATA, epochs=2, batch_size=8, **SETTINGS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), kept.params, sent.params)


def test_several_inputs():
    class Two(nn.Module):
        @nn.compact
        def __call__(self, a, b):
            return nn.Dense(3)(a) + nn.Dense(3)(b)

    inputs = (INPUTS, INPUTS[:, :2])
    after, _ = train.fit(state(Two(), inputs=inputs), (inputs, LABELS), batch_size=8, **SETTINGS)
    assert train.predict(after, inputs).shape == (22, 3)


def test_an_nnx_module_trains_too():
    class Network(nnx.Module):
        def __init__(self, rngs):
            self.first, self.norm = nnx.Linear(4, 8, rngs=rngs), nnx.BatchNorm(8, rngs=rngs)
            self.dropout, self.last = nnx.Dropout(0.2, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x):
            return self.last(self.dropout(nnx.relu(self.norm(self.first(x)))))

    first = train.create_state(Network(nnx.Rngs(0)), optimizer=optax.adam(0.05), key=KEY)
    after, history = train.fit(first, DATA, epochs=30, batch_size=8, **SETTINGS)
    assert history.epochs["loss"][-1] < 0.7 * history.epochs["loss"][0]
    same(after.model(INPUTS), after.model(INPUTS))
    module = nnx.merge(after.module, after.params, after.model_state)
    module.eval()
    np.testing.assert_allclose(module(INPUTS), train.predict(after, INPUTS), atol=1e-5)


def test_the_learning_rate_is_recorded():
    schedule = train.cosine(0.1, 6, warmup=2)
    _, history = train.fit(state(optimizer=train.optimizer("sgd", schedule)), DATA, epochs=2, batch_size=8, **SETTINGS)
    with jax.numpy_dtype_promotion("standard"):
        expected = [float(schedule(i)) for i in range(6)]
    np.testing.assert_allclose(history.steps["learning_rate"], expected, rtol=1e-6)
    injected = optax.inject_hyperparams(optax.sgd)(learning_rate=0.25)
    _, history = train.fit(state(optimizer=injected), DATA, batch_size=8, **SETTINGS)
    assert history.steps["learning_rate"].tolist() == [0.25] * 3
    assert "learning_rate" not in train.fit(state(), DATA, **SETTINGS)[1].steps


def test_weight_decay_takes_its_share_of_each_weight():
    x = {"w": jnp.array([2.0, -4.0])}
    zero = {"w": jnp.zeros(2)}
    for name in ("sgd", "momentum", "adam", "rmsprop", "adamw"):
        optimizer = train.optimizer(name, 0.1, weight_decay=0.5)
        with jax.numpy_dtype_promotion("standard"):
            updates, _ = optimizer.update(zero, optimizer.init(x), x)
        np.testing.assert_allclose(updates["w"], -0.05 * x["w"], rtol=1e-6)
    clipped = train.optimizer("sgd", 1.0, clip_norm=1.0)
    updates, _ = clipped.update({"w": jnp.array([3.0, 4.0])}, clipped.init(x), x)
    np.testing.assert_allclose(updates["w"], [-0.6, -0.8], rtol=1e-6)


def shown(**keywords):
    text = io.StringIO()
    console = Console(file=text, width=100, **keywords)
    train.fit(
        state(), DATA, batch_size=8, validation_data=DATA, **{**SETTINGS, "progress": True}, epochs=3, console=console
    )
    return text.getvalue()


def test_a_file_gets_one_line_per_epoch_and_a_terminal_a_bar():
    lines = shown().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1/3")
    assert all(name in lines[2] for name in ("loss", "accuracy", "val_loss", "val_accuracy", "3 steps"))
    assert "\x1b" in shown(force_terminal=True)


CASES: list[Any] = [
    ({"train_data": (INPUTS, LABELS[:5])}, ValueError, r"train_data\[0\] has 22, train_data\[1\] has 5"),
    ({"train_data": (INPUTS[:0], LABELS[:0])}, ValueError, "no examples"),
    ({"train_data": INPUTS}, (TypeError, ValueError), "inputs, targets"),
    ({"train_data": (INPUTS.tolist(), LABELS)}, TypeError, "numpy.asarray"),
    ({"train_data": iter([DATA])}, TypeError, "ends after one epoch"),
    ({"train_data": []}, ValueError, "no batch in epoch 1"),
    ({"train_data": 3}, TypeError, "train_data must be"),
    ({"validation_data": (INPUTS, LABELS[:3])}, ValueError, "validation_data"),
    ({"loss": "cross_entropy"}, ValueError, "names: softmax_cross_entropy"),
    ({"loss": "squared_error"}, ValueError, "outputs .8, 3. and targets .8,."),
    ({"epochs": 0}, ValueError, "epochs must be at least 1"),
    ({"checkpoint_every": 1}, ValueError, "checkpoint_every is given, but no checkpoint_dir to save to"),
    ({"loss": lambda outputs, targets: None}, TypeError, r"must return one value per example, .* got None"),
    (
        {"loss": lambda outputs, targets: outputs.sum(1).astype(complex)},
        TypeError,
        "of real numbers, got dtype complex64",
    ),
    ({"epochs": 1.5}, TypeError, "epochs must be an int"),
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
    ({"batch_size": "8"}, TypeError, "batch_size must be an int"),
    ({"key": 0}, TypeError, r"jax\.random\.key"),
    ({"hooks": ["weights"]}, (TypeError, ValueError), "hook"),
    ({"early_stopping": train.EarlyStopping()}, ValueError, "'val_loss' is not recorded; give validation_data"),
    ({"early_stopping": 3}, TypeError, "EarlyStopping"),
    ({"augment": "flip"}, TypeError, "augment must be a function"),
    ({"steps_per_dispatch": "many"}, TypeError, "int or 'auto'"),
    ({"devices": []}, ValueError, "at least one device"),
    ({"devices": 2}, TypeError, r"devices must be a list of devices, such as jax\.devices\(\)\[:2\], or None, got 2"),
    ({"devices": "cpu"}, TypeError, "devices must be a list of devices"),
    ({"metrics": None}, TypeError, "fit: metrics must be a tuple of names or callables, or a dict, got None"),
    ({"metrics": {3: "accuracy"}}, TypeError, "fit: the names of metrics must be strings, got 3"),
    ({"train_data": (INPUTS, None)}, TypeError, "its targets are None, and where a loss needs none"),
    (
        {"train_data": {"x": INPUTS, "y": LABELS}},
        TypeError,
        "fit: train_data must be .* or an iterable .* got a dict of 2",
    ),
    ({"train_data": "mnist"}, TypeError, "fit: train_data must be .* got str"),
    ({"train_data": None}, TypeError, "fit: train_data must be .* got None"),
    ({"train_data": [INPUTS, LABELS]}, TypeError, r"fit: train_data's batch must be .* got ndarray of shape \(22, 4\)"),
    (
        {"train_data": [(INPUTS, LABELS[:3])]},
        ValueError,
        r"train_data's batch\[0\] has 22, train_data's batch\[1\] has 3",
    ),
    ({"train_data": lambda: None}, TypeError, "fit: what train_data returns must be .* got None"),
    ({"train_data": (INPUTS.astype(str), LABELS)}, TypeError, r"train_data\[0\] must hold numbers, got dtype <U"),
    (
        {"train_data": (INPUTS[:, :1], LABELS)},
        ValueError,
        r"the network cannot be applied to train_data, float32\[8, 1\]",
    ),
    ({"validation_data": (INPUTS[:, :1], LABELS)}, ValueError, "fit: the network cannot be applied to validation_data"),
    ({"validation_data": (INPUTS, LABELS[:, None])}, ValueError, r"integer targets must have shape \(22,\)"),
    ({"validation_data": [INPUTS, LABELS]}, TypeError, "fit: validation_data must be a tuple .* got a list of 2"),
    ({"shuffle": "no"}, TypeError, "fit: shuffle must be True or False, got 'no'"),
    ({"drop_remainder": 1}, TypeError, "fit: drop_remainder must be True or False, got 1"),
    ({"resume": "no"}, TypeError, "fit: resume must be True or False"),
    ({"progress": None}, TypeError, "fit: progress must be True or False"),
    ({"check_finite": None}, TypeError, "fit: check_finite must be True or False"),
    ({"console": 3}, TypeError, r"fit: console must be a rich\.console\.Console, got int"),
    ({"hooks": None}, TypeError, "fit: hooks must be a list of hooks, .* got None"),
    ({"logdir": 3}, TypeError, "fit: logdir must be a path, got 3"),
    ({"writer": "runs"}, TypeError, "fit: writer must be .* got str; a folder is logdir"),
    ({"checkpoint_dir": "a\0"}, ValueError, "fit: checkpoint_dir must be a path on a local or mounted disk"),
    ({"augment": lambda key, batch: None}, TypeError, r"augment: it must return a batch .* returned None"),
]


@pytest.mark.parametrize(("change", "error", "message"), CASES, ids=[next(iter(case[0])) for case in CASES])
def test_errors_name_the_argument(change, error, message):
    arguments = {"train_data": DATA, "batch_size": 8, **SETTINGS, **change}
    with pytest.raises(error, match=message):
        train.fit(state(), arguments.pop("train_data"), **arguments)


def test_what_runs_on_the_host_says_so_inside_jit():
    trained = state()
    inside = {
        "fit: train_data": lambda x: train.fit(trained, (x, LABELS), **SETTINGS)[0].step,
        "evaluate: data": lambda x: train.evaluate(trained, (x, LABELS), loss="softmax_cross_entropy")["loss"],
        "predict: inputs": lambda x: train.predict(trained, x),
    }
    for argument, call in inside.items():
        with pytest.raises(TypeError, match=rf"^{argument}(\[0\])? is traced; .* outside of jax\.jit"):
            jax.jit(call)(INPUTS)
    with pytest.raises(TypeError, match=r"^fit: state is traced; .* outside of jax\.jit"):
        jax.jit(lambda given: train.fit(given, DATA, **SETTINGS)[0])(state())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.make_step(loss="squared_error", metrics=None), "make_step: metrics must be .* got None"),
        (lambda t: t.make_step(loss="squared_error", hooks=None), "make_step: hooks must be .* got None"),
        (lambda t: t.make_step(loss="squared_error")(None, DATA), r"step: state must be a train\.State"),
        (lambda t: t.make_step(loss="squared_error")(state(), INPUTS), "step: batch must be a tuple of arrays"),
        (
            lambda t: t.make_step(loss="squared_error")(state(), (INPUTS, None)),
            "step: batch must be .* targets are None",
        ),
        (lambda t: t.EarlyStopping(monitor=3), "EarlyStopping: monitor must be a string, got 3"),
        (lambda t: t.EarlyStopping(min_delta="a"), "EarlyStopping: min_delta must be a number, got 'a'"),
        (lambda t: t.optimizer("adam", None), "optimizer: learning_rate must be a number, got None"),
        (lambda t: t.optimizer("adam", 0.1, clip_norm="a"), "optimizer: clip_norm must be a number, got 'a'"),
        (lambda t: t.optimizer("adam", 0.1, rho=3), "optimizer: 'adam' has no setting 'rho'; it has b1, b2, eps"),
        (lambda t: t.optimizer("adam", 0.1, b1=[3]), r"optimizer: b1 must be a number, .* got \[3\]"),
        (lambda t: t.cosine([0.1], 5), r"cosine: peak must be a number, got \[0.1\]"),
        (lambda t: t.cosine(0.1, "a"), "cosine: steps must be an int, got 'a'"),
        (lambda t: t.top_accuracy("a"), "top_accuracy: k must be an int, got 'a'"),
        (
            lambda t: t.backpropagation(state(), INPUTS, LABELS, loss="squared_error"),
            r"must be a jaxviz\.Model, got State",
        ),
        (lambda t: t.backpropagation(state().model, INPUTS, LABELS, loss=None), "backpropagation: loss must be a name"),
        (
            lambda t: t.backpropagation(state().model, None, LABELS, loss="huber"),
            "backpropagation: inputs must be an array",
        ),
        (
            lambda t: t.backpropagation(state().model, INPUTS, None, loss="huber"),
            "backpropagation: targets must be an arr",
        ),
    ],
)
def test_other_functions_name_the_argument(call, message):
    with pytest.raises(TypeError, match=message):
        call(train)


def test_create_state_errors():
    wrong: Any = "MLP"
    with pytest.raises(TypeError, match="call it"):
        train.create_state(MODULE, INPUTS, optimizer=optax.adam, key=KEY)
    with pytest.raises(TypeError, match=r"flax\.linen\.Module"):
        train.create_state(wrong, INPUTS, optimizer=OPTIMIZER, key=KEY)
    with pytest.raises(TypeError, match="sample_inputs"):
        train.create_state(MODULE, optimizer=OPTIMIZER, key=KEY)
    with pytest.raises(TypeError, match=r"create_state: a Linen module needs sample_inputs, .* got 'MLP'"):
        train.create_state(MODULE, wrong, optimizer=OPTIMIZER, key=KEY)
    with pytest.raises(ValueError, match="create_state: sample_inputs has no examples"):
        train.create_state(MODULE, INPUTS[:0], optimizer=OPTIMIZER, key=KEY)
    with pytest.raises(TypeError, match=r"create_state: key must be a jax\.random\.key"):
        train.create_state(MODULE, INPUTS, optimizer=OPTIMIZER, key=wrong)
    with pytest.raises(ValueError, match="unknown name 'adma'; did you mean 'adam'"):
        train.optimizer("adma", 0.1)
