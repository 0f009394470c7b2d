"""tensorboardX's or torch's SummaryWriter at work; which one is the first argument."""

import importlib.metadata
import sys
import tempfile
import time

import numpy as np
from protocol import serve

if sys.argv[1] == "tensorboardX":
    from tensorboardX import SummaryWriter
else:
    from torch.utils.tensorboard import SummaryWriter

RNG = np.random.default_rng(0)


def scalars(writer, count):
    return lambda: [writer.add_scalar("loss", 0.5 / (step + 1), step) for step in range(count)]


def histograms(writer, count):
    edges = np.linspace(-1, 1, 65)
    counts = RNG.integers(0, 100, 64)
    settings = {
        "min": -1.0,
        "max": 1.0,
        "num": int(counts.sum()),
        "sum": 0.0,
        "sum_squares": 1.0,
        "bucket_limits": edges[1:].tolist(),
        "bucket_counts": counts.tolist(),
    }
    return lambda: [writer.add_histogram_raw("weights", global_step=step, **settings) for step in range(count)]


def images(writer, count):
    noise = RNG.integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)
    return lambda: [writer.add_image("noise", noise[step], step, dataformats="HWC") for step in range(count)]


def histogram_of_values(writer, count):
    values = RNG.normal(size=count).astype(np.float32)
    return lambda: writer.add_histogram("values", values, 0)


def timed(case, count):
    """Seconds to write so much and to close the file: what stands in a queue is not yet written."""
    with tempfile.TemporaryDirectory() as folder:
        writer = SummaryWriter(folder)
        work = CASES[case](writer, count)
        start = time.perf_counter()
        work()
        writer.close()
        return time.perf_counter() - start


CASES = {f.__name__: f for f in (scalars, histograms, images, histogram_of_values)}

if __name__ == "__main__":
    name = sys.argv[1]
    serve({"time": timed, "version": lambda: {name: importlib.metadata.version(name)}})
