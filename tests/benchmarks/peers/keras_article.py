"""The article's program in Keras: XOR, two sigmoid units and one, Adam, binary cross-entropy, 1000 epochs.

As a program it runs the article from start to end (`--epochs`); with `--serve` it trains on request. The back end is that of the
environment variable KERAS_BACKEND.
"""

import argparse
import time

import keras
import numpy as np
from protocol import serve

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
Y = np.array([[0], [1], [1], [0]], "float32")


def build(seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.layers.Input((2,)),
            keras.layers.Dense(2, activation="sigmoid"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


def train(model, epochs):
    """Seconds of `fit`; with four examples an epoch is one step."""
    start = time.perf_counter()
    model.fit(X, Y, epochs=epochs, verbose=0)
    return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--serve", action="store_true")
    arguments = parser.parse_args()
    model = build()
    if arguments.serve:
        serve(
            {
                "train": lambda epochs: train(model, epochs),
                "version": lambda: {"keras": keras.version(), "backend": keras.backend.backend()},
            }
        )
    else:
        train(model, arguments.epochs)
        loss, accuracy = model.evaluate(X, Y, verbose=0)
        print(f"loss {loss:.4f}, accuracy {accuracy:.2f}")
        print(model.predict(np.array([[0.5, 0.5]], "float32"), verbose=0))
