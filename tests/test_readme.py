"""What the README says to write runs as it stands there."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

import jaxviz as jv

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_code_of_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own_model, own_loop = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    module = jv.models.CNN(classes=10)
    inputs = jax.random.uniform(jax.random.key(0), (2, 28, 28, 1))
    variables = module.init(jax.random.key(1), inputs)
    # As a user would run it: with JAX's own promotion rules.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        names = {"module": module, "variables": variables, "inputs": inputs, "labels": jnp.array([3, 7])}
        exec(own_model, names)
        assert (tmp_path / "why.png").stat().st_size > 0
        assert names["attribution"].shape == inputs.shape
        assert names["cam"].shape == (2, 28, 28)

        params = variables["params"]
        grads = jax.tree.map(jnp.ones_like, params)
        updates, _ = optax.sgd(0.1).update(grads, optax.sgd(0.1).init(params), params)
        with jv.tensorboard.Writer("runs/loop") as writer:
            names = {"jv": jv, "writer": writer, "step": 0, "params": params, "grads": grads, "updates": updates}
            exec(own_loop, names)
            names["watcher"].close()
    assert jv.tensorboard.read("runs/mine")["why"].kind == "image"
    assert "weights/Conv_0/kernel" in jv.tensorboard.read("runs/loop")["."]
