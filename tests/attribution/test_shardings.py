"""Inputs and parameters that are spread over devices: explained as on one device, whatever kind of mesh they are on."""

import os
import subprocess
import sys
import textwrap

SCRIPT = """
    import flax.linen as nn
    import jax
    import numpy as np
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    import jaxviz as jv

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.max_pool(nn.relu(nn.Conv(3, (3, 3), name="conv")(x)), (2, 2), (2, 2))
            return nn.Dense(2)(x.mean((1, 2)))

    x = np.random.default_rng(0).normal(size=(4, 4, 4, 1)).astype(np.float32)
    model = jv.Model.from_linen(Net(), Net().init(jax.random.key(0), x))
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Explicit,))  # JAX's default
    spread = jax.device_put(x, NamedSharding(mesh, PartitionSpec("batch")))
    target = jax.device_put(np.array([0, 1, 1, 0]), NamedSharding(mesh, PartitionSpec("batch")))
    everywhere = model.with_params(jax.device_put(model.params, NamedSharding(mesh, PartitionSpec())))
    assert len(spread.sharding.device_set) == 4

    methods = {
        "integrated_gradients": {"steps": 3},
        "deeplift": {},
        "ablation_cam": {"layer": "conv"},
        "conductance": {"layer": "conv", "steps": 2},
        "occlusion": {"window": 2, "baseline": spread * 0},
    }
    for name, settings in methods.items():
        method = getattr(jv, name)
        expected = method(model, x, target=np.asarray(target), **settings)
        found = method(everywhere, spread, target=target, **settings)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert jv.deeplift(model, spread, target=target).sharding.spec[0] == "batch"  # parameters on one device
    jv.diagnose(everywhere, spread, target=target)
    with jax.set_mesh(mesh):
        try:
            jv.gradient(model, spread, target=target)
        except ValueError as error:
            assert str(error).startswith("gradient: inputs are spread over a mesh with explicit axes"), error
        else:
            raise AssertionError("a set mesh with explicit axes passes")
    alone = jax.make_mesh((1,), ("batch",), axis_types=(AxisType.Explicit,))  # as on a machine with one device
    single = jax.device_put(x, NamedSharding(alone, PartitionSpec("batch")))
    for name in ("integrated_gradients", "occlusion"):
        method, settings = getattr(jv, name), methods[name] | {"baseline": 0}
        np.testing.assert_allclose(
            method(model, single, target=1, **settings), method(model, x, target=1, **settings), rtol=1e-4, atol=1e-6
        )
    print("explained")
"""


def test_spread_inputs_and_parameters_are_explained_as_on_one_device():
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == "explained\n", done.stderr
