"""A resumed run is the uninterrupted one, bit for bit; a killed one leaves whole checkpoints and a log without a zigzag."""

import itertools
import os
import signal
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxviz import tensorboard, train
from jaxviz.data import moons, noise
from jaxviz.models import CNN, MLP

INPUTS = np.random.default_rng(2).normal(size=(22, 4, 4, 1)).astype(np.float32)
LABELS = np.random.default_rng(3).integers(0, 3, 22).astype(np.int32)
MODULE = CNN(classes=3, channels=(2,), batch_norm=True, dropout=0.3)
SMALL = MLP(features=(5, 3))
OPTIMIZER = optax.adam(0.01)
SETTINGS: dict[str, Any] = {
    "loss": "softmax_cross_entropy",
    "metrics": ("accuracy",),
    "epochs": 4,
    "batch_size": 8,
    "augment": noise,
    "progress": False,
    "validation_data": (INPUTS, LABELS),
}


class Killed(BaseException):
    pass


def fit(module=MODULE, **changes):
    state = train.create_state(module, INPUTS, optimizer=OPTIMIZER, key=jax.random.key(5))
    return train.fit(state, (INPUTS, LABELS), **{**SETTINGS, **changes})


def equal(a: Any, b: Any) -> None:
    assert bool(jax.tree.structure(a) == jax.tree.structure(b))  # type: ignore[operator]
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(("module", "at"), [(MODULE, 5), (SMALL, 4), (SMALL, 6)])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, monkeypatch, module, at):
    stop = train.EarlyStopping(patience=50)
    whole, history = fit(module, early_stopping=stop)
    monkeypatch.setattr("jaxviz.train.loop.Run.save", killing(train.loop.Run.save, at))
    with pytest.raises(Killed):
        fit(module, early_stopping=stop, checkpoint_dir=tmp_path, checkpoint_every=1)
    monkeypatch.undo()
    with train.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step == at
    resumed, again = fit(module, early_stopping=stop, checkpoint_dir=tmp_path)
    equal(resumed, whole)
    for name in history.steps:
        np.testing.assert_array_equal(history.steps[name], again.steps[name])
    for name in history.epochs:
        np.testing.assert_array_equal(history.epochs[name], again.epochs[name])
    assert again.best_epoch == history.best_epoch
    finished, last = fit(module, early_stopping=stop, checkpoint_dir=tmp_path)  # nothing is left to do
    equal(finished, whole)
    assert last.step_numbers.tolist() == history.step_numbers.tolist()


def killing(save, at):
    def saved(run, checkpoints):
        save(run, checkpoints)
        if int(run.state.step) == at:
            raise Killed

    return saved


def test_ctrl_c_saves_and_hands_over_what_there_is(tmp_path):
    steps = itertools.count()

    def interrupted(key):
        for i in range(0, 22, 8):
            if next(steps) == 7:
                raise KeyboardInterrupt
            yield INPUTS[i : i + 8], LABELS[i : i + 8]

    state = train.create_state(SMALL, INPUTS, optimizer=OPTIMIZER, key=jax.random.key(5))
    with pytest.raises(KeyboardInterrupt) as caught:
        train.fit(state, interrupted, checkpoint_dir=tmp_path / "checkpoints", logdir=tmp_path / "log", **SETTINGS)
    error: Any = caught.value
    done = int(error.state.step)
    assert 0 < done < 7
    assert error.history.steps["loss"].shape == (done,)
    with train.Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest_step == done
    assert "train/loss" in tensorboard.read(tmp_path / "log")


def test_checkpoints_tell_what_does_not_fit(tmp_path):
    fit(SMALL, checkpoint_dir=tmp_path, epochs=1)
    with pytest.raises(
        ValueError, match=r"another network.*params/Dense_0/kernel is float32\[16, 5\], not float32\[16, 7\]"
    ):
        fit(MLP(features=(7, 3)), checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="resume=False"):
        fit(SMALL, checkpoint_dir=tmp_path, resume=False)
    with train.Checkpoints(tmp_path / "empty") as empty, pytest.raises(FileNotFoundError, match="there are: none"):
        empty.restore({"a": jnp.zeros(2)})


def test_what_is_no_folder_of_checkpoints(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(FileExistsError, match=r"fit: checkpoint_dir .*file cannot be made a folder: it is a file"):
        fit(SMALL, checkpoint_dir=file)
    with pytest.raises(NotADirectoryError, match=r"Checkpoints: directory .*file/a cannot be made a folder"):
        train.Checkpoints(file / "a")
    with train.Checkpoints(tmp_path / "others") as others:
        for tree, message in (({"w": 3.0}, "w must be an array, got 3.0"), ({"w": None}, "tree has no values")):
            with pytest.raises((TypeError, ValueError), match=f"Checkpoints.save: {message}"):
                others.save(1, tree)
        with pytest.raises(TypeError, match=r"Checkpoints.save: record must be something that JSON can hold"):
            others.save(1, {"w": np.ones(2)}, record={"a": object()})
        with pytest.raises(TypeError, match=r"Checkpoints.save: step must be an int, got 'a'"):
            others.save("a", {"w": np.ones(2)})
        others.save(3, {"w": np.ones(2)})
    with pytest.raises(ValueError, match=r"fit: the checkpoint in .*others was not saved by fit"):
        fit(SMALL, checkpoint_dir=tmp_path / "others")


def test_a_damaged_checkpoint_is_named(tmp_path):
    fit(SMALL, checkpoint_dir=tmp_path, epochs=1)
    (record,) = tmp_path.glob("*/record/metadata")
    record.write_bytes(record.read_bytes()[:20])
    with pytest.raises(
        ValueError, match=rf"the checkpoint {record.parents[1]} cannot be read, .* delete that folder to begin"
    ):
        fit(SMALL, checkpoint_dir=tmp_path, epochs=2)


def test_any_pytree_can_be_saved_by_ones_own_loop(tmp_path):
    tree: dict[str, Any] = {"w": jnp.arange(4.0), "n": [jnp.int32(3), np.zeros((0, 2))], "key": jax.random.key(7)}
    with train.Checkpoints(tmp_path) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, {**tree, "w": tree["w"] + step}, record={"epoch": step})
        read, record = checkpoints.restore(tree)
    assert record == {"epoch": 3}
    equal(read, {**tree, "w": tree["w"] + 3})
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.isdigit()) == ["2", "3"]


PROGRAM = """
import sys, numpy as np, jax, optax
from jaxviz import train
from jaxviz.models import MLP
inputs = np.random.default_rng(2).normal(size=(64, 4)).astype(np.float32)
state = train.create_state(MLP(features=(5, 1)), inputs, optimizer=optax.sgd(0.01), key=jax.random.key(0))
def slowly():
    import time
    for i in range(0, 64, 8):
        time.sleep(0.02)
        yield inputs[i:i+8], inputs[i:i+8, :1]
state, history = train.fit(state, slowly, loss="squared_error", epochs=int(sys.argv[2]), logdir=sys.argv[1] + "/log",
    checkpoint_dir=sys.argv[1] + "/checkpoints", checkpoint_every=5, log_every=1, progress=False)
np.save(sys.argv[1] + "/losses.npy", history.steps["loss"])
"""


def test_a_killed_process_goes_on_where_it_was(tmp_path):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    run = lambda folder, epochs: [sys.executable, "-c", PROGRAM, str(folder), str(epochs)]
    process = subprocess.Popen(run(tmp_path, 100), env=environment)
    deadline = time.monotonic() + 120
    saved = lambda: [int(p.name) for p in (tmp_path / "checkpoints").glob("*") if p.name.isdigit()]
    while not any(step >= 15 for step in saved()) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed_at = tensorboard.read(tmp_path / "log")["train/loss"].steps.max()
    subprocess.run(run(tmp_path, 8), env=environment, check=True)
    curve = tensorboard.read(tmp_path / "log")["train/loss"]
    assert curve.steps.tolist() == list(range(64))
    assert killed_at >= 5
    np.testing.assert_array_equal(curve.values, np.load(tmp_path / "losses.npy"))


def test_a_run_is_resumed_only_as_itself(tmp_path):
    inputs, labels = moons(64, key=jax.random.key(0))
    state = train.create_state(MLP(features=(4, 2)), inputs, optimizer=optax.sgd(0.1), key=jax.random.key(1))
    settings = {"loss": "softmax_cross_entropy", "batch_size": 16, "checkpoint_dir": tmp_path, "progress": False}
    train.fit(state, (inputs, labels), **settings)
    with pytest.raises(ValueError, match=r"is of a run with metrics \[\], this one has \['accuracy'\]"):
        train.fit(state, (inputs, labels), epochs=2, metrics=("accuracy",), **settings)
    with pytest.raises(ValueError, match="is of a run with batches per epoch 4, this one has 2"):
        train.fit(state, (inputs[:32], labels[:32]), epochs=2, **settings)
