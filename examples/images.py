"""A convolutional network on 10,000 digits: trained with hooks on, evaluated, and explained.

python examples/images.py --logdir runs/images
"""

import argparse
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxviz as jv

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--logdir", type=Path, default=Path("runs/images"))
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--examples", type=int, default=8000, help="how many of the 8,000 training digits")
arguments = parser.parse_args()
print(f"device: {jax.devices()[0].device_kind} ({jax.default_backend()})")

(images, labels), (test_images, test_labels) = jv.data.mnist()
images, labels = images[: arguments.examples], labels[: arguments.examples]
batch_size = 64
module = jv.models.CNN(classes=10, pooling="stride", batch_norm=True)
steps = arguments.epochs * (len(images) // batch_size)
schedule = jv.train.cosine(8e-3, steps, warmup=steps * 3 // 10)
state = jv.train.create_state(
    module, images[:1], optimizer=jv.train.optimizer("adamw", schedule, weight_decay=0.01), key=jax.random.key(0)
)
print(jv.summary(state.model, images[:batch_size]))

state, history = jv.train.fit(
    state,
    (images, labels),
    loss="softmax_cross_entropy",
    metrics=("accuracy",),
    epochs=arguments.epochs,
    batch_size=batch_size,
    validation_data=(test_images, test_labels),
    augment=functools.partial(jv.data.shift, pixels=2),
    logdir=arguments.logdir,
    hooks=[
        jv.watch.weights(every=50),
        jv.watch.gradients(every=50),
        jv.watch.activations(test_images[:256], layers="relu_*", every=50),
        jv.watch.saliency(test_images[:4], target=test_labels[:4], every=100),
    ],
)

model = state.model
logits = jv.train.predict(model, test_images, batch_size=500)
predictions = np.asarray(logits).argmax(axis=1)
wrong = np.flatnonzero(predictions != test_labels)
print(f"accuracy on {len(test_labels)} held-out digits: {np.mean(predictions == test_labels):.2%}")

# Why these answers? Four right ones, and up to four wrong ones.
chosen = np.concatenate([np.flatnonzero(predictions == test_labels)[:4], wrong[:4]])
inputs, target = test_images[chosen], predictions[chosen]
smooth = jv.smooth(jv.gradient, samples=25, noise=0.2)
maps = {
    "saliency": jv.saliency(model, inputs, target=target),
    "SmoothGrad": smooth(model, inputs, target=target, key=jax.random.key(1)),
    "integrated gradients": jv.integrated_gradients(model, inputs, target=target),
    "Grad-CAM": jv.grad_cam(model, inputs, layer="relu_2", target=target),
}
gap = jv.completeness_gap(model, inputs, maps["integrated gradients"], target=target)
print(f"integrated gradients: completeness gap at most {jnp.abs(gap).max():.1e}")

titles, correct = jv.figures.answers(test_labels[chosen], predictions[chosen])
figure = jv.figures.explanations(inputs, maps, titles=titles, correct=correct, title="Why these answers?")
figure.savefig(arguments.logdir / "why.png")
with jv.tensorboard.Writer(arguments.logdir, start_step=int(state.step)) as writer:
    writer.figure("why", figure, int(state.step))
    writer.figure("confusion_matrix", jv.figures.confusion_matrix(test_labels, predictions), int(state.step))
print(f"look at it: {arguments.logdir / 'why.png'}, or jaxviz tensorboard {arguments.logdir}")
