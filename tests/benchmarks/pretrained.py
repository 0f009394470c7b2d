"""EfficientNet-Lite0 at 224 x 224: outputs and explanations, against plain JAX, PyTorch and Captum with the same weights."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from settings import Settings
from timing import Comparison, interleave, seconds_of
from worker import Worker

import jaxviz as jv

STEPS = 20
TARGET = 282


def run(settings: Settings) -> Iterator[Comparison]:
    """Times one photograph's outputs, input gradient and integrated gradients; all sides must agree."""
    module, variables = _network()
    variables = jax.tree.map(jax.numpy.asarray, variables)
    model = jv.Model.from_linen(module, variables)
    inputs = np.random.default_rng(0).uniform(-1, 1, (1, 224, 224, 3)).astype(np.float32)
    faster = model.optimized()
    plain_gradient = jax.jit(jax.grad(lambda x: module.apply(variables, x, train=False)[:, TARGET].sum()))
    integrated = lambda: jv.integrated_gradients(model, inputs, target=TARGET, steps=STEPS)
    ours: dict[str, Callable[[], Any]] = {
        "outputs": lambda: faster(inputs),
        "gradient": lambda: jv.gradient(model, inputs, target=TARGET),
        "integrated_gradients": integrated,
    }
    plain: dict[str, Callable[[], Any]] = {"outputs": lambda: model(inputs), "gradient": lambda: plain_gradient(inputs)}
    flops = float(sum(layer.flops for layer in model.layers(inputs) if layer.kind in ("Dense", "Conv")))
    evaluations = {"outputs": 1, "gradient": 2, "integrated_gradients": 2 * STEPS}
    with tempfile.TemporaryDirectory() as folder, _torch(settings, Path(folder), variables, inputs) as torch:
        for case, call in ours.items():
            start = time.perf_counter()
            found = np.asarray(call())
            first = time.perf_counter() - start
            difference = _difference(found, np.asarray(torch.ask("values", case=case, steps=STEPS, target=TARGET)))
            calls = {"ours": lambda call=call: seconds_of(call)}
            if case in plain:
                calls["plain"] = lambda case=case: seconds_of(plain[case])
            calls["torch"] = lambda case=case: float(torch.ask("time", case=case, steps=STEPS, target=TARGET))
            seconds = interleave(calls, settings.rounds(9))
            work = (evaluations[case] * flops, "FLOP")
            note = f"{case}: equal to PyTorch's to {difference:.0e}; traced and compiled in {first:.1f} s"
            for name, peer in (("plain", "plain JAX, jitted"), ("torch", "Captum" if "integ" in case else "PyTorch")):
                if name in seconds:
                    told = note if name == "torch" else ""
                    yield Comparison(
                        "pretrained", case, peer, seconds["ours"], seconds[name], bound=1.0, work=work, note=told
                    )


def _network() -> tuple[Any, Any]:
    try:
        return jv.models.efficientnet_lite0()
    except ImportError:  # the extra "vision": the times are the same with any weights
        module = jv.models.EfficientNetLite0()
        return module, jax.jit(module.init)(jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32))


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """The norm of the difference as a share of that of the one; a unit near zero may fall on the other side of its ReLU."""
    share = float(np.linalg.norm(one.ravel() - other.ravel()) / np.linalg.norm(one))
    if not share < 0.02:
        raise ValueError(f"the two sides differ by {share:.3f} of their norm")
    return share


def _torch(settings: Settings, folder: Path, variables: Any, inputs: np.ndarray) -> Worker:
    arrays = {f"{collection}/{path}": leaf for collection, path, leaf in _leaves(variables)}
    np.savez(folder / "network.npz", inputs=inputs, **arrays)
    worker = settings.worker("torch", "peers/torch_efficientnet.py", str(folder / "network.npz"), str(settings.threads))
    settings.versions.update(worker.ask("version"))
    return worker


def _leaves(variables: Any) -> Iterator[tuple[str, str, np.ndarray]]:
    for collection, tree in variables.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            yield collection, "/".join(entry.key for entry in path), np.asarray(leaf)
