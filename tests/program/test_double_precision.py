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
for layer in ("Dense_0", "twice", "twice#1", "SimpleCell_0/h"):
    tail, value = model.since(layer, x)
    score = jax.jit(lambda value: (tail(value) ** 2).sum())
    added = jax.jit(lambda delta: (model.add({layer: delta})(x) ** 2).sum())
    gradient = jax.grad(score)(value)
    for seed in range(2):
        direction = jax.random.normal(jax.random.key(seed), value.shape, value.dtype)
        slope = (score(value + 1e-6 * direction) - score(value - 1e-6 * direction)) / 2e-6
        np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-7)
        if layer != "SimpleCell_0/h":  # in a scan what is added at one step changes the next one's value, too
            slope = (added(1e-6 * direction) - added(-1e-6 * direction)) / 2e-6
            np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-7)
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
    assert result.stdout.strip() == "8"
