import os
import subprocess
import sys
import textwrap

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import jaxviz as jv
from jaxviz import watch

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(8, 6)).astype(np.float32))
Y = jnp.asarray(RNG.integers(0, 3, 8))


class Recorder:
    """A writer that remembers."""

    def __init__(self, fail_at=()):
        self.log, self.fail_at, self.flushed = [], set(fail_at), 0

    def _note(self, kind, tag, step, value):
        if step in self.fail_at:
            raise OSError(28, "No space left on device")
        assert type(step) is int
        self.log.append((kind, tag, step, value))

    def scalars(self, values, step):
        for tag, value in values.items():
            assert type(value) is float
            self._note("scalar", tag, step, value)

    def histograms(self, tables, step):
        for tag, (counts, edges) in tables.items():
            assert isinstance(counts, np.ndarray)
            self._note("histogram", tag, step, (counts, edges))

    def image(self, tag, image, step):
        self._note("image", tag, step, image)

    def flush(self):
        self.flushed += 1

    def steps(self, tag):
        return [step for _, name, step, _ in self.log if name == tag]

    def values(self, tag):
        return {step: value for _, name, step, value in self.log if name == tag}

    def tags(self):
        return sorted({tag for _, tag, _, _ in self.log})


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.relu(nn.Dense(5)(x)))


def loss_of(params, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(Net().apply({"params": params}, x), y).mean()


def train_state():
    return TrainState.create(
        apply_fn=Net().apply, params=Net().init(jax.random.key(0), X)["params"], tx=optax.sgd(0.1, momentum=0.9)
    )


def step_function(watcher, traces=None, model=False):
    @jax.jit
    def step(state, x, y):
        if traces is not None:
            traces.append(1)
        loss, grads = jax.value_and_grad(loss_of)(state.params, x, y)
        updates, opt_state = state.tx.update(grads, state.opt_state, state.params)
        seen = jv.Model.from_linen(Net(), {"params": state.params}) if model else None
        view = watch.StepView(state.step, params=state.params, grads=grads, updates=updates, loss=loss, model=seen)
        params = optax.apply_updates(state.params, updates)
        return state.replace(step=state.step + 1, params=params, opt_state=opt_state), (
            watcher.measure(view),
            grads,
            updates,
        )

    return step


def test_own_loop_writes_what_is_there():
    writer = Recorder()
    hooks = [
        watch.weights(every=2),
        watch.gradients(every=3, layers="**/kernel"),
        watch.updates(every=3, histograms=False),
    ]
    traces: list[int] = []
    seen = []
    state = train_state()
    with watch.Watcher(writer, hooks) as watcher:
        step_of = step_function(watcher, traces)
        for step in range(7):
            before = state.params
            state, (measured, grads, updates) = step_of(state, X, Y)
            seen.append((before, grads, updates))
            watcher.record(step, measured)
    assert len(traces) == 1
    assert writer.flushed == 1
    assert writer.steps("weights/Dense_0/bias") == [0, 2, 4, 6]
    assert writer.steps("gradients/Dense_1/kernel") == [0, 3, 6]
    assert [step for *_, step, _ in writer.log] == sorted(step for *_, step, _ in writer.log)
    assert not [tag for tag in writer.tags() if tag.startswith("gradients") and tag.endswith("bias")]
    for step in (0, 6):
        before, grads, updates = jax.tree.map(lambda a: np.asarray(a, np.float64), seen[step])
        counts, edges = writer.values("gradients/Dense_0/kernel")[step]
        np.testing.assert_array_equal(counts, np.histogram(np.asarray(grads["Dense_0"]["kernel"]), edges)[0])
        kernel = before["Dense_1"]["kernel"]
        np.testing.assert_allclose(
            writer.values("weights_norm/Dense_1/kernel")[step], np.linalg.norm(kernel), rtol=1e-5
        )
        ratio = np.linalg.norm(updates["Dense_1"]["kernel"]) / np.linalg.norm(kernel)
        np.testing.assert_allclose(writer.values("updates_ratio/Dense_1/kernel")[step], ratio, rtol=1e-5)
    assert 0 not in writer.values("updates_ratio/Dense_0/bias")  # zero weights have no ratio
    assert set(writer.tags()) == {
        *(f"{kind}/Dense_{i}/kernel" for kind in ("weights", "weights_norm", "updates_ratio") for i in (0, 1)),
        *(f"{kind}/Dense_{i}/bias" for kind in ("weights", "weights_norm", "updates_ratio") for i in (0, 1)),
        *(f"{kind}/Dense_{i}/kernel" for kind in ("gradients", "gradients_norm", "gradients_zeros") for i in (0, 1)),
    }  # fmt: skip


@pytest.mark.parametrize("intervals", [(1, 1), (1, 4), (2, 3), (5, 7)])
def test_nothing_is_lost_at_an_exception(intervals):
    writer, state = Recorder(), train_state()
    names = ("first", "second")
    hooks = [watch.weights(every=every, name=name) for every, name in zip(intervals, names, strict=True)]

    def run(state):
        with watch.Watcher(writer, hooks) as watcher:
            step_of = step_function(watcher)
            for step in range(9):
                state, (measured, *_) = step_of(state, X, Y)
                watcher.record(step, measured)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(state)
    for every, name in zip(intervals, names, strict=True):
        assert writer.steps(f"{name}/Dense_0/kernel") == list(range(0, 9, every))


def test_several_steps_per_dispatch():
    writer, state = Recorder(), train_state()
    with watch.Watcher(writer, [watch.gradients(every=3), watch.scalars({"loss": lambda view: view.loss})]) as watcher:
        step_of = step_function(watcher)

        @jax.jit
        def many(state):
            return jax.lax.scan(lambda state, _: step_of(state, X, Y), state, length=5)

        losses = []
        for first in (0, 5):
            state, (measured, *_) = many(state)
            watcher.record_many(first, measured, 5)
        state = train_state()
        for _ in range(10):
            losses.append(float(loss_of(state.params, X, Y)))
            state, _ = step_of(state, X, Y)
    assert writer.steps("gradients/Dense_0/kernel") == [0, 3, 6, 9]
    assert writer.steps("loss") == list(range(10))
    np.testing.assert_allclose(list(writer.values("loss").values()), losses, rtol=1e-5)


def test_the_newest_step_is_not_waited_for():
    writer = Recorder()
    watcher = watch.Watcher(writer, [watch.weights(every=1)])
    measured = jax.jit(watcher.measure)(watch.StepView(0, params={"w": X}))
    watcher.record(0, measured)
    jax.block_until_ready(measured)
    assert writer.log == []
    later = jax.jit(watcher.measure)(watch.StepView(1, params={"w": X}))
    watcher.record(1, later)
    assert {step for *_, step, _ in writer.log} == {0}
    watcher.close()
    assert writer.steps("weights/w") == [0, 1]
    with pytest.raises(ValueError, match="the watcher is closed"):
        watcher.record(2, later)


def test_a_failing_writer_is_told_once():
    writer = Recorder(fail_at=(1, 3))
    watcher = watch.Watcher(writer, [watch.weights(every=1)])
    measure = jax.jit(watcher.measure)
    raised = []
    for step in range(5):
        measured = jax.block_until_ready(measure(watch.StepView(step, params={"w": X})))
        try:
            watcher.record(step, measured)
        except OSError as error:
            raised.append((step, error.errno))
    watcher.close()
    assert raised == [(2, 28)]
    assert writer.steps("weights/w") == [0, 2, 4]


def test_a_writer_failing_at_close_does_not_hide_the_loops_error():
    watcher = watch.Watcher(Recorder(fail_at=(0,)), [watch.weights(every=1)])
    with pytest.raises(ZeroDivisionError) as caught, watcher:  # noqa: PT012
        watcher.record(0, jax.jit(watcher.measure)(watch.StepView(0, params={"w": X})))
        raise ZeroDivisionError
    assert "No space left on device" in caught.value.__notes__[0]
    watcher = watch.Watcher(Recorder(fail_at=(0,)), [watch.weights(every=1)])
    with pytest.raises(OSError, match="No space"), watcher:
        watcher.record(0, jax.jit(watcher.measure)(watch.StepView(0, params={"w": X})))


def test_a_wrong_step_is_found():
    watcher = watch.Watcher(Recorder(), [watch.weights(every=2)])
    watcher.record(0, jax.jit(watcher.measure)(watch.StepView(1, params={"w": X})))
    with pytest.raises(ValueError, match=r"Watcher\.record: step is 0, but"):
        watcher.close()


def test_not_finite_values_are_counted():
    writer = Recorder()
    bad = {"w": jnp.array([1.0, jnp.nan, jnp.inf, -2.0]), "dead": jnp.full(3, jnp.nan), "n": jnp.arange(3)}
    with watch.Watcher(writer, [watch.weights(every=1)]) as watcher:
        watcher.record(0, jax.jit(watcher.measure)(watch.StepView(0, params=bad)))
    found = {tag: value for kind, tag, _, value in writer.log if kind == "scalar"}
    np.testing.assert_allclose(found.pop("weights_norm/w"), 5**0.5, rtol=1e-6)
    assert found == {"weights_nan/w": 1, "weights_inf/w": 1, "weights_nan/dead": 3}
    assert writer.values("weights/w")[0][0].sum() == 2
    assert writer.steps("weights/dead") == []


def test_nnx_with_its_optimizer():
    class Two(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.List([nnx.Linear(6, 5, rngs=rngs), nnx.Linear(5, 3, rngs=rngs)])
            self.drop = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.layers[1](self.drop(nnx.relu(self.layers[0](x))))

    module, writer = Two(nnx.Rngs(0)), Recorder()
    optimizer = nnx.Optimizer(module, optax.sgd(0.1), wrt=nnx.Param)
    hooks = [
        watch.weights(every=2),
        watch.gradients(every=1, layers="layers/1/*"),
        watch.activations(X, layers="layers/*", every=2),
    ]
    with watch.Watcher(writer, hooks) as watcher:

        @nnx.jit
        def train_step(module, optimizer, x, y):
            def loss(module):
                return optax.softmax_cross_entropy_with_integer_labels(module(x), y).mean()

            grads = nnx.grad(loss)(module)
            measured = watcher.measure(watch.StepView(optimizer.step.get_value(), params=module, grads=grads))
            optimizer.update(module, grads)
            return measured

        for step in range(3):
            watcher.probe(step, jv.Model.from_nnx(module))
            watcher.record(step, train_step(module, optimizer, X, Y))
    assert writer.steps("weights/layers/0/kernel") == [0, 2]
    assert writer.steps("gradients/layers/1/bias") == [0, 1, 2]
    assert writer.steps("activations/layers/1") == [0, 2]


def test_filters_and_errors():
    view = watch.StepView(0, params={"params": {"Dense_0": {"kernel": X, "bias": X[0]}}, "batch_stats": {"m": X}})
    watcher = watch.Watcher(Recorder(), [watch.weights(layers=("**/bias", "Dense_0/k*"))])
    (packed,) = watcher.measure(view).values()
    step, values = packed.unpack(tuple(map(np.asarray, packed.arrays)))
    assert (step, values["weights"].paths) == (1, ("Dense_0/bias", "Dense_0/kernel"))
    with pytest.raises(ValueError, match=r"watch\.weights: layer 'conv' not found; .*Dense_0/kernel"):
        watch.Watcher(Recorder(), [watch.weights(layers="conv")]).measure(view)
    with pytest.raises(ValueError, match=r"watch\.gradients: the StepView has no grads"):
        watch.Watcher(Recorder(), [watch.gradients()]).measure(view)
    with pytest.raises(ValueError, match="every must be at least 1"):
        watch.weights(every=0)
    with pytest.raises(ValueError, match=r"watch\.weights: statistics must be of mean, .*; got 'median'"):
        watch.weights(statistics="median")
    with pytest.raises(ValueError, match="different names, got weights, weights"):
        watch.Watcher(Recorder(), [watch.weights(), watch.weights(every=2)])
    with pytest.raises(TypeError, match="must be a Python int counted by the loop"):
        watcher.record(jnp.array(3), {})
    with pytest.raises(TypeError, match="step must be an int scalar, got float32"):
        watcher.measure(watch.StepView(1.0, params=X))
    with pytest.raises(TypeError, match="what the step returned"):
        jax.jit(lambda view: watcher.record(0, watcher.measure(view)))(view)


def test_sharded_over_eight_devices():
    code = """
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import NamedSharding, PartitionSpec as P
        from jaxviz import watch
        mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
        x = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
        w = jax.device_put(x, NamedSharding(mesh, P("x", "y")))
        b = jax.device_put(x[0], NamedSharding(mesh, P()))
        seen = {}
        class Writer:
            def histograms(self, tables, step): seen.update({(tag, step): table for tag, table in tables.items()})
            def scalars(self, values, step): seen.update({(tag, step): value for tag, value in values.items()})
            def flush(self): pass
        with watch.Watcher(Writer(), [watch.weights(every=2)]) as watcher:
            measure = jax.jit(watcher.measure)
            for step in range(3):
                watcher.record(step, measure(watch.StepView(step, params={"w": w, "b": b})))
        assert len(w.sharding.device_set) == 8
        counts, edges = seen["weights/w", 2]
        np.testing.assert_array_equal(counts, np.histogram(x, edges)[0])
        np.testing.assert_allclose(seen["weights_norm/w", 0], np.linalg.norm(x), rtol=1e-5)
        np.testing.assert_allclose(seen["weights_norm/b", 0], np.linalg.norm(x[0]), rtol=1e-5)
    """
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
