from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz import watch
from jaxviz.watch.activations import BOUNDS

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(5, 8, 8, 1)).astype(np.float32)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), name="conv")(x))
        x = nn.tanh(nn.Dense(6, name="dense")(x.reshape(x.shape[0], -1)))
        return nn.Dense(3, name="head")(jv.tag(x, "tanh_0"))


VARIABLES: Any = Net().init(jax.random.key(0), IMAGES)
VARIABLES["params"]["conv"]["bias"] = jnp.array([0.0, -100.0, 0.0, 0.0])  # channel 1 never fires
VARIABLES["params"]["dense"]["bias"] = jnp.array([50.0, 0, 0, 0, 0, 0])  # unit 0 is stuck at 1
MODEL = jv.Model.from_linen(Net(), VARIABLES)


def logged(tmp_path, hooks, model=MODEL, inside=False):
    """What the real writer has after the hooks ran on the model."""
    with jv.tensorboard.Writer(tmp_path) as writer, watch.Watcher(writer, hooks) as watcher:
        if inside:
            measure = jax.jit(lambda step, model: watcher.measure(watch.StepView(step, model=model)))
            watcher.record(0, measure(0, model))
        else:
            watcher.probe(0, model)
    return jv.tensorboard.read(tmp_path)


@pytest.mark.parametrize("inside", [False, True])
def test_activations(tmp_path, inside):
    bounds = {"conv": (0, None), **BOUNDS}
    log = logged(tmp_path, [watch.activations(IMAGES, layers=("conv", "tanh*"), bounds=bounds)], inside=inside)
    values = MODEL.capture(IMAGES)
    tanh = np.asarray(values["tanh_0"])
    scalars = {tag: float(log[tag].values[0]) for tag in log["."] if log[tag].kind == "scalar"}
    fires: Any = (np.asarray(values["conv"]) > 0).any(axis=(0, 1, 2))
    assert not fires[1]
    assert fires.any()
    assert scalars["activations_dead/conv"] == 1 - fires.mean()
    np.testing.assert_allclose(scalars["activations_dead/tanh_0"], 1 / 6, rtol=1e-6)
    np.testing.assert_allclose(scalars["activations_saturated/tanh_0"], (np.abs(tanh) > 0.99).mean(), rtol=1e-6)
    assert "activations_saturated/conv" not in scalars
    np.testing.assert_allclose(scalars["activations_mean/conv"], np.asarray(values["conv"]).mean(), rtol=1e-5)
    assert log["activations/conv"].values[0][:, 2].sum() == values["conv"].size


def test_saliency_and_input_gradients(tmp_path):
    targets = np.array([0, 1, 2, 0, 1])
    hooks = [
        watch.saliency(IMAGES[:2], target=targets[:2]),
        watch.saliency(IMAGES[:2], method=jv.gradient, name="gradient"),
        watch.input_gradients(IMAGES, target=targets),
        watch.input_gradients(IMAGES, loss=lambda outputs: (outputs**2).sum(axis=1), name="loss_gradients"),
    ]
    log = logged(tmp_path, hooks)
    gradient = np.asarray(jv.gradient(MODEL, IMAGES, target=targets)).reshape(5, -1)
    norms = np.linalg.norm(gradient, axis=1)
    scalars = {tag: float(log[tag].values[0]) for tag in log["."] if log[tag].kind == "scalar"}
    np.testing.assert_allclose(scalars["input_gradients/mean"], norms.mean(), rtol=1e-5)
    np.testing.assert_allclose(scalars["input_gradients/max"], norms.max(), rtol=1e-5)
    slopes = jax.grad(lambda x: jnp.square(MODEL(x)).sum())(IMAGES).reshape(5, -1)
    np.testing.assert_allclose(scalars["loss_gradients/max"], np.linalg.norm(slopes, axis=1).max(), rtol=1e-5)
    pictures = log["saliency"].values[0]
    expected = [jv.figures.overlay_rgb(IMAGES[i], np.abs(gradient[i]).reshape(8, 8), sign="absolute") for i in range(2)]
    np.testing.assert_array_equal(np.stack(list(pictures)), np.stack(expected))
    assert log["gradient"].kind == "image"


def test_probe_traces_once_per_set_of_hooks():
    traces = []

    def method(model, inputs, *, target):
        traces.append(1)
        return jv.saliency(model, inputs, target=target)

    class Silent:
        def image(self, tag, image, step):
            steps.append(step)

        def flush(self):
            pass

    steps: list[int] = []
    with watch.Watcher(Silent(), [watch.saliency(IMAGES, every=4, method=method)]) as watcher:
        for step in range(0, 12, 3):  # three steps per dispatch
            assert watcher.due(step, steps=3) == (step != 9)
            watcher.probe(step, MODEL.with_params(jax.tree.map(lambda a, step=step: a + step, VARIABLES)), steps=3)
    assert steps == [0, 3, 6]  # at the dispatches that contain steps 0, 4, 8
    assert len(traces) == 1


def test_errors():
    with pytest.raises(
        ValueError, match=r"watch\.saliency: images must be \(batch, height, width, 1 or 3\), got shape \(8, 8, 1\)"
    ):
        watch.saliency(IMAGES[0])
    with pytest.raises(ValueError, match="give target or loss, not both"):
        watch.input_gradients(IMAGES, target=1, loss=jnp.sum)
    with pytest.raises(ValueError, match=r"bounds must be \(low, high\) with low < high"):
        watch.activations(IMAGES, bounds={"**": (1, 0)})
    with (
        pytest.warns(UserWarning, match="nothing was measured by saliency"),
        watch.Watcher(_Flush(), [watch.saliency(IMAGES)]),
    ):
        pass
    with (  # due at a recorded step, and not probed
        pytest.warns(UserWarning, match="nothing was measured by saliency;"),
        watch.Watcher(_Flush(), [watch.saliency(IMAGES, every=2), watch.input_gradients(IMAGES, every=4)]) as watcher,
    ):
        watcher.record(2, {})
    with pytest.raises(TypeError, match=r"Watcher\.probe: model must be a jaxviz\.Model, got dict"):
        watch.Watcher(_Flush(), [watch.saliency(IMAGES)]).probe(0, VARIABLES)
    with pytest.raises(ValueError, match=r"'nothing' not found; .*conv"):
        watch.Watcher(_Flush(), [watch.activations(IMAGES, layers="nothing")]).probe(0, MODEL)


class _Flush:
    def flush(self):
        pass


@pytest.mark.parametrize(
    ("hook", "settings", "error", "message"),
    [
        (watch.weights, {"bins": 1}, ValueError, "watch.weights: bins must be 2 to 1024, got 1"),
        (
            watch.updates,
            {"layers": 3},
            TypeError,
            "watch.updates: layers must be one path or pattern, or several of them, got 3",
        ),
        (watch.activations, {"bins": 2.5}, TypeError, "watch.activations: bins must be an int, got 2.5"),
        (watch.activations, {"bounds": {"*": (1.0, 0.0)}}, ValueError, r"low < high, .* has \(1.0, 0.0\)"),
        (watch.activations, {"bounds": {"*": (1.0,)}}, ValueError, r"low < high, .* has \(1.0,\)"),
    ],
)
def test_settings_out_of_range(hook, settings, error, message):
    probe = (IMAGES,) if hook is watch.activations else ()
    with pytest.raises(error, match=message):
        hook(*probe, **settings)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda w: w.weights(layers=[]), ValueError, "weights: layers must name at least one layer"),
        (lambda w: w.weights(statistics=None), TypeError, "weights: statistics must be one name, or several"),
        (lambda w: w.weights(histograms="no"), TypeError, "weights: histograms must be True or False"),
        (lambda w: w.updates(ratio=1.0), TypeError, "updates: ratio must be True or False, got 1.0"),
        (lambda w: w.activations(None), TypeError, "activations: probe must be an array, .* got None"),
        (
            lambda w: w.activations(IMAGES[:0]),
            ValueError,
            r"activations: probe must be a batch .* got shape \(0, 8, 8, 1\)",
        ),
        (lambda w: w.activations(IMAGES, layers=()), ValueError, "activations: layers must name at least one layer"),
        (lambda w: w.activations(IMAGES, bounds=3), TypeError, "activations: bounds must be a mapping .* got 3"),
        (
            lambda w: w.activations(IMAGES, bounds={"*": ("a", 1)}),
            TypeError,
            "activations: an end of the bounds of '.' must be a number",
        ),
        (lambda w: w.input_gradients(None), TypeError, "input_gradients: probe must be an array, .* got None"),
        (lambda w: w.input_gradients(IMAGES[:0]), ValueError, "input_gradients: probe must be a batch of examples"),
        (lambda w: w.input_gradients(IMAGES.astype(int)), TypeError, "input_gradients: probe must be of floats"),
        (lambda w: w.input_gradients(IMAGES, loss=3), TypeError, "input_gradients: loss must be a function of outputs"),
        (lambda w: w.saliency(None), TypeError, "saliency: images must be of floats or uint8, got dtype object"),
        (
            lambda w: w.saliency(IMAGES.astype(int)),
            TypeError,
            "saliency: images must be of floats or uint8, got dtype int",
        ),
        (lambda w: w.saliency(IMAGES * np.nan), ValueError, "saliency: images must be finite"),
        (lambda w: w.saliency(IMAGES, method=3), TypeError, "saliency: method must be a function of model and inputs"),
        (lambda w: w.scalars(None), TypeError, "scalars: functions must be a mapping of tags to functions"),
        (lambda w: w.scalars({"a": 3}), TypeError, "scalars: 'a' must be a function of a StepView, got 3"),
        (lambda w: w.scalars({3: len}), TypeError, "scalars: a tag in functions must be a string, got 3"),
        (lambda w: w.Hook("own", None, print), TypeError, "own: measure must be a function of a StepView, got None"),
    ],
)
def test_hooks_name_what_they_cannot_use(call, error, message):
    with pytest.raises(error, match=rf"^watch\.{message}"):
        call(watch)


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (
            watch.saliency(IMAGES[:, :7, :7]),
            r"saliency: the network cannot be applied to images, float32\[\d+, 7, 7, 1\]",
        ),
        (watch.activations(IMAGES[:, :7, :7]), "activations: the network cannot be applied to probe"),
        (watch.input_gradients(IMAGES[:, :7, :7]), "input_gradients: the network cannot be applied to probe"),
        (watch.input_gradients(IMAGES, target=99), "input_gradients: target 99 is out of range"),
    ],
)
def test_what_the_model_cannot_take_is_named(hook, message):
    with pytest.raises(ValueError, match=rf"^watch\.{message}"):
        watch.Watcher(_Flush(), [hook]).probe(0, MODEL)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w: w.Watcher(_Flush(), None), "hooks must be a list of hooks"),
        (lambda w: w.Watcher(_Flush(), w.weights()), r"hooks must be several hooks, got one Hook; write \[hook\]"),
        (lambda w: w.Watcher(None, []), "writer must be .* got None"),
        (lambda w: w.Watcher("runs", []), r"writer must be .* got 'runs'; open one with tensorboard\.Writer"),
        (lambda w: w.Watcher(_Flush(), []).due("a"), "step must be a Python int, got str"),
        (lambda w: w.Watcher(_Flush(), []).probe(0, MODEL, steps="a"), "steps must be an int, got 'a'"),
        (lambda w: w.Watcher(_Flush(), []).record_many(0, {}, "a"), "n must be an int, got 'a'"),
        (
            lambda w: w.Watcher(_Flush(), []).measure(w.StepView(None)),
            "the view's step must be an int scalar, got None",
        ),
        (lambda w: w.histogram(None), "values must be an array of real numbers, got NoneType"),
        (lambda w: w.statistics([[1.0], [1.0, 2.0]]), "values must be an array of real numbers, got list"),
    ],
)
def test_watchers_and_measures_name_what_they_cannot_use(call, message):
    with pytest.raises(TypeError, match=rf"^(Watcher|watch)[.a-z_]*: {message}"):
        call(watch)
