"""The article's program by jaxviz: XOR, two sigmoid units and one, Adam, cross entropy, 1000 epochs of its four examples."""

import sys
import time

import jax
import jax.numpy as jnp
import optax

import jaxviz as jv

MODULE = jv.models.MLP(features=(2, 1), activation="sigmoid")  # the last sigmoid is in the loss
OPTIMIZER = optax.adam(1e-3)
LOSS, METRICS = "sigmoid_binary_cross_entropy", ("binary_accuracy",)


def examples():
    inputs, labels = jv.data.xor()
    return inputs, labels[:, None].astype(jnp.float32)


def train(epochs, seed=0):
    """Seconds of `fit`, and the trained state."""
    data = examples()
    state = jv.train.create_state(MODULE, data[0], optimizer=OPTIMIZER, key=jax.random.key(seed))
    start = time.perf_counter()
    state, _ = jv.train.fit(state, data, loss=LOSS, metrics=METRICS, epochs=epochs, batch_size=None, progress=False)
    jax.block_until_ready(state)
    return time.perf_counter() - start, state


if __name__ == "__main__":
    _, trained = train(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
    found = jv.train.evaluate(trained, examples(), loss=LOSS, metrics=METRICS)
    print(f"loss {found['loss']:.4f}, accuracy {found['binary_accuracy']:.2f}")
    print(jax.nn.sigmoid(trained.model(jnp.array([[0.5, 0.5]]))))
