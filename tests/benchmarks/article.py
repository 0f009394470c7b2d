"""(a) The article's program, XOR with 2-2-1 sigmoid units and Adam for 1000 epochs: Keras against jaxviz."""

import sys
from collections.abc import Iterator

import programs.xor as program
from settings import Settings
from timing import Comparison, interleave
from worker import HERE, whole_process

STEADY, WHOLE = 1000.0, 10.0  # how many times as fast as the article's Keras, which runs on TensorFlow
EPOCHS = 1000  # the article's
# By back end: the name, the bounds, and how many of the thousand epochs one timing of warm training has: a thousand of
# TensorFlow's take a minute.
BACKENDS = {"tensorflow": ("Keras on TensorFlow", STEADY, WHOLE, 100), "jax": ("Keras on JAX", None, None, 1000)}


def run(settings: Settings) -> Iterator[Comparison]:
    """Times steady training first, then the programs from start to end."""
    for backend, (peer, bound, _, full) in BACKENDS.items():
        few = settings.amount(full)
        with settings.worker(f"keras-{backend}", "peers/keras_article.py", "--serve", KERAS_BACKEND=backend) as keras:
            seconds = interleave(
                {
                    "jaxviz": lambda: program.train(EPOCHS)[0],
                    "keras": lambda k=keras, n=few: k.ask("train", epochs=n) * EPOCHS / n,
                },
                settings.rounds(5),
            )
        yield Comparison(
            "article",
            "1000 epochs, steady",
            peer,
            seconds["jaxviz"],
            seconds["keras"],
            bound=bound,
            work=(EPOCHS, "epochs"),
        )
    epochs = EPOCHS // 10 if settings.quick else EPOCHS
    for backend, (peer, _, bound, _) in BACKENDS.items():
        script = [settings.python(f"keras-{backend}"), HERE / "peers/keras_article.py", "--epochs", str(epochs)]
        ours = [sys.executable, HERE / "programs/xor.py", str(epochs)]
        seconds = interleave(
            {
                "jaxviz": lambda c=ours: whole_process(c),
                "keras": lambda c=script, b=backend: whole_process(c, KERAS_BACKEND=b),
            },
            2,  # a minute each, and the answer is not close
            warmup=0,
        )
        yield Comparison(
            "article",
            f"whole process, {epochs} epochs",
            peer,
            seconds["jaxviz"],
            seconds["keras"],
            bound=bound if epochs == EPOCHS else None,
        )
