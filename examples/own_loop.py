"""Three added lines in a training loop of your own: plain flax and optax, watched in TensorBoard.

    python examples/own_loop.py --logdir runs/own_loop

The lines that jaxviz adds are marked with "<-- jaxviz".
"""

import argparse

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.training.train_state import TrainState

import jaxviz as jv

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--logdir", default="runs/own_loop")
parser.add_argument("--steps", type=int, default=400)
arguments = parser.parse_args()
print(f"device: {jax.devices()[0].device_kind} ({jax.default_backend()})")


class Network(nn.Module):
    """Nothing in the network knows of jaxviz."""

    @nn.compact
    def __call__(self, x):
        """Maps images to logits."""
        x = nn.relu(nn.Dense(64)(x.reshape(x.shape[0], -1)))
        return nn.Dense(10)(nn.relu(nn.Dense(64)(x)))


(images, labels), (test_images, test_labels) = jv.data.mnist()
network = Network()
params = network.init(jax.random.key(0), images[:1])["params"]
state = TrainState.create(apply_fn=network.apply, params=params, tx=optax.adamw(2e-3))

writer = jv.tensorboard.Writer(arguments.logdir)
hooks = [jv.watch.weights(every=50), jv.watch.gradients(every=50), jv.watch.updates(every=50)]
watcher = jv.watch.Watcher(writer, hooks)  # <-- jaxviz


@jax.jit
def train_step(state, batch):
    """The usual step; what is watched is measured inside it, on the device."""
    images, labels = batch

    def loss_of(params):
        logits = state.apply_fn({"params": params}, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    loss, grads = jax.value_and_grad(loss_of)(state.params)
    updates, opt_state = state.tx.update(grads, state.opt_state, state.params)
    measured = watcher.measure(jv.watch.StepView(state.step, state.params, grads, updates))  # <-- jaxviz
    state = state.replace(step=state.step + 1, params=optax.apply_updates(state.params, updates), opt_state=opt_state)
    return state, loss, measured


@jax.jit
def accuracy(params, images, labels):
    """The share of right answers."""
    return jnp.mean(network.apply({"params": params}, images).argmax(axis=1) == labels)


with writer, watcher:
    key = jax.random.key(1)
    for step in range(arguments.steps):
        chosen = jax.random.randint(jax.random.fold_in(key, step), (64,), 0, len(images))
        state, loss, measured = train_step(state, (images[chosen], labels[chosen]))
        watcher.record(step, measured)  # <-- jaxviz
        if step % 100 == 0:
            writer.scalar("loss", loss, step)

share = accuracy(state.params, test_images, test_labels)
print(f"accuracy on {len(test_labels)} held-out digits: {share:.1%}")

# Afterwards, why did it answer that? Any trained network is explained as it is.
model = jv.Model.from_linen(network, {"params": state.params})
attribution = jv.integrated_gradients(model, test_images[:8], target=test_labels[:8])
gap = jv.completeness_gap(model, test_images[:8], attribution, target=test_labels[:8])
print(f"integrated gradients of 8 digits, completeness gap at most {jnp.abs(gap).max():.1e}")
print(f"look at it: jaxviz tensorboard {arguments.logdir}")
