"""A digit read line by line, as a scanner would: three curves, a recurrent network, and which moments made its answer.

    python examples/time_series.py --logdir runs/time_series

Of each of the 28 lines of a digit the network is told how much ink there is, and where it begins and ends. These are real
series, with gaps: a line without ink has no edges.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxviz as jv

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--logdir", type=Path, default=Path("runs/time_series"))
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--examples", type=int, default=8000, help="how many of the 8,000 training digits")
arguments = parser.parse_args()
print(f"device: {jax.devices()[0].device_kind} ({jax.default_backend()})")


def scanned(images):
    """Images `(n, 28, 28, 1)` as series `(n, 28, 3)`: ink, left edge, right edge; NaN where a line has no ink."""
    lines = images[..., 0]
    dark = lines > 0.5
    left, right = dark.argmax(axis=2), 27 - dark[:, :, ::-1].argmax(axis=2)
    edges = np.where(dark.any(axis=2)[..., None], np.stack([left, right], axis=2), np.nan)
    return np.concatenate([lines.sum(axis=2, keepdims=True), edges], axis=2)


def scaled(series):
    """What the network is given: about one unit of spread, 0 where there is nothing."""
    return np.nan_to_num((series - [0.0, 14.0, 14.0]) / [4.0, 4.0, 4.0]).astype(np.float32)


(images, labels), (test_images, test_labels) = jv.data.mnist()
images, labels = images[: arguments.examples], labels[: arguments.examples]
series, test_series = scanned(images), scanned(test_images)
batch_size = 64
schedule = jv.train.cosine(1e-2, arguments.epochs * (len(images) // batch_size))
state = jv.train.create_state(
    jv.models.RecurrentClassifier(classes=10, cell="gru", features=48),
    scaled(series[:1]),
    optimizer=jv.train.optimizer("adamw", schedule, weight_decay=0.01),
    key=jax.random.key(0),
)
state, _ = jv.train.fit(
    state,
    (scaled(series), labels),
    loss="softmax_cross_entropy",
    metrics=("accuracy",),
    epochs=arguments.epochs,
    batch_size=batch_size,
    validation_data=(scaled(test_series), test_labels),
    hooks=[jv.watch.weights(every=100)],
    logdir=arguments.logdir,
)

model = state.model
shares = np.asarray(jax.nn.softmax(model(scaled(test_series))))
predictions = shares.argmax(axis=1)
right = predictions == test_labels
print(f"accuracy on {len(test_labels)} held-out digits: {right.mean():.1%}")

# Two right answers, and the surest wrong one: what speaks for it, and against the next best answer?
wrong = np.flatnonzero(~right)
chosen = np.concatenate([np.flatnonzero(right)[:2], wrong[np.argsort(-shares[wrong].max(axis=1))][:1]])
inputs, target = scaled(test_series[chosen]), predictions[chosen]
second = np.argsort(shares[chosen], axis=1)[:, -2]
margin = lambda logits: logits[np.arange(len(chosen)), target] - logits[np.arange(len(chosen)), second]
methods = {
    "integrated gradients": jv.integrated_gradients(model, inputs, target=margin, steps=100),
    "DeepLIFT": jv.deeplift(model, inputs, target=margin),
    "occlusion of 3 lines": jv.occlusion(model, inputs, target=margin, window=(3, 1)),
}
for name in ("integrated gradients", "DeepLIFT"):
    gap = jv.completeness_gap(model, inputs, methods[name], target=margin)
    print(f"{name}: completeness gap at most {jnp.abs(gap).max():.1e}")

arguments.logdir.mkdir(parents=True, exist_ok=True)
names = ("ink", "left edge", "right edge")
with jv.tensorboard.Writer(arguments.logdir, start_step=int(state.step)) as writer:
    for row, i in enumerate(chosen):
        figure = jv.figures.time_series(
            test_series[i],
            {name: attribution[row] for name, attribution in methods.items()},
            channel_names=names,
            x_label="line of the image",
            title=f"a {test_labels[i]}, read as {target[row]} ({shares[i].max():.0%}): why not {second[row]}?",
        )
        figure.savefig(arguments.logdir / f"why_{row}.png")
        writer.figure(f"why/{row}", figure, int(state.step))
        writer.image(f"digit/{row}", test_images[i], int(state.step))
print(f"look at it: {arguments.logdir / 'why_0.png'}, or jaxviz tensorboard {arguments.logdir}")
