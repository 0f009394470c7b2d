"""(b) Writing a log, and the cost of a histogram, against tensorboardX's and torch's SummaryWriter."""

import tempfile
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from settings import Settings
from timing import Comparison, interleave, seconds_of

import jaxviz as jv

FASTER = 5.0  # a histogram of 4 M floats on the device, against tensorboardX's
VALUES = 4_000_000
PEERS = {"tensorboardX": "tensorboardx", "torch": "torch"}
_histogram = jax.jit(jv.watch.histogram)
Writer = jv.tensorboard.Writer


def run(settings: Settings) -> Iterator[Comparison]:
    """Times the same events of all writers in turns, closing the file included."""
    for peer, folder in PEERS.items():
        with settings.worker(folder, "peers/summary_writer.py", peer) as worker:
            for case, (full, what) in CASES.items():
                count = settings.amount(full)
                yield _compare(what, case, peer, worker.ask, count, settings)
            yield from _histograms(peer, worker.ask, settings)


def written(case: str, count: int) -> float:
    """Returns the seconds to write so much and to close the file, as in `peers/summary_writer.py`."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(folder)
        match case:
            case "scalars":
                start = time.perf_counter()
                for step in range(count):
                    writer.scalar("loss", 0.5 / (step + 1), step)
            case "histograms":
                counts, edges = random.integers(0, 100, 64), np.linspace(-1, 1, 65)
                start = time.perf_counter()
                for step in range(count):
                    writer.histogram_counts("weights", counts, edges, step)
            case "images":
                noise = random.integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)
                start = time.perf_counter()
                for step in range(count):
                    writer.image("noise", noise[step], step)
            case _:
                raise ValueError(f"written: no case {case!r}")
        writer.close()
        return time.perf_counter() - start


CASES = {
    "scalars": (4000, "scalars"),
    "histograms": (1000, "histograms of 64 bins"),
    "images": (16, "images 224 x 224"),
}


def _histograms(peer: str, ask: Callable[..., float], settings: Settings) -> Iterator[Comparison]:
    """Compares the histogram of an array on the device, binned there, and written; and Writer.histogram of a numpy array."""
    host = np.random.default_rng(0).normal(size=VALUES).astype(np.float32)
    values = jax.block_until_ready(jnp.asarray(host))

    def binned() -> float:
        return seconds_of(lambda: jax.block_until_ready(_histogram(values)))

    def binned_and_written() -> float:
        with tempfile.TemporaryDirectory() as folder:
            writer = Writer(folder)
            start = time.perf_counter()
            found = jax.device_get(_histogram(values))
            writer.histogram_counts("values", found.counts, found.edges, 0)
            writer.close()
            return time.perf_counter() - start

    def written_from_host() -> float:
        with tempfile.TemporaryDirectory() as folder:
            writer = Writer(folder)
            start = time.perf_counter()
            writer.histogram("values", host, 0)
            writer.close()
            return time.perf_counter() - start

    times = interleave(
        {
            "binned": binned,
            "device": binned_and_written,
            "host": written_from_host,
            "peer": lambda: float(ask("time", case="histogram_of_values", count=VALUES)),
        },
        settings.rounds(12),
    )
    bound = FASTER if peer == "tensorboardX" else None
    lines = {
        "4 M floats on the device, binned there and written": ("device", bound),
        "4 M floats on the device, binned only": ("binned", None),
        "4 M floats of a numpy array, written": ("host", None),
    }
    for what, (name, must) in lines.items():
        yield Comparison("writers", what, peer, times[name], times["peer"], bound=must)


def _compare(what: str, case: str, peer: str, ask: Callable[..., float], count: int, settings: Settings) -> Comparison:
    times = interleave(
        {"ours": lambda: written(case, count), "peer": lambda: float(ask("time", case=case, count=count))},
        settings.rounds(6),
    )
    return Comparison("writers", what, peer, times["ours"], times["peer"], work=(count, case))
