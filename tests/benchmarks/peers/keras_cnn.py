"""The demo's network in Keras, trained on request; the back end is that of KERAS_BACKEND."""

import sys
import time

import keras
import numpy as np
from protocol import serve


class Session:
    """The data and the network."""

    def __init__(self, file):
        arrays = np.load(file)
        self.x, self.y = arrays["x"], arrays["y"]
        self.model = None

    def build(self, channels, hidden, kernel, classes, batch_norm, pooling, learning_rate):
        """The same layers in the same order; returns how many numbers are trained."""
        layers = keras.layers
        keras.utils.set_random_seed(0)
        stack = [layers.Input(self.x.shape[1:])]
        for width in channels:
            stride = 2 if pooling == "stride" else 1
            stack.append(layers.Conv2D(width, kernel, strides=stride, padding="same", use_bias=not batch_norm))
            if batch_norm:
                stack.append(layers.BatchNormalization(epsilon=1e-5))
            stack.append(layers.Activation("relu"))
            if pooling == "max":
                stack.append(layers.MaxPooling2D(2))
        stack.append(layers.Flatten())
        stack += [layers.Dense(units, activation="relu") for units in hidden]
        self.model = keras.Sequential([*stack, layers.Dense(classes)])
        self.model.compile(
            optimizer=keras.optimizers.Adam(learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return sum(int(np.prod(weight.shape)) for weight in self.model.trainable_weights)

    def epochs(self, batch_size, count):
        """Seconds of so many shuffled epochs, and the loss of the last."""
        start = time.perf_counter()
        history = self.model.fit(self.x, self.y, batch_size=batch_size, epochs=count, verbose=0)
        return time.perf_counter() - start, history.history["loss"][-1]


if __name__ == "__main__":
    session = Session(sys.argv[1])
    serve(
        {
            "build": session.build,
            "epochs": session.epochs,
            "version": lambda: {"keras": keras.version(), "backend": keras.backend.backend()},
        }
    )
