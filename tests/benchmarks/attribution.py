"""Integrated gradients and SmoothGrad against Captum: the same weights, inputs and work, in turns.

    python tests/benchmarks/attribution.py --peer PYTHON_WITH_CAPTUM [--json FILE] [--rounds 15] [--only cnn]

PYTHON_WITH_CAPTUM is the interpreter of an environment with torch and captum. Both sides have the same number of threads. They
take turns, one call each per round, so that other load on the machine falls on both; the ratio is of the medians, and the ratio
of the fastest calls stands beside it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import jaxviz as jv

STEPS, SAMPLES, NOISE = 50, 50, 0.1


class Convolutional(nn.Module):
    """A convolutional network as Flax users write it."""

    channels: tuple[int, ...]
    depth: int
    hidden: int

    @nn.compact
    def __call__(self, x):
        for width in self.channels:
            for _ in range(self.depth):
                x = nn.relu(nn.Conv(width, (3, 3))(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(nn.Dense(self.hidden)(x.reshape(x.shape[0], -1)))
        return nn.Dense(10)(x)

    def order(self):
        """The layers for the other side, as path and kind."""
        conv = 0
        for _ in self.channels:
            for _ in range(self.depth):
                yield from ((f"Conv_{conv}", "Conv"), ("", "Activation"))
                conv += 1
            yield "", "Pool"
        yield from (("Dense_0", "Dense"), ("", "Activation"), ("Dense_1", "Dense"))


NETWORKS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "mlp": (jv.models.MLP(features=(64, 64, 10)), (16, 20)),
    "cnn": (Convolutional((16, 32), 1, 64), (8, 28, 28, 1)),
    "deep_cnn": (Convolutional((32, 64, 128), 2, 128), (4, 32, 32, 3)),
}


class Peer:
    """The other process: told what to do line by line, it answers with JSON."""

    def __init__(self, python: str, folder: Path, threads: int) -> None:
        script = Path(__file__).parent / "peers" / "captum_attribution.py"
        self.process = subprocess.Popen(
            [python, str(script), str(folder), str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, *words: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the peer ended with status {self.process.wait()} at {words}")
        return json.loads(answer)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def stored(folder: Path, networks: dict[str, tuple[Any, tuple[int, ...]]]) -> dict[str, tuple[jv.Model, Any, Any]]:
    """Models of networks with random weights, inputs and targets; written into a folder for the other side."""
    found = {}
    for number, (name, (module, shape)) in enumerate(networks.items()):
        inputs = jax.random.normal(jax.random.key(number), shape)
        variables = module.init(jax.random.key(10 + number), inputs)
        target = jnp.arange(shape[0]) % 10
        model = jv.Model.from_linen(module, variables)
        layers = (
            list(module.order())
            if isinstance(module, Convolutional)
            else [(layer.path, layer.kind) for layer in model.layers(inputs)]
        )
        params = variables["params"]
        arrays = {f"{path}/{leaf}": np.asarray(value) for path in params for leaf, value in params[path].items()}
        np.savez(folder / f"{name}.npz", inputs=inputs, target=target, layers=json.dumps(layers), **arrays)
        found[name] = model, inputs, target
    return found


def cases(folder: Path) -> dict[str, Callable[[], Any]]:
    """What is timed on this side; writes the networks and inputs for the other."""
    work: dict[str, Callable[[], Any]] = {}
    for name, (model, inputs, target) in stored(folder, NETWORKS).items():
        smoothed = jv.smooth(jv.saliency, samples=SAMPLES, noise=NOISE, scale="absolute")
        key = jax.random.key(0)
        work[f"{name} integrated_gradients"] = lambda m=model, x=inputs, t=target: jv.integrated_gradients(
            m, x, target=t, steps=STEPS
        )
        work[f"{name} smooth"] = lambda m=model, x=inputs, t=target, s=smoothed, k=key: s(m, x, target=t, key=k)
    return work


def main(
    peer_python: str, json_file: str | None = None, rounds: int = 15, threads: int = 2, only: str = ""
) -> dict[str, Any]:
    """Runs the comparison, prints the table, and returns it."""
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = cases(folder)
        peer = Peer(peer_python, folder, threads)
        print(f"{'case':34}{'jaxviz ms':>12}{'Captum ms':>12}{'speed ratio':>13}{'of fastest':>12}{'difference':>12}")
        for case, call in work.items():
            if only not in case:
                continue
            start = time.perf_counter()
            attribution = np.asarray(call())
            first = time.perf_counter() - start
            call().block_until_ready()
            settings = peer.ask("settings", case)  # Captum all at once, and in smaller batches
            for setting in settings:
                peer.ask("time", case, setting)
            ours: list[float] = []
            theirs: dict[str, list[float]] = {setting: [] for setting in settings}
            for _ in range(rounds):
                for setting in settings:
                    theirs[setting].append(peer.ask("time", case, setting))
                    time.sleep(0.02)
                begin = time.perf_counter()
                call().block_until_ready()
                ours.append(time.perf_counter() - begin)
                time.sleep(0.02)
            best = min(settings, key=lambda setting: statistics.median(theirs[setting]))
            peer_attribution = np.asarray(peer.ask("values", case), np.float64).reshape(attribution.shape)
            difference = float(np.abs(attribution - peer_attribution).max() / np.abs(peer_attribution).max())
            if case.endswith("integrated_gradients"):  # the noise of SmoothGrad is not the same
                assert difference < 1e-5, f"{case}: attributions differ by {difference}"
            median, peer_median = statistics.median(ours), statistics.median(theirs[best])
            results[case] = {
                "jaxviz_seconds": ours,
                "captum_seconds": theirs,
                "captum_best_setting": best,
                "speed_ratio": peer_median / median,
                "speed_ratio_of_fastest": min(min(times) for times in theirs.values()) / min(ours),
                "relative_difference": difference,
                "first_call_seconds": first,
            }
            print(
                f"{case:34}{median * 1e3:12.2f}{peer_median * 1e3:12.2f}{peer_median / median:13.2f}"
                f"{results[case]['speed_ratio_of_fastest']:12.2f}{difference:12.1e}",
                flush=True,
            )
        versions = peer.ask("versions")
        peer.close()
    table = {
        "jax": jax.__version__,
        "python": sys.version.split()[0],
        **versions,
        "threads": threads,
        "steps": STEPS,
        "results": results,
    }
    if json_file:
        Path(json_file).write_text(json.dumps(table, indent=1))
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="python of an environment with torch and captum")
    parser.add_argument("--json", default=None, help="where to write the figures")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="a part of the names of the cases to run")
    arguments = parser.parse_args()
    main(arguments.peer, arguments.json, arguments.rounds, arguments.threads, arguments.only)
