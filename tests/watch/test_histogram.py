from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz.watch import histogram, statistics
from jaxviz.watch.histogram import _compare, _grid, describe
from jaxviz.watch.rows import WIDTH
from jaxviz.watch.statistics import _whole

RNG = np.random.default_rng(0)
TENSORS: dict[str, Any] = {
    "one": np.array([2.5], np.float32),
    "zeros": np.zeros(70, np.float32),
    "constant": np.full((300, 300), 3.3, np.float32),
    "normal": RNG.normal(size=(13, 41, 7)).astype(np.float32),
    "rows": RNG.normal(size=(3, WIDTH)).astype(np.float32),
    "ragged": RNG.normal(size=WIDTH * 6 + 3).astype(np.float32),
    "on edges": RNG.integers(0, 64, 10_000).astype(np.float32),
    "far from zero": (1000 + 1e-3 * RNG.normal(size=50_000)).astype(np.float32),
    "tiny": (1e-30 * RNG.normal(size=1000)).astype(np.float32),
    "constant and tiny": np.full(5000, 1e-36, np.float32),
    "huge": np.array([-3.4e38, 1.0, 3.4e38], np.float32),
    "largest": np.full(3, np.finfo(np.float32).max),
    "not finite": np.array([np.nan, 1, np.inf, 2, -np.inf, np.nan, 0, np.inf], np.float32),
    "nothing finite": np.array([np.nan, np.inf], np.float32),
}


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("bins", [64, 10])
def test_counts_are_those_of_numpy(name, bins):
    x = TENSORS[name]
    found = jax.jit(histogram, static_argnames="bins")(jnp.asarray(x), bins=bins)
    finite, edges = x[np.isfinite(x)], np.asarray(found.edges)
    assert edges.shape == (bins + 1,)
    assert (np.diff(edges.astype(np.float64)) > 0).all()
    np.testing.assert_array_equal(found.counts, np.histogram(finite, edges)[0])
    assert found.counts.sum() == finite.size
    assert (found.nan, found.inf, found.neginf) == (np.isnan(x).sum(), np.isposinf(x).sum(), np.isneginf(x).sum())
    if finite.size and np.ptp(finite.astype(np.float64)) > 1e-4 * np.abs(finite).max():
        assert (edges[0], edges[-1]) == (finite.min(), finite.max())
        even = np.linspace(float(edges[0]), float(edges[-1]), bins + 1)
        np.testing.assert_allclose(edges, even, atol=1e-3 * (even[1] - even[0]), rtol=1e-6)


def test_constant_data_stay_narrow():
    edges = histogram(jnp.full(5, -8.0)).edges
    assert edges[0] < -8 < edges[-1]
    assert edges[-1] - edges[0] < 0.2


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int32, jnp.bool])
def test_other_dtypes(dtype):
    x = jnp.asarray(RNG.normal(size=4000) * 3).astype(dtype)
    wide = np.asarray(x.astype(jnp.float32))
    found, moments = histogram(x), statistics(x)
    np.testing.assert_array_equal(found.counts, np.histogram(wide, np.asarray(found.edges))[0])
    np.testing.assert_allclose(moments.std, wide.astype(np.float64).std(), rtol=1e-5)
    assert moments.norm.dtype == jnp.float32


def test_empty():
    found, moments = histogram(jnp.zeros((0, 3))), statistics(jnp.zeros((0, 3)))
    assert found.counts.tolist() == [0] * 64
    assert (np.diff(found.edges) > 0).all()
    assert (moments.mean, moments.std, moments.norm, moments.zeros, moments.nan, moments.inf) == (0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("name", [name for name in TENSORS if name != "nothing finite"])
def test_statistics_are_those_of_float64(name):
    x = TENSORS[name]
    wide = x[np.isfinite(x)].astype(np.float64)
    found = jax.jit(statistics)(jnp.asarray(x))
    np.testing.assert_allclose(found.mean, wide.mean(), rtol=1e-6, atol=1e-6 * wide.std())
    near = 1e-6 * min(1.0, np.abs(wide).max())
    np.testing.assert_allclose(found.std, wide.std(), rtol=1e-3 if name == "far from zero" else 1e-5, atol=near)
    norm = np.linalg.norm(wide)
    np.testing.assert_allclose(found.norm, norm if norm < np.finfo(np.float32).max else np.inf, rtol=2e-6)
    np.testing.assert_allclose(found.zeros, (x == 0).mean(), rtol=1e-6)
    assert (found.nan, found.inf) == (np.isnan(x).sum(), np.isinf(x).sum())
    assert (found.low, found.high) == (wide.min(), wide.max())


def test_rows_of_very_different_magnitudes():
    x = np.concatenate([np.full(WIDTH, 1e-30), np.full(WIDTH, 1e-22), np.zeros(WIDTH), [np.nan]]).astype(np.float32)
    wide = x[:-1].astype(np.float64)
    for sign, scale in ((1, 1), (-1, 1e60)):  # 1e-22, and 1e38
        big = (sign * scale * wide).astype(np.float32)
        found = jax.jit(statistics)(big)
        reference = big.astype(np.float64)
        np.testing.assert_allclose(found.mean, reference.mean(), rtol=1e-6)
        np.testing.assert_allclose(found.std, reference.std(), rtol=1e-6)


def test_sums_of_many_elements_stay_exact():
    x = (5 + RNG.normal(size=(2100, 2000))).astype(np.float32)
    found, moments = jax.jit(lambda x: describe([x]))(x)
    assert found.counts.sum() == x.size
    np.testing.assert_array_equal(found.counts[0], np.histogram(x, np.asarray(found.edges[0]))[0])
    wide = x.astype(np.float64)
    for value, reference in (
        (moments.mean, wide.mean()),
        (moments.std, wide.std()),
        (moments.norm, np.linalg.norm(wide)),
    ):
        np.testing.assert_allclose(value[0], reference, rtol=3e-6)


def test_several_tensors_are_those_one_by_one():
    arrays = [jnp.asarray(TENSORS[name]) for name in ("ragged", "one", "not finite")] + [jnp.zeros((0,))]
    together, apart = jax.jit(lambda arrays: (describe(arrays), [describe([x]) for x in arrays]))(arrays)
    for index, alone in enumerate(apart):
        for several, one in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(several[index], one[0], rtol=1e-5, atol=1e-7)


def test_the_way_of_accelerators_gives_the_same():
    names = [name for name in TENSORS if TENSORS[name].size < 10_000]

    @jax.jit
    def both(arrays):
        found, moments = describe(arrays)
        grid, _ = _grid(moments.low, moments.high, 64)
        return found, moments, _compare(grid, arrays, 64), _whole(*arrays)

    arrays = [jnp.asarray(TENSORS[name]) for name in names]
    found, moments, slots, whole = both(arrays)
    np.testing.assert_array_equal(slots, np.column_stack([found.counts, found.nan, found.inf, found.neginf]))
    np.testing.assert_allclose(whole.mean, moments.mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        np.sqrt(np.asarray(whole.squares) / np.maximum(whole.count, 1)) * whole.unit, moments.std, rtol=1e-5, atol=1e-38
    )
    np.testing.assert_array_equal(whole.zeros, [int((TENSORS[name] == 0).sum()) for name in names])
    np.testing.assert_array_equal((whole.low, whole.high), (moments.low, moments.high))


def test_vmap_and_cond():
    x = jnp.asarray(RNG.normal(size=(3, 2000)).astype(np.float32))
    mapped = jax.jit(jax.vmap(histogram))(x)
    chosen = jax.jit(lambda i: jax.lax.cond(i == 0, lambda: histogram(x[0]), lambda: histogram(x[1])))(1)
    for index in range(3):
        np.testing.assert_array_equal(mapped.counts[index], histogram(x[index]).counts)
    np.testing.assert_array_equal(chosen.counts, mapped.counts[1])


def test_float64_keeps_its_precision():
    with jax.enable_x64(True):
        x = 1e6 + RNG.normal(size=3000) * 1e-6
        found, moments = histogram(x), statistics(x)
        assert found.edges.dtype == np.float64
        np.testing.assert_array_equal(found.counts, np.histogram(x, np.asarray(found.edges))[0])
        np.testing.assert_allclose(moments.std, x.std(), rtol=1e-3)


def test_errors():
    with pytest.raises(TypeError, match=r"watch\.histogram: values must be real numbers, got dtype complex64"):
        histogram(jnp.zeros(3, jnp.complex64))
    with pytest.raises(ValueError, match=r"bins must be 2 to 1024, got 1$"):
        histogram(jnp.zeros(3), bins=1)
    with pytest.raises(TypeError, match="bins must be an int, got"):
        histogram(jnp.zeros(3), bins=4.0)
