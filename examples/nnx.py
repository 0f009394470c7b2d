"""An NNX network trained with `nnx.Optimizer`, watched in TensorBoard and explained.

python examples/nnx.py --logdir runs/nnx
"""

import argparse

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import jaxviz as jv

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--logdir", default="runs/nnx")
parser.add_argument("--steps", type=int, default=400)
arguments = parser.parse_args()
print(f"device: {jax.devices()[0].device_kind} ({jax.default_backend()})")


class Network(nnx.Module):
    """Two residual blocks in a list, so that the layers are blocks/0, blocks/1."""

    def __init__(self, rngs: nnx.Rngs):
        self.first = nnx.Linear(784, 64, rngs=rngs)
        self.blocks = nnx.List([nnx.Linear(64, 64, rngs=rngs) for _ in range(2)])
        self.norm = nnx.BatchNorm(64, rngs=rngs)
        self.head = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        """Maps images to logits."""
        x = nnx.relu(self.norm(self.first(x.reshape(x.shape[0], -1))))
        for number, block in enumerate(self.blocks):
            x = jv.tag(x + nnx.relu(block(x)), f"residual_{number}")
        return self.head(x)


(images, labels), (test_images, test_labels) = jv.data.mnist()
network = Network(nnx.Rngs(0))
optimizer = nnx.Optimizer(network, optax.adamw(2e-3), wrt=nnx.Param)

writer = jv.tensorboard.Writer(arguments.logdir)
hooks = [
    jv.watch.weights(every=50, layers="**/kernel"),
    jv.watch.gradients(every=50, layers="**/kernel"),
    jv.watch.activations(test_images[:256], layers=("residual_*", "norm"), every=50),
]
watcher = jv.watch.Watcher(writer, hooks)


@nnx.jit
def train_step(network, optimizer, step, images, labels):
    """The usual step of NNX; what is watched is measured inside it, on the device."""

    def loss_of(network):
        return optax.softmax_cross_entropy_with_integer_labels(network(images), labels).mean()

    loss, grads = nnx.value_and_grad(loss_of)(network)
    params = nnx.state(network, nnx.Param)
    measured = watcher.measure(jv.watch.StepView(step, params, grads, model=jv.Model.from_nnx(network)))
    optimizer.update(network, grads)
    return loss, measured


with writer, watcher:
    key = jax.random.key(1)
    for step in range(arguments.steps):
        chosen = jax.random.randint(jax.random.fold_in(key, step), (64,), 0, len(images))
        loss, measured = train_step(network, optimizer, step, images[chosen], labels[chosen])
        watcher.record(step, measured)
        if step % 100 == 0:
            writer.scalar("loss", loss, step)

model = jv.Model.from_nnx(network)  # a copy in evaluation mode: batch norm uses its running statistics
print(jv.summary(model, test_images[:1]))
share = jnp.mean(model(test_images).argmax(axis=1) == test_labels)
print(f"accuracy on {len(test_labels)} held-out digits: {share:.1%}")

attribution = jv.integrated_gradients(model, test_images[:8], target=test_labels[:8])
gap = jv.completeness_gap(model, test_images[:8], attribution, target=test_labels[:8])
print(f"integrated gradients of 8 digits, completeness gap at most {jnp.abs(gap).max():.1e}")
print(f"look at it: jaxviz tensorboard {arguments.logdir}")
