"""(c) Training with hooks on, at several intervals, against training without: the demo's network."""

import tempfile
import time
from collections.abc import Iterator

import jax
from network import BATCH_SIZE, MODULE, OPTIMIZER, Data, data
from settings import Settings
from timing import Comparison, interleave

import jaxviz as jv

COST = 0.05  # share of the training time that all weight and gradient histograms may cost every 10 steps
EPOCHS = 2  # per timing
Hooks = tuple[jv.watch.Hook, ...]


class Training:
    """`jaxviz.train.fit` of the demo's network with some hooks, into a log of its own."""

    def __init__(self, examples: Data, hooks: Hooks) -> None:
        self.examples, self.hooks = examples, hooks
        self.state = jv.train.create_state(MODULE, examples[0][:1], optimizer=OPTIMIZER, key=jax.random.key(0))

    def seconds(self) -> float:
        """Trains on; returns the wall time, opening and closing the log included."""
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            self.state, _ = jv.train.fit(
                self.state,
                self.examples,
                loss="softmax_cross_entropy",
                metrics=("accuracy",),
                epochs=EPOCHS,
                batch_size=BATCH_SIZE,
                key=jax.random.key(1),
                hooks=self.hooks,
                logdir=folder,
                progress=False,
            )
            jax.block_until_ready(self.state)
            return time.perf_counter() - start


def run(settings: Settings) -> Iterator[Comparison]:
    """Times each set of hooks and interval in turns with training without hooks (which logs its curves, too)."""
    examples = data(8000)  # in a quick run, too: hooks that are due every 100 steps want some hundreds
    _, held_out = jv.data.mnist()
    sets = {
        "weights and gradients": lambda every: (jv.watch.weights(every=every), jv.watch.gradients(every=every)),
        "all hooks": lambda every: all_hooks(held_out, every),
    }
    plain = Training(examples, ())
    for name, make in sets.items():
        for every in (1, 10, 100):
            watched = Training(examples, make(every))
            bound = COST if every == 10 and name == "weights and gradients" else None
            rounds = settings.rounds(10 if bound else 3)
            seconds = interleave({"watched": watched.seconds, "plain": plain.seconds}, rounds)
            yield Comparison(
                "hooks",
                f"{name}, every {every} step{'s' if every > 1 else ''}",
                "fit without hooks",
                seconds["watched"],
                seconds["plain"],
                "overhead",
                bound,
                scale=(1 / EPOCHS, "per epoch"),
            )


def all_hooks(held_out: Data, every: int) -> Hooks:
    """Returns every hook there is, on the demo's probe batch and images."""
    images, labels = held_out
    probe, marks = images[:64], labels[:64]
    return (
        jv.watch.weights(every=every),
        jv.watch.gradients(every=every),
        jv.watch.updates(every=every),
        jv.watch.activations(probe, layers="relu_*", every=every),
        jv.watch.saliency(images[:4], target=labels[:4], every=every),
        jv.watch.input_gradients(probe, target=marks, every=every),
    )
