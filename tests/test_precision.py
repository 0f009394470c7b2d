"""`at_least_float32`: half precision becomes float32, what is wider stays as it is."""

import jax
import jax.numpy as jnp
import pytest

from jaxviz.precision import at_least_float32


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float8_e4m3fn])
def test_half_precision_becomes_float32(dtype):
    values = jnp.array([1.5, -3.0], dtype)
    wide = at_least_float32(values)
    assert wide.dtype == jnp.float32
    assert wide.tolist() == [1.5, -3.0]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_what_is_wide_enough_stays(dtype):
    with jax.enable_x64(True):
        values = jnp.array([1.0 / 3], dtype)
        assert values.dtype == dtype
        assert at_least_float32(values) is values


def test_traced_values():
    shape = jax.eval_shape(at_least_float32, jax.ShapeDtypeStruct((2,), jnp.bfloat16))
    assert (shape.shape, shape.dtype) == ((2,), jnp.float32)


def test_integers_are_refused():
    with pytest.raises(ValueError, match="int32"):
        at_least_float32(jnp.arange(3))
