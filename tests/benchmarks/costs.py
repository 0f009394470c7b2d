"""What methods cost beside their steady speed: compilation on a pretrained network, and peak memory by the number of steps.

    python tests/benchmarks/costs.py [--update-readme]

Each figure is of a process of its own. Compilation: the first call and the second, EfficientNet-Lite0 at 224 x 224. Memory:
by how much the process's peak grew from one gradient of the network to the end of the method, for 10, 100 and 1000
evaluations, or as near as the method can be told to come, with 32 in flight, on the deeper CNN of `attribution.py`. Occlusion:
evaluated near the windows only, and in whole, in turns in one process.
"""

import argparse
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import attribution
import jax
import jax.numpy as jnp
import numpy as np
import report

import jaxviz as jv
from jaxviz.attribution.perturbation import windows

KEY = jax.random.key(0)
BEGIN, END = "<!-- costs: begin -->", "<!-- costs: end -->"
STEPS = (10, 100, 1000)
LAYER = "Conv_5"  # of the deeper CNN, 8 x 8 x 128
ROUNDS = 5
HEAD = "head"  # of EfficientNet-Lite0, 7 x 7 x 1280


def tiles(count: int, size: int) -> np.ndarray:
    """A mask of about so many square groups of pixels."""
    side = max(round(count**0.5), 1)
    rows = np.arange(size) * side // size
    return (rows[:, None] * side + rows[None])[None, :, :, None].astype(np.int32)


def chunked(count: int) -> dict[str, Callable[..., Any]]:
    """The methods that evaluate a network many times, told to do so about so many times."""
    baselines = np.asarray(0.1 * jax.random.normal(KEY, (count, 32, 32, 3)))
    groups = functools.partial(tiles, size=32)
    few = max(count.bit_length() - 1, 1)  # of which there are that many coalitions
    return {
        "integrated_gradients": functools.partial(jv.integrated_gradients, steps=count),
        "expected_gradients": functools.partial(jv.expected_gradients, baselines=baselines[:8], samples=count, key=KEY),
        "blur_integrated_gradients": functools.partial(jv.blur_integrated_gradients, steps=count),
        "smooth(gradient)": functools.partial(jv.smooth(jv.gradient, samples=count, noise=0.1), key=KEY),
        "deep_shap": functools.partial(jv.deep_shap, baselines=baselines),
        "conductance": functools.partial(jv.conductance, layer=LAYER, steps=count),
        "internal_influence": functools.partial(jv.internal_influence, layer=LAYER, steps=count),
        "occlusion": functools.partial(jv.occlusion, window=8, stride=max(round(24 / count**0.5), 1)),
        "feature_ablation": functools.partial(jv.feature_ablation, mask=groups(count)),
        "feature_permutation": functools.partial(
            jv.feature_permutation, mask=groups(9), samples=-(-count // 9), key=KEY
        ),
        "shapley_values": functools.partial(jv.shapley_values, mask=_bands(few)),
        "shapley_sampling": functools.partial(jv.shapley_sampling, mask=groups(9), samples=-(-count // 9), key=KEY),
        "kernel_shap": functools.partial(jv.kernel_shap, mask=groups(16), samples=max(count, 16), key=KEY),
        "lime": functools.partial(jv.lime, mask=groups(16), samples=count, key=KEY),
        "rise": functools.partial(jv.rise, samples=count, key=KEY),
    }


def _bands(count: int) -> np.ndarray:
    return (np.arange(32) * count // 32)[None, :, None, None].astype(np.int32)


def compiled() -> dict[str, Callable[..., Any]]:
    """The methods whose compilation is timed, with few evaluations."""
    few: dict[str, Any] = {"mask": tiles(9, 224), "samples": 16, "key": KEY}
    return {
        "outputs": lambda model, inputs, target: model.optimized()(inputs),
        "gradient": jv.gradient,
        "integrated_gradients": functools.partial(jv.integrated_gradients, steps=4, chunk_size=4),
        "smooth(gradient)": functools.partial(jv.smooth(jv.gradient, samples=4), key=KEY, chunk_size=4),
        "guided_backprop": jv.guided_backprop,
        "deeplift": jv.deeplift,
        "lrp EpsilonPlusFlat": functools.partial(jv.lrp, composite="EpsilonPlusFlat"),
        "grad_cam": functools.partial(jv.grad_cam, layer=HEAD),
        "occlusion": functools.partial(jv.occlusion, window=112, stride=112, chunk_size=4),
        "shapley_sampling": functools.partial(
            jv.shapley_sampling, mask=tiles(9, 224), samples=1, key=KEY, chunk_size=4
        ),
        "lime": functools.partial(jv.lime, **few, chunk_size=4),
        "rise": functools.partial(jv.rise, samples=4, key=KEY, chunk_size=4),
    }


def compilation(name: str) -> dict[str, float]:
    """Seconds of the first call and of the second."""
    model = jv.Model.from_linen(*jv.models.efficientnet_lite0())
    inputs = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (1, 224, 224, 3)), jnp.float32)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        jax.block_until_ready(compiled()[name](model, inputs, target=282))
        seconds.append(time.perf_counter() - start)
    return {"first": seconds[0], "second": seconds[1]}


def memory(name: str, count: int) -> dict[str, float]:
    """MiB by which the peak of the process grew."""
    module, shape = attribution.NETWORKS["deep_cnn"]
    inputs = jax.random.normal(KEY, shape)
    model = jv.Model.from_linen(module, module.init(KEY, inputs))
    jax.block_until_ready(jv.gradient(model, inputs, target=0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    jax.block_until_ready(chunked(count)[name](model, inputs, target=0, chunk_size=32))
    return {"peak": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def _efficientnet() -> tuple[jv.Model, tuple[int, ...]]:
    return jv.Model.from_linen(*jv.models.efficientnet_lite0()), (1, 224, 224, 3)


def _small() -> tuple[jv.Model, tuple[int, ...]]:
    module, shape = jv.models.CNN(classes=10, channels=(32, 64, 128), depth=2, batch_norm=True), (1, 32, 32, 3)
    return jv.Model.from_linen(module, module.init(KEY, jnp.zeros(shape))), shape


# Per row: the network, and window and stride.
WINDOWS: dict[str, tuple[Callable[[], tuple[jv.Model, tuple[int, ...]]], int, int]] = {
    "EfficientNet-Lite0, 224 x 224, window 32, stride 16": (_efficientnet, 32, 16),
    "CNN, 32 x 32, window 4, stride 4": (_small, 4, 4),
}


def nearby(name: str) -> dict[str, float]:
    """Seconds of occlusion near the windows and in whole: the medians of calls in turns, after one of each."""
    make, window, stride = WINDOWS[name]
    model, shape = make()
    inputs = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    own = windows.nearby.base

    def near(*args: Any, **kwargs: Any) -> Any:
        kept = own(*args, **kwargs)
        if kept is None:
            raise RuntimeError(f"{name}: jaxviz itself evaluates it in whole")
        return kept

    bases: dict[str, Callable[..., Any]] = {"near": near, "whole": lambda *args, **kwargs: None}
    seconds: dict[str, list[float]] = {way: [] for way in bases}
    for _ in range(ROUNDS + 1):
        for way, base in bases.items():
            windows.nearby.base = base
            start = time.perf_counter()
            jax.block_until_ready(jv.occlusion(model, inputs, target=0, window=window, stride=stride))
            seconds[way].append(time.perf_counter() - start)
    return {way: statistics.median(calls[1:]) for way, calls in seconds.items()}


def _alone(*words: str) -> Any:
    done = subprocess.run([sys.executable, __file__, "--one", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--update-readme", action="store_true", help="put the tables into the README of this folder")
    arguments = parser.parse_args()
    if arguments.one:
        kind, name, *count = arguments.one
        kinds = {"compilation": compilation, "memory": memory, "nearby": nearby}
        print(json.dumps(kinds[kind](name, *map(int, count))))
        return
    lines = ["| method | first call | second call |", "|---|---|---|"]
    for name in compiled():
        found = _alone("compilation", name)
        lines.append(f"| {name} | {found['first']:.1f} s | {1000 * found['second']:.0f} ms |")
        print(lines[-1], flush=True)
    lines += ["", f"| method | {' | '.join(f'{count} evaluations' for count in STEPS)} |", "|---|---|---|---|"]
    for name in chunked(4):
        peaks = [_alone("memory", name, str(count))["peak"] for count in STEPS]
        lines.append(f"| {name} | {' | '.join(f'{peak:.0f} MiB' for peak in peaks)} |")
        print(lines[-1], flush=True)
    lines += ["", "| occlusion | near windows | in whole | times as fast |", "|---|---|---|---|"]
    for name in WINDOWS:
        found = _alone("nearby", name)
        near, whole = found["near"], found["whole"]
        lines.append(f"| {name} | {1000 * near:.0f} ms | {1000 * whole:.0f} ms | {whole / near:.2f} x |")
        print(lines[-1], flush=True)
    if arguments.update_readme:
        readme = Path(__file__).parent / "README.md"
        text = readme.read_text()
        head, tail = text.split(BEGIN)[0], text.split(END)[1]
        report.write(readme, f"{head}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{tail}")


if __name__ == "__main__":
    main()
