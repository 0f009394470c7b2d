"""`explain_dataset`: statistics against numpy in float64, batches of every kind, going on after a kill, and wrong arguments."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.moments import Moments

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
    assert np.array_equal(merged.low, values.min(0))
    assert np.array_equal(merged.high, values.max(0))


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
