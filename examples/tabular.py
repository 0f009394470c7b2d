"""Tumors, measured: a network learns which are malignant; what its answers rest on, by three methods, for one and for all.

pip install -e '.[data]' && python examples/tabular.py --logdir runs/tabular
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxviz as jv

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--logdir", type=Path, default=Path("runs/tabular"))
parser.add_argument("--epochs", type=int, default=40)
parser.add_argument("--samples", type=int, default=200, help="orders of the features that Shapley sampling draws")
arguments = parser.parse_args()
print(f"device: {jax.devices()[0].device_kind} ({jax.default_backend()})")

table = jv.data.table("breast_cancer")  # 569 tumors, 30 measures of the nuclei of their cells
labels = 1 - table.targets  # 1: malignant
train, test = jv.data.split((table.inputs, labels), 0.7, key=jax.random.key(0), stratify=labels)
scaling = jv.data.standardize(train[0])
train, test = ((scaling.apply(inputs), targets) for inputs, targets in (train, test))

optimizer = jv.train.optimizer("adamw", 3e-3, weight_decay=0.05)
state = jv.train.create_state(
    jv.models.MLP(features=(32, 32, 2), activation="gelu"), train[0][:1], optimizer=optimizer, key=jax.random.key(1)
)
state, _ = jv.train.fit(
    state,
    train,
    loss="softmax_cross_entropy",
    metrics=("accuracy",),
    epochs=arguments.epochs,
    validation_data=test,
    hooks=[jv.watch.weights(every=50)],
    logdir=arguments.logdir,
)
model, inputs = state.model, test[0]
shares = np.asarray(jax.nn.softmax(model(inputs))[:, 1])
right = (shares > 0.5) == test[1]
print(f"accuracy on {len(inputs)} held-out tumors: {right.mean():.1%}")

# The score is the evidence for "malignant"; the baseline, zeros, is the mean tumor of the training set.
evidence = lambda logits: logits[:, 1] - logits[:, 0]
scores, mean_tumor = np.asarray(evidence(model(inputs))), float(evidence(model(jnp.zeros_like(inputs[:1])))[0])
methods = {
    "integrated gradients": jv.integrated_gradients(model, inputs, target=evidence),
    "Shapley sampling": jv.shapley_sampling(
        model, inputs, target=evidence, samples=arguments.samples, key=jax.random.key(2)
    ),
    "DeepLIFT": jv.deeplift(model, inputs, target=evidence),
}
for name, attribution in methods.items():
    gap = jv.completeness_gap(model, inputs, attribution, target=evidence)
    distance = jnp.abs(attribution - methods["Shapley sampling"]).max()
    print(f"{name}: completeness gap at most {jnp.abs(gap).max():.1e}, at most {distance:.2f} from Shapley sampling")

arguments.logdir.mkdir(parents=True, exist_ok=True)
measures = scaling.invert(inputs)
surest, closest = int(np.argmax(shares)), int(np.argmin(np.abs(shares - 0.5)))
wrong = np.flatnonzero(~right)
with jv.tensorboard.Writer(arguments.logdir, start_step=int(state.step)) as writer:
    figures = {
        "all": jv.figures.beeswarm(
            methods["Shapley sampling"],
            measures,
            feature_names=table.feature_names,
            x_label="evidence for malignant (Shapley values, in logits)",
            title=f"{len(inputs)} held-out tumors",
        )
    }
    for kind, i in {"surest": surest, "closest": closest, **({"wrong": int(wrong[0])} if len(wrong) else {})}.items():
        truth = "malignant" if test[1][i] else "benign"
        figures[f"one_{kind}"] = jv.figures.attribution_bars(
            {name: attribution[i] for name, attribution in methods.items()},
            feature_names=table.feature_names,
            values=measures[i],
            most=10,
            x_label="evidence for malignant",
            # What the bars sum to leads from the one score to the other.
            title=f"{truth}; the network: malignant by {shares[i]:.1%}\n"
            f"evidence {mean_tumor:.2f} for the mean tumor, {scores[i]:.2f} for this one",
        )
    for name, figure in figures.items():
        figure.savefig(arguments.logdir / f"{name}.png")
        writer.figure(f"why/{name}", figure, int(state.step))
print(f"look at it: {arguments.logdir / 'all.png'}, or jaxviz tensorboard {arguments.logdir}")
