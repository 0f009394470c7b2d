"""(f) `fit` against a hand-written flax and optax loop, and against Keras on the JAX back end: the demo's network."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from network import BATCH_SIZE, LEARNING_RATE, MODULE, OPTIMIZER, Data, HandWritten, data
from settings import Settings
from timing import Comparison, interleave
from worker import Worker

import jaxviz as jv

SLOWER = 0.03  # share by which `fit` may be slower than the loop by hand
EPOCHS = 2  # per timing


class Fit:
    """`jaxviz.train.fit` on the same network and data, without hooks."""

    def __init__(self, examples: Data) -> None:
        self.examples = examples
        self.state = jv.train.create_state(MODULE, examples[0][:1], optimizer=OPTIMIZER, key=jax.random.key(0))
        self.calls = 0
        self.loss = float("nan")

    def seconds(self, epochs: int, *, shuffle: bool = True) -> float:
        """Trains on, and returns the wall time of the call; notes the mean loss of the last epoch."""
        self.calls += 1
        start = time.perf_counter()
        self.state, history = jv.train.fit(
            self.state,
            self.examples,
            loss="softmax_cross_entropy",
            metrics=("accuracy",),
            epochs=epochs,
            batch_size=BATCH_SIZE,
            key=jax.random.key(self.calls),
            shuffle=shuffle,
            progress=False,
        )
        jax.block_until_ready(self.state)
        seconds = time.perf_counter() - start
        self.loss = float(history.epochs["loss"][-1])
        return seconds


def run(settings: Settings) -> Iterator[Comparison]:
    """Times epochs of the three in turns."""
    examples = data(settings.amount(8000))
    fit = Fit(examples)
    hand = HandWritten(examples, fit.state.params, fit.state.model_state.get("batch_stats", {}))
    _same_work(fit, hand)
    flops = hand.step_flops()
    steps = EPOCHS * len(examples[1]) // BATCH_SIZE
    work = (flops * steps, "FLOP") if flops else None
    scale = (1 / EPOCHS, "per epoch")
    with tempfile.TemporaryDirectory() as folder, _keras(settings, Path(folder), examples) as keras:
        seconds = interleave(
            {
                "fit": lambda: fit.seconds(EPOCHS),
                "hand": lambda: hand.seconds(EPOCHS),
                "keras": lambda: float(keras.ask("epochs", batch_size=BATCH_SIZE, count=EPOCHS)[0]),
            },
            settings.rounds(10),
        )
    yield Comparison(
        "fit",
        "epoch of the demo's CNN",
        "loop by hand",
        seconds["fit"],
        seconds["hand"],
        "overhead",
        SLOWER,
        work,
        scale,
    )
    yield Comparison(
        "fit", "epoch of the demo's CNN", "Keras on JAX", seconds["fit"], seconds["keras"], work=work, scale=scale
    )


def _same_work(fit: Fit, hand: HandWritten) -> None:
    """Makes sure that both sides train alike: from the same parameters, with the same batches, to the same mean loss."""
    fit.seconds(1, shuffle=False)
    loss, _ = hand.epoch(shuffle=False)
    if abs(fit.loss - loss) > 1e-3 * loss:
        raise ValueError(f"fit's first epoch ends with loss {fit.loss}, that of the loop by hand with {loss}")


def _keras(settings: Settings, folder: Path, examples: Data) -> Worker:
    """Starts Keras with the same data and network; makes sure that it has as many parameters."""
    np.savez(folder / "data.npz", x=examples[0], y=examples[1])
    worker = settings.worker("keras-jax", "peers/keras_cnn.py", str(folder / "data.npz"), KERAS_BACKEND="jax")
    if MODULE.depth != 1 or MODULE.dropout or MODULE.head != "flatten" or MODULE.pooling not in ("stride", "max"):
        # The peer's program is written by hand for these; a changed demo must not be timed against another network.
        raise NotImplementedError(f"peers/keras_cnn.py does not know how to build {MODULE}")
    chosen: dict[str, Any] = {
        name: getattr(MODULE, name) for name in ("channels", "hidden", "kernel", "classes", "batch_norm", "pooling")
    }
    count = worker.ask("build", **chosen, learning_rate=LEARNING_RATE)
    params = MODULE.init(jax.random.key(0), examples[0][:1])["params"]
    if count != (ours := sum(leaf.size for leaf in jax.tree.leaves(params))):
        raise ValueError(f"Keras trains {count} numbers, the demo's network has {ours}")
    return worker
