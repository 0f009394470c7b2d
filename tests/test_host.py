"""Arrays that the host sees: their values fetched, and whether they are finite."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz import finite, host


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, jnp.bfloat16, np.int32, np.complex64])
def test_finite_is_told_at_every_type(dtype):
    well = np.ones((3, 2), dtype)
    assert finite.is_finite(well)
    assert finite.is_finite(well[:, ::-1])
    if not jnp.issubdtype(dtype, np.integer):
        for value in (np.nan, np.inf, -np.inf):
            spoiled = well.copy()
            spoiled[1, 1] = value
            assert not finite.is_finite(spoiled)


def test_finite_values_whose_squares_are_not():
    assert finite.is_finite(np.full(3, 1e38, np.float32))
    assert finite.is_finite(np.full((0, 2), 1.0))


def test_a_result_is_fetched_when_it_is_there():
    square = jax.jit(lambda array: array @ array)
    large = jnp.full((1200, 1200), 1 / 1200)
    np.testing.assert_allclose(host.fetch(square(large)), 1 / 1200, rtol=1e-4)
    array = np.ones(3)
    assert host.fetch(array) is array


def test_what_is_traced_is_not_seen():
    seen = []
    jax.jit(lambda array: seen.append(host.sees(array)))(jnp.ones(2))
    assert seen == [False]
    assert host.sees(np.ones(2))
    assert host.sees(jnp.ones(2))


def test_beside_an_accelerator_only_what_is_on_the_cpu_is_seen(monkeypatch):
    monkeypatch.setattr(host, "is_alone", lambda: False)
    assert host.sees(jnp.ones(2))
    elsewhere = types.SimpleNamespace(
        is_fully_addressable=True, devices=lambda: [types.SimpleNamespace(platform="gpu")]
    )
    assert not host.sees(elsewhere)
    elsewhere.is_fully_addressable, elsewhere.devices = False, jnp.ones(2).devices
    assert not host.sees(elsewhere)
