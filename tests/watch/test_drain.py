"""Watcher.drain."""

import jax
import optax

import jaxviz as jv


def test_drain_writes_all_that_was_recorded(tmp_path):
    written = []

    def write(writer, step, value):
        written.append(step)

    hook = jv.watch.Hook("step", lambda view: {"step": view.step}, write, every=1)
    inputs, labels = jv.data.moons(64, key=jax.random.key(0))
    state = jv.train.create_state(
        jv.models.MLP(features=(4, 2)), inputs, optimizer=optax.sgd(0.1), key=jax.random.key(1)
    )
    with jv.tensorboard.Writer(tmp_path / "log") as writer:
        watcher = jv.watch.Watcher(writer, [hook])
        step = jv.train.make_step(loss="softmax_cross_entropy", hooks=[hook])
        for number in range(5):
            state, report = step(state, (inputs, labels))
            watcher.record(number, report.measured)
        watcher.drain()
        assert written == [0, 1, 2, 3, 4]
        watcher.drain()
        watcher.close()
    assert written == [0, 1, 2, 3, 4]
