"""Rules of your own, each in a few lines: for a function that the network calls, and for its layers.

    python examples/own_rule.py --logdir runs/own_rule

LRP and DeepLIFT know what to do with every operation of a program, so that any network has an explanation. Where you know better,
say so: here LRP is to share relevance out by the magnitude of what the inputs of a layer contribute, whatever the sign; and
DeepLIFT is to take the derivative of an activation, as libraries do that do not know it, which costs it its completeness.
"""

import argparse
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import jaxviz as jv
from jaxviz.attribution.rules import Composite, Epsilon, pairs

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--logdir", type=Path, default=Path("runs/own_rule"))
parser.add_argument("--epochs", type=int, default=5)
arguments = parser.parse_args()
print(f"device: {jax.devices()[0].device_kind} ({jax.default_backend()})")


@jax.jit  # a function with a name is one call of the program, for which there can be a rule
def signed_log(x):
    """An activation that nobody has heard of."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


class Network(nn.Module):
    """Two hidden layers."""

    @nn.compact
    def __call__(self, x):
        """Maps images to logits."""
        x = x.reshape(x.shape[0], -1)
        for _ in range(2):
            x = signed_log(nn.Dense(64)(x))
        return nn.Dense(10)(x)


def passing(layer, x, relevance):
    """LRP: what reaches the activation passes it unchanged."""
    return relevance


def by_magnitude(layer, x, relevance):
    """LRP: the share of an input in an output is |x w|, of the sum of these; nothing is lost to biases."""
    magnitude = lambda x: layer.positive(x) - layer.negative(x)
    sums, back = jax.vjp(magnitude, jnp.abs(x))
    return jnp.abs(x) * back(relevance / jnp.maximum(sums, 1e-9))[0]


def derivative(equation, operands, where):
    """DeepLIFT: the activation's multiplier is its derivative at the inputs, not its secant from the baseline to there."""
    (x,) = operands  # its values at the inputs and at the baseline
    return [pairs.pair(signed_log(x.value), signed_log(x.reference))]


(images, labels), (test_images, test_labels) = jv.data.mnist()
state = jv.train.create_state(Network(), images[:1], optimizer=jv.train.optimizer("adamw", 2e-3), key=jax.random.key(0))
state, _ = jv.train.fit(
    state,
    (images, labels),
    loss="softmax_cross_entropy",
    metrics=("accuracy",),
    epochs=arguments.epochs,
    batch_size=64,
    validation_data=(test_images, test_labels),
    hooks=[jv.watch.weights(every=100)],
    logdir=arguments.logdir,
)
model, inputs = state.model, test_images[:4]
target = np.asarray(model(inputs).argmax(axis=1))

composite = Composite(
    primitives={"signed_log()": passing},  # by the name of a function, or of a primitive such as "tanh"
    rules={"dense": by_magnitude},  # by kind of operation, or by the class of a module: "Dense"
    layers={"Dense_2": Epsilon(0.01)},  # by path or pattern: goes before the kind
)
maps = {
    "LRP": jv.lrp(model, inputs, target=target),
    "LRP, by magnitude": jv.lrp(model, inputs, target=target, composite=composite),
    "DeepLIFT": jv.deeplift(model, inputs, target=target),
    "DeepLIFT, by derivative": jv.deeplift(model, inputs, target=target, rules={"signed_log()": derivative}),
}
score = model(inputs)[np.arange(len(inputs)), target]
change = score - model(0 * inputs)[np.arange(len(inputs)), target]
np.set_printoptions(precision=2)
for name, attribution in maps.items():
    total = attribution.sum(axis=(1, 2, 3))
    promised = change if name.startswith("DeepLIFT") else score
    print(f"{name}: sums to {np.asarray(total)}, promised: {np.asarray(promised)}")

titles, correct = jv.figures.answers(test_labels[: len(inputs)], target)
figure = jv.figures.explanations(inputs, maps, titles=titles, correct=correct, title="The same network, other rules")
figure.savefig(arguments.logdir / "why.png")
with jv.tensorboard.Writer(arguments.logdir, start_step=int(state.step)) as writer:
    writer.figure("why", figure, int(state.step))
print(f"look at it: {arguments.logdir / 'why.png'}, or jaxviz tensorboard {arguments.logdir}")
