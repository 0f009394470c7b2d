"""With 64-bit types, in a process of their own: the derivative at a layer against finite differences."""

import subprocess
import sys

PROGRAM = """
import flax.linen as nn, jax, jax.numpy as jnp, numpy as np, jaxviz as jv
jax.config.update("jax_numpy_dtype_promotion", "strict")

class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        h = nn.Dense(3, param_dtype=jnp.float64)(x)
        dense = nn.Dense(3, param_dtype=jnp.float64, name="twice")
        cell = nn.RNN(nn.SimpleCell(3, param_dtype=jnp.float64, dtype=jnp.float64))
        return cell(jnp.stack([dense(nn.tanh(dense(h))), h], axis=1))[:, -1] + h

x = jax.random.normal(jax.random.key(0), (2, 4), jnp.float64)
model = jv.Model.from_linen(Net(), Net().init(jax.random.key(1), x))
assert {layer.dtype for layer in model.layers(x) if layer.kind == "Dense"} == {jnp.dtype("float64")}
np.testing.assert_array_equal(model(x), jax.jit(Net().apply)(model.params, x))
checked = 0
for layer in ("Dense_0", "twice#1", "SimpleCell_0/h"):
    tail, value = model.since(layer, x)
    score = jax.jit(jax.value_and_grad(lambda value: (tail(value) ** 2).sum()))
    direction = jax.random.normal(jax.random.key(2), value.shape, value.dtype)
    expected = (score(value)[1] * direction).sum()
    slope = (score(value + 1e-6 * direction)[0] - score(value - 1e-6 * direction)[0]) / 2e-6
    np.testing.assert_allclose(slope, expected, rtol=1e-7)
    if layer == "Dense_0":  # in a scan what is added at one step would change the next one's value, too
        added = [(model.add({layer: sign * 1e-6 * direction})(x) ** 2).sum() for sign in (1, -1)]
        np.testing.assert_allclose((added[0] - added[1]) / 2e-6, expected, rtol=1e-7)
    checked += 1
print(checked)
"""


def test_derivatives_at_layers():
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    result = subprocess.run(
        command,
        env={"JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "3"
