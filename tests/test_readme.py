"""What the README says to write runs as it stands there, and what it says of the inside is so."""

import ast
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


def imported(file):
    """The parts of jaxviz that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "jaxviz":
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxviz."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (name.name.split(".")[1] for name in node.names if name.name.startswith("jaxviz."))


def test_floors_of_the_readme():
    said = re.search(
        r"Floors, each importing only from below: (.*?) the ground: (.*?); and (.*?), which", README, re.DOTALL
    )
    assert said is not None
    floors, ground, apart = (re.findall("`(.*?)`", names) for names in said.groups())
    allowed = {name: {*floors[number:], *ground, *apart} for number, name in enumerate(floors)}
    allowed |= {name: set(ground) for name in ground} | {name: {name, "checks"} for name in apart}

    root = Path(jv.__file__).parent
    parts = {file.stem: [file] for file in root.glob("[!_]*.py")}
    parts |= {file.parent.name: [*file.parent.rglob("*.py")] for file in root.glob("*/__init__.py")}
    assert set(allowed) == set(parts)
    found = {part: {name for file in files for name in imported(file)} & set(parts) for part, files in parts.items()}
    assert {part: names - allowed[part] for part, names in found.items() if names - allowed[part]} == {}
