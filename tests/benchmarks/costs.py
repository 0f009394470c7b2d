"""What methods cost beside their steady speed: compilation on a pretrained network, and peak memory by the number of steps.

    python tests/benchmarks/costs.py [--update-readme] [--only compilation]

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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import attribution
import jax
import jax.numpy as jnp
import numpy as np
import report

import jaxviz as jv
from jaxviz.attribution import rules
from jaxviz.attribution.perturbation import windows

KEY = jax.random.key(0)
STEPS = (10, 100, 1000)
LAYER = "Conv_5"  # of the deeper CNN, 8 x 8 x 128
ROUNDS = 5
HEAD = "head"  # of EfficientNet-Lite0, 7 x 7 x 1280
PRESETS = {
    "EpsilonGammaBox": rules.epsilon_gamma_box(-1.0, 1.0),
    **{name: name for name in ("EpsilonPlus", "EpsilonPlusFlat", "EpsilonAlpha2Beta1", "EpsilonAlpha2Beta1Flat")},
}


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
    """Every method whose compilation is timed, with few evaluations."""
    few: dict[str, Any] = {"chunk_size": 4}
    drawn: dict[str, Any] = {"mask": tiles(9, 224), "key": KEY, **few}
    baselines = np.asarray(0.1 * jax.random.normal(KEY, (4, 224, 224, 3)))
    by_name = lambda *names, **settings: {name: functools.partial(getattr(jv, name), **settings) for name in names}
    return {
        "outputs": lambda model, inputs, target: model.optimized()(inputs),
        **by_name("gradient", "saliency", "input_x_gradient"),
        **by_name("integrated_gradients", "blur_integrated_gradients", steps=4, **few),
        **by_name("expected_gradients", baselines=baselines, samples=4, key=KEY, **few),
        **by_name("guided_integrated_gradients", steps=4),
        **by_name("xrai", steps=4, **few),
        "smooth(gradient)": functools.partial(jv.smooth(jv.gradient, samples=4), key=KEY, **few),
        **by_name("guided_backprop", "deconvnet", "beta_smooth", "deeplift"),
        **by_name("deep_shap", baselines=baselines, **few),
        **{f"lrp {name}": functools.partial(jv.lrp, composite=composite) for name, composite in PRESETS.items()},
        **by_name("grad_cam", "grad_cam_pp", "xgrad_cam", "hires_cam", "layer_cam", "eigen_cam", layer=HEAD),
        **by_name(
            "eigen_grad_cam", "seg_eigen_cam", "kpca_cam", "fem_cam", "shapley_cam", "guided_grad_cam", layer=HEAD
        ),
        **by_name("random_cam", layer=HEAD, key=KEY),
        **by_name("feature_factorization", layer=HEAD, components=3),
        **by_name("score_cam", "ablation_cam", layer=HEAD, chunk_size=16),
        **by_name("full_grad"),
        **by_name("occlusion", window=112, stride=112, **few),
        **by_name("feature_ablation", mask=tiles(9, 224), **few),
        **by_name("feature_permutation", "shapley_sampling", samples=1, **drawn),
        **by_name("shapley_values", mask=tiles(4, 224), **few),
        **by_name("kernel_shap", "lime", samples=16, **drawn),
        **by_name("rise", samples=4, key=KEY, **few),
        "at_layer(integrated_gradients)": functools.partial(jv.at_layer(jv.integrated_gradients, HEAD), steps=4, **few),
        **by_name("conductance", "internal_influence", layer=HEAD, steps=4, **few),
        **by_name("neuron_conductance", layer=HEAD, unit=(3, 3, 5), steps=4, **few),
    }


def compilation(name: str) -> dict[str, float]:
    """Seconds of the first call and of the second."""
    model = jv.Model.from_linen(*jv.models.efficientnet_lite0())
    batch = 2 if name == "feature_permutation" else 1
    # As smooth as a photograph: superpixels of noise are no figure for anything.
    coarse = np.random.default_rng(0).uniform(-1, 1, (batch, 14, 14, 3)).astype(np.float32)
    inputs = jax.image.resize(jnp.asarray(coarse), (batch, 224, 224, 3), "linear")
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
    parser.add_argument("--only", choices=("compilation", "memory", "nearby"), help="print one of the tables alone")
    parser.add_argument("--update-readme", action="store_true", help="put the tables into the README of this folder")
    arguments = parser.parse_args()
    if arguments.one:
        kind, name, *count = arguments.one
        kinds = {"compilation": compilation, "memory": memory, "nearby": nearby}
        print(json.dumps(kinds[kind](name, *map(int, count))))
        return
    tables = {"compilation": _compilations, "memory": _memories, "nearby": _nearby}
    lines = {name: list(table()) for name, table in tables.items() if arguments.only in (None, name)}
    if arguments.update_readme:
        readme = Path(__file__).parent / "README.md"
        text = readme.read_text()
        for name, table in lines.items():
            begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
            head, tail = text.split(begin)[0], text.split(end)[1]
            text = f"{head}{begin}\n\n" + "\n".join(table) + f"\n\n{end}{tail}"
        report.write(readme, text)


def _shown(line: str) -> str:
    print(line, flush=True)
    return line


def _compilations() -> Iterator[str]:
    yield from ("| method | first call | second call |", "|---|---|---|")
    for name in compiled():
        found = _alone("compilation", name)
        yield _shown(f"| {name} | {found['first']:.1f} s | {1000 * found['second']:.0f} ms |")


def _memories() -> Iterator[str]:
    yield from (f"| method | {' | '.join(f'{count} evaluations' for count in STEPS)} |", "|---|---|---|---|")
    for name in chunked(4):
        peaks = [_alone("memory", name, str(count))["peak"] for count in STEPS]
        yield _shown(f"| {name} | {' | '.join(f'{peak:.0f} MiB' for peak in peaks)} |")


def _nearby() -> Iterator[str]:
    yield from ("| occlusion | near windows | in whole | times as fast |", "|---|---|---|---|")
    for name in WINDOWS:
        found = _alone("nearby", name)
        near, whole = found["near"], found["whole"]
        yield _shown(f"| {name} | {1000 * near:.0f} ms | {1000 * whole:.0f} ms | {whole / near:.2f} x |")


if __name__ == "__main__":
    main()
