"""`explain_dataset`: statistics against numpy in float64, batches of every kind, going on after a kill, and wrong arguments."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.datasets.moments import Moments

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(50, 3)).astype(np.float32)
LABELS = RNG.integers(0, 3, 50)
TRACES = 0


def apply(params: Any, inputs: Any) -> jax.Array:
    global TRACES
    TRACES += 1
    return jnp.tanh(inputs @ params)


MODEL = jv.Model.from_function(apply, jnp.asarray(RNG.normal(size=(3, 3)).astype(np.float32)))
explain = functools.partial(jv.explain_dataset, progress=False)


def check(found: Any, attributions: Any) -> None:
    """Compares statistics with numpy's of all attributions at once, in float64."""
    attributions = np.asarray(attributions, np.float64)
    assert found.count == len(attributions)
    for name, expected in {
        "mean": attributions.mean(0),
        "variance": attributions.var(0),
        "min": attributions.min(0),
        "max": attributions.max(0),
        "mean_absolute": np.abs(attributions).mean(0),
    }.items():
        assert getattr(found, name).dtype == np.float64
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-12, atol=1e-15, err_msg=name)


def same(one: Any, other: Any) -> bool:
    """Whether two results are equal to the last bit."""
    rows = [
        [
            (
                group.count,
                *map(np.ndarray.tobytes, (group.mean, group.variance, group.min, group.max, group.mean_absolute)),
            )
            for group in (found, *found.classes.values())
        ]
        for found in (one, other)
    ]
    return rows[0] == rows[1] and list(one.classes) == list(other.classes) and one.left_out == other.left_out


@pytest.mark.parametrize("sizes", [(1, 1, 1), (7, 1, 40), (500, 500), (3, 1000)])
def test_merged_moments_are_those_of_all_values_with_a_large_mean(sizes):
    values = 1e8 + np.random.default_rng(len(sizes)).normal(size=(sum(sizes), 4))
    merged = functools.reduce(Moments.merge, map(Moments.of, np.split(values, np.cumsum(sizes)[:-1])))
    rest = values - 1e8  # without rounding
    np.testing.assert_allclose(
        merged.mean - 1e8, rest.mean(0), rtol=0, atol=6e-8
    )  # of 1e8 and more, 4 in the last place
    np.testing.assert_allclose(merged.variance, rest.var(0), rtol=1e-7)
    assert np.array_equal(merged.min, values.min(0))
    assert np.array_equal(merged.max, values.max(0))


def test_statistics_are_numpys_and_per_class():
    whole = np.asarray(jv.integrated_gradients(MODEL, INPUTS, target=LABELS, steps=8))
    settings: Any = {"target": "labels", "steps": 8}
    found = explain(jv.integrated_gradients, MODEL, (INPUTS, LABELS), batch_size=16, keep=True, **settings)
    assert np.allclose(found.attributions, whole, rtol=1e-5, atol=1e-6)
    check(found, found.attributions)
    assert list(found.classes) == [0, 1, 2]
    for label, statistics in found.classes.items():
        check(statistics, found.attributions[label == LABELS])
    lines = str(found).splitlines()
    assert lines[0].split() == ["Class", "Examples", "Mean", "Deviation", "Min", "Max", "Mean", "absolute"]
    assert [line.split()[:2] for line in lines[2:6]] == [
        ["all", "50"],
        *([str(label), str((label == LABELS).sum())] for label in range(3)),
    ]


def test_batches_of_every_kind_are_the_same_data():
    plain = explain(jv.gradient, MODEL, (INPUTS, LABELS), target=1, batch_size=16)
    cut = [slice(start, start + 16) for start in range(0, 50, 16)]
    pairs = [[INPUTS[part], LABELS[part]] for part in cut]
    assert same(plain, explain(jv.gradient, MODEL, INPUTS, target=1, batch_size=16, labels=LABELS))
    assert same(
        plain, explain(jv.gradient, MODEL, jnp.asarray(INPUTS), target=np.ones(50, int), batch_size=16, labels=LABELS)
    )
    assert same(plain, explain(jv.gradient, MODEL, pairs, target=1))
    assert same(plain, explain(jv.gradient, MODEL, iter(pairs), target=1))
    assert same(plain, explain(jv.gradient, MODEL, lambda: (inputs for inputs, _ in pairs), target=1, labels=LABELS))
    padded = jv.data.padded_batches((INPUTS, LABELS), 16)
    assert same(plain, explain(jv.gradient, MODEL, padded, target=1))
    words = np.array(["cat", "dog", "owl"])[LABELS]
    named = explain(jv.gradient, MODEL, INPUTS, target=1, batch_size=16, labels=words)
    assert list(named.classes) == ["cat", "dog", "owl"]
    assert np.array_equal(named.classes["dog"].mean, plain.classes[1].mean)


def test_the_last_batch_is_compiled_by_itself_and_nothing_else_is():
    def fresh(params: Any, inputs: Any) -> jax.Array:  # a program that no other test has compiled
        return apply(params, inputs)

    model = jv.Model.from_function(fresh, MODEL.params)
    explain(jv.input_x_gradient, model, INPUTS[:48], target=0, batch_size=16)
    before = TRACES
    explain(jv.input_x_gradient, model, INPUTS[:48] + 1, target=1, batch_size=16)
    assert before == TRACES
    explain(jv.input_x_gradient, model, INPUTS, target=1, batch_size=16)
    after = TRACES
    assert after > before  # the last two examples
    explain(jv.input_x_gradient, model, INPUTS + 2, target=2, batch_size=16)
    assert after == TRACES


def test_stochastic_methods_get_a_key_of_their_own_for_each_batch():
    method, key = jv.smooth(jv.gradient, samples=3), jax.random.key(4)
    found = explain(method, MODEL, INPUTS, target=0, batch_size=25, key=key, keep=True)
    for number, part in enumerate(np.split(INPUTS, 2)):
        expected = method(MODEL, part, target=0, key=jax.random.fold_in(key, number))
        assert np.array_equal(found.attributions[25 * number :][:25], expected)
    with pytest.raises(TypeError, match="key is missing") as caught:
        explain(method, MODEL, INPUTS, target=0)
    assert caught.value.__notes__ == ["explain_dataset: in batch 0, examples 0 to 49"]
    with pytest.raises(TypeError, match="explain_dataset: key is given, but gradient takes none"):
        explain(jv.gradient, MODEL, INPUTS, target=0, key=key)


def two(params: Any, inputs: Any) -> jax.Array:
    hidden = jv.tag(jnp.tanh(inputs[0] @ params), "hidden")
    return hidden.sum(axis=1) * inputs[1]


TWO = jv.Model.from_function(two, MODEL.params)


def both(model: jv.Model, inputs: Any, *, target: Any, power: int) -> Any:
    return {"power": jax.tree.leaves(jv.gradient(model, inputs, target=target))[0] ** power, "first": inputs[0][:, :1]}


def test_several_inputs_layers_and_functions_of_the_users(tmp_path):
    inputs = (INPUTS, np.arange(1, 51, dtype=np.float32))  # none is 0, whose attribution would be all zero
    found = explain(jv.input_x_gradient, TWO, (inputs, LABELS), batch_size=32, keep=True)
    assert [leaf.shape for leaf in found.mean] == [(3,), ()]
    check(jax.tree.map(lambda one: one, _leaf(found, 0)), found.attributions[0])
    check(_leaf(found, 1), found.attributions[1])
    check(_leaf(found.classes[2], 1), found.attributions[1][LABELS == 2])
    layer = explain(jv.at_layer(jv.gradient, ("hidden",)), TWO, (inputs, None), batch_size=32, keep=True)
    check(_leaf(layer, "hidden"), layer.attributions["hidden"])
    settings: Any = {"power": 2, "batch_size": 32, "keep": True, "path": tmp_path / "own"}
    own, again = (explain(both, TWO, (inputs, None), **settings) for _ in range(2))
    assert list(own.mean) == list(again.mean) == ["power", "first"]
    for name in own.mean:
        check(_leaf(own, name), own.attributions[name])
        assert np.array_equal(own.attributions[name], again.attributions[name])
        assert np.array_equal(_leaf(own, name).mean, _leaf(again, name).mean)
    assert np.array_equal(np.load(tmp_path / "own.1.npy"), INPUTS[:, :1])


def _leaf(found: Any, name: Any) -> Any:
    fields = ("mean", "variance", "min", "max", "mean_absolute")
    return type(found)(**{**vars(found), **{field: getattr(found, field)[name] for field in fields}})


def test_the_bar_is_drawn(capsys):
    jv.explain_dataset(jv.gradient, MODEL, INPUTS, target=0, batch_size=10)
    assert "batches" in (out := capsys.readouterr().out)
    assert "5/5" in out


JOB = """
import os, time
import jax, jax.numpy as jnp, numpy as np, jaxviz as jv

def apply(params, inputs):
    return jnp.tanh(inputs @ params)

def method(model, inputs, *, target, key):
    if os.environ.get("HANG") and inputs[0, 0] == 40:
        time.sleep(600)
    return jv.smooth(jv.gradient, samples=4)(model, inputs, target=target, key=key)

def run(path, params=1.0, last=1.0):
    rng = np.random.default_rng(0)
    model = jv.Model.from_function(apply, jnp.asarray(rng.normal(size=(4, 2)).astype(np.float32) * params))
    inputs = rng.normal(size=(95, 4)).astype(np.float32)
    inputs[:, 0] = np.arange(95)
    inputs[-1] *= last
    return jv.explain_dataset(
        method, model, (inputs, np.arange(95) % 3), target=1, key=jax.random.key(5), batch_size=10,
        path=path, keep=True, progress=False,
    )
"""


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # of some examples all units are off
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    (tmp_path / "job.py").write_text(JOB)
    path = tmp_path / "record"
    environment = {**os.environ, "HANG": "1", "PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", f"import job; job.run({str(path)!r})"], env=environment)
    try:
        for _ in range(600):
            if path.exists():
                break
            assert process.poll() is None
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    done = json.loads(bytes(np.load(path)["meta"]))["batches"]
    assert 1 <= done <= 4  # that of 40 hangs
    monkeypatch.syspath_prepend(tmp_path)
    import job  # type: ignore[import-not-found]  # the script written above

    explained: list[float] = []
    smooth = jv.smooth
    monkeypatch.setattr(jv, "smooth", lambda *args, **kwargs: _noted(smooth(*args, **kwargs), explained))
    resumed = job.run(path)
    assert explained == [10.0 * number for number in range(done, 10)]
    whole = job.run(tmp_path / "whole")
    assert same(resumed, whole)
    assert resumed.attributions.tobytes() == whole.attributions.tobytes()
    assert isinstance(resumed.attributions, np.memmap)
    assert np.array_equal(np.load(tmp_path / "record.0.npy"), whole.attributions)
    check(resumed, whole.attributions)
    explained.clear()
    assert same(job.run(path), whole)
    assert not explained
    with pytest.raises(ValueError, match=r"holds another pass: the model's parameters changed\. Give another path"):
        job.run(path, params=2.0)
    with pytest.raises(ValueError, match="record holds another data set: its inputs were others"):
        job.run(path, last=2.0)


def _noted(method: Any, explained: list[float]) -> Any:
    def call(model: Any, inputs: Any, **settings: Any) -> Any:
        explained.append(float(inputs[0, 0]))
        return method(model, inputs, **settings)

    return call


def test_a_full_disk_loses_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    run = lambda path: explain(jv.gradient, MODEL, INPUTS, target=0, batch_size=5, path=path, keep=True)
    whole = run(tmp_path / "whole")
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for limit in (100, 200, 400):  # in the header of the attributions, and in the midst of them
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
            with pytest.raises(
                OSError, match=r"explain_dataset: .*full.* cannot be written: File too large; .* goes on"
            ):
                run(tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    again = run(tmp_path / "full")
    assert same(whole, again)
    assert np.array_equal(whole.attributions, again.attributions)
    assert not list(tmp_path.glob(".*.part"))


def test_a_new_pass_takes_away_what_another_kept_and_nothing_else(tmp_path):
    theirs = [tmp_path / name for name in ("run.train.npy", "run.0.old.npy", "run.-1.npy", "run2.0.npy", "a.run.0.npy")]
    ours = [tmp_path / name for name in ("run.0.npy", "run.12.npy")]
    for file in (*theirs, *ours):
        np.save(file, np.ones(2))
    explain(jv.gradient, MODEL, INPUTS, target=0, path=tmp_path / "run", keep=True)
    assert sorted(tmp_path.iterdir()) == sorted([*theirs, ours[0], tmp_path / "run"])
    assert all(np.array_equal(np.load(file), np.ones(2)) for file in theirs)
    assert np.load(ours[0]).shape == INPUTS.shape


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (lambda model, inputs, target: inputs + 1j, "the method must give arrays of real numbers, got dtype complex64"),
        (lambda model, inputs, target: np.full(inputs.shape, None), "arrays of real numbers, got dtype object"),
    ],
)
def test_attributions_that_have_no_statistics(method, words):
    with pytest.raises(TypeError, match=f"explain_dataset: .*{words}"):
        explain(method, MODEL, INPUTS, target=0)


def test_targets_and_labels_by_example():
    for target in (LABELS[:, None], LABELS.astype(float)):
        with pytest.raises(ValueError, match=r"explain_dataset: an array as target must be integers, one per example"):
            explain(jv.gradient, MODEL, INPUTS, target=target)
    listed = explain(jv.gradient, MODEL, (INPUTS, LABELS.tolist()), target=0, batch_size=20)
    assert same(listed, explain(jv.gradient, MODEL, (INPUTS, LABELS), target=0, batch_size=20))


def test_baselines_by_example(tmp_path):
    points = RNG.normal(size=INPUTS.shape).astype(np.float32)
    expected = jv.integrated_gradients(MODEL, INPUTS, target=1, baseline=points)
    method = functools.partial(explain, jv.integrated_gradients, MODEL, target=1)
    for found in (
        method(INPUTS, baseline=points, batch_size=16, keep=True),
        method(INPUTS, baseline=jnp.asarray(points), batch_size=16, keep=True),
        method(lambda: (INPUTS[i : i + 20] for i in (0, 20, 40)), baseline=points, keep=True),
    ):
        np.testing.assert_allclose(found.attributions, expected, rtol=1e-5, atol=1e-6)
    for shared in (points[0], points[:1], 0.5):  # one for all examples
        found = method(INPUTS, baseline=shared, batch_size=16, keep=True)
        expected = jv.integrated_gradients(MODEL, INPUTS, target=1, baseline=shared)
        np.testing.assert_allclose(found.attributions, expected, rtol=1e-5, atol=1e-6)

    pair = jv.Model.from_function(lambda params, inputs: jnp.tanh(inputs[0].sum(1)) * inputs[1].sum(1), ())
    inputs, baseline = (INPUTS, INPUTS[:, :2] + 1), (points, 0.5)
    found = explain(
        jv.deeplift, pair, (inputs, None), baseline=baseline, batch_size=16, keep=True, path=tmp_path / "state"
    )
    expected = jv.deeplift(pair, inputs, baseline=(points, jnp.full((50, 2), 0.5)))
    for ours, theirs in zip(found.attributions, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="the setting baseline"):
        explain(jv.deeplift, pair, (inputs, None), baseline=(-points, 0.5), keep=True, path=tmp_path / "state")

    for count in (49, 100):
        many = np.zeros((count, 3), np.float32)
        with pytest.raises(
            ValueError, match=f"explain_dataset: baseline has {count} entries, but dataset has 50 examples"
        ):
            method(INPUTS, baseline=many)
    with pytest.raises(ValueError, match="explain_dataset: baseline has 30 entries, but dataset has more examples"):
        method(lambda: (INPUTS[i : i + 20] for i in (0, 20, 40)), baseline=points[:30])
    with pytest.raises(ValueError, match="explain_dataset: baseline has 60 entries, but dataset has 50 examples"):
        method(lambda: (INPUTS[i : i + 20] for i in (0, 20, 40)), baseline=np.resize(points, (60, 3)))


def test_a_name_that_no_file_can_have(tmp_path):
    with pytest.raises(OSError, match=r"explain_dataset: path .* cannot be written: File name too long"):
        explain(jv.gradient, MODEL, INPUTS, target=0, path=tmp_path / ("x" * 300))
