"""(a) The article's program, XOR with 2-2-1 sigmoid units and Adam for 1000 epochs: Keras against jaxviz."""

import sys
from collections.abc import Iterator

import programs.xor as program
from settings import Settings
from timing import Comparison, interleave
from worker import HERE, whole_process

STEADY, WHOLE = 1000.0, 10.0  # how many times as fast as the article's Keras, which runs on TensorFlow
EPOCHS = 1000  # the article's
BACKENDS = {"tensorflow": ("Keras on TensorFlow", STEADY, WHOLE), "jax": ("Keras on JAX", None, None)}


def run(settings: Settings) -> Iterator[Comparison]:
    """Times steady training first, then the programs from start to end."""
    few = 10 if settings.quick else 50  # Keras' epochs per timing
    for backend, (peer, bound, _) in BACKENDS.items():
        with settings.worker(f"keras-{backend}", "peers/keras_article.py", "--serve", KERAS_BACKEND=backend) as keras:
            # Keras' epochs are timed in tens and reckoned up to the article's thousand, so that the turns are short.
            seconds = interleave(
                {
                    "jaxviz": lambda: program.train(EPOCHS)[0],
                    "keras": lambda k=keras: k.ask("train", epochs=few) * EPOCHS / few,
                },
                settings.rounds(8),
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
    for backend, (peer, _, bound) in BACKENDS.items():
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
            "article", f"whole process, {epochs} epochs", peer, seconds["jaxviz"], seconds["keras"], bound=bound
        )
