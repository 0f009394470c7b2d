"""A small Vision Transformer on 10,000 digits: where its class token looks, and which explanation its answers depend on.

python examples/attention.py --logdir runs/attention

Attention says where a layer looks, which need not be what the answer depends on. So each method's order of the patches is put to
the test: the patches that it calls most relevant are taken away first. The sooner the answer goes, the more faithful the method.
"""

import argparse
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import jaxviz as jv

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--logdir", type=Path, default=Path("runs/attention"))
parser.add_argument("--epochs", type=int, default=18)
parser.add_argument("--examples", type=int, default=8000, help="how many of the 8,000 training digits")
parser.add_argument("--depth", type=int, default=2, help="how many layers")
parser.add_argument("--tested", type=int, default=300, help="how many held-out digits patches are taken away from")
arguments = parser.parse_args()
print(f"device: {jax.devices()[0].device_kind} ({jax.default_backend()})")

SIDE, PATCHES, WIDTH, HEADS, DEPTH = 4, 49, 48, 4, arguments.depth  # 7 x 7 patches of 4 x 4 pixels


class VisionTransformer(nn.Module):
    """Patches are tokens; the class token, which stands before them, answers."""

    @nn.compact
    def __call__(self, images, keep=None):
        """The logits of images of which some patches are there: `keep`, `(batch, 49)`, 1 or 0."""
        tokens = nn.Conv(WIDTH, (SIDE, SIDE), (SIDE, SIDE))(images).reshape(len(images), PATCHES, WIDTH)
        tokens = jnp.pad(tokens, ((0, 0), (1, 0), (0, 0)))  # a class token: nothing, at a position of its own
        tokens = tokens + self.param("positions", nn.initializers.normal(0.5), (1, PATCHES + 1, WIDTH))
        # No token looks at a patch that was left out; the class token is always there.
        mask = None if keep is None else jnp.pad(keep > 0, ((0, 0), (1, 0)), constant_values=True)[:, None, None, :]
        for _ in range(DEPTH):
            tokens = tokens + nn.MultiHeadDotProductAttention(HEADS)(nn.LayerNorm()(tokens), mask=mask)
            tokens = tokens + nn.Dense(WIDTH)(nn.gelu(nn.Dense(2 * WIDTH)(nn.LayerNorm()(tokens))))
        return nn.Dense(10)(nn.LayerNorm()(tokens[:, 0]))


def leave_out(key, batch):
    """Moves digits, and of every other one leaves out up to half of the patches: the network learns to do without."""
    move, often, which = jax.random.split(key, 3)
    images, labels = jv.data.shift(move, batch, pixels=1)
    share = jax.random.uniform(often, (len(images), 1), minval=-0.5, maxval=0.5)  # below 0: none is left out
    keep = jax.random.uniform(which, (len(images), PATCHES)) > share
    return (images, keep.astype(images.dtype)), labels


(images, labels), (test_images, test_labels) = jv.data.mnist()
images, labels = images[: arguments.examples], labels[: arguments.examples]
steps = arguments.epochs * (len(images) // 32)
optimizer = jv.train.optimizer("adamw", jv.train.cosine(5e-3, steps, warmup=steps // 10), weight_decay=0.05)
state = jv.train.create_state(VisionTransformer(), images[:1], optimizer=optimizer, key=jax.random.key(0))
state, _ = jv.train.fit(
    state,
    (images, labels),
    loss="softmax_cross_entropy",
    metrics=("accuracy",),
    epochs=arguments.epochs,
    batch_size=32,
    validation_data=(test_images, test_labels),
    augment=leave_out,
    logdir=arguments.logdir,
)
model, step, count = state.model, int(state.step), arguments.tested
predictions = np.asarray(jv.train.predict(model, test_images, batch_size=500)).argmax(axis=1)
right = predictions == test_labels
print(f"accuracy on {len(right)} held-out digits: {right.mean():.2%}")

# Some digits to look at, right and wrong answers, and then those that are tested.
shown = np.concatenate([np.flatnonzero(right)[:3], np.flatnonzero(~right)[:3]])
chosen = np.concatenate([shown, np.arange(count)])
inputs, target = test_images[chosen], predictions[chosen]

# Every method gives one number for each patch, `(digits, 7, 7)`. The row of token 0 is what the class token takes from each.
weights = list(jv.attention_maps(model, inputs).values())[-1]  # (digits, heads, 50, 50), of the last layer
heads = weights[:, :, 0, 1:].reshape(len(inputs), HEADS, 7, 7)
row: dict[str, Any] = {"target": target, "token": 0, "upsample": False}
patch_sums = lambda map: map.reshape(len(map), 7, SIDE, 7, SIDE).sum(axis=(2, 4))
# A class activation map of what the last attention is given: of what comes after it, the class token alone is read.
cam: dict[str, Any] = {"target": target, "layer": f"LayerNorm_{2 * DEPTH - 2}", "relu": False, "upsample": False}
# `keep` is an input like others: patch by patch is put to 0, "left out". The image as a whole is group 0, which we do not want.
keep, groups = np.ones((len(inputs), PATCHES), np.float32), (np.zeros(inputs.shape[1:], int), 1 + np.arange(PATCHES))
maps = {
    "attention of the last layer": heads.mean(axis=1),
    "attention rollout": jv.attention_rollout(model, inputs, **row),
    "attention x gradient": jv.attention_x_gradient(model, inputs, **row),
    "Grad-CAM": jv.grad_cam(model, inputs, **cam),
    "HiRes-CAM": jv.hires_cam(model, inputs, **cam),
    "integrated gradients": patch_sums(jv.integrated_gradients(model, inputs, target=target)),
    "occlusion, black": patch_sums(jv.occlusion(model, inputs, target=target, window=SIDE)) / SIDE**2,
    "ablation, left out": jv.feature_ablation(model, (inputs, keep), target=target, mask=groups)[1].reshape(-1, 7, 7),
}
controls = {"ink (no method)": patch_sums(inputs), "random order": jax.random.uniform(jax.random.key(1), keep.shape)}

# Take away the most relevant patches first. What is left of the answer's probability depends on what "away" means.
pixels = lambda keep: jnp.repeat(jnp.repeat(keep.reshape(-1, 7, 7), SIDE, axis=1), SIDE, axis=2)[..., None]
ways = {
    "patches painted black": lambda keep: model(inputs[-count:] * pixels(keep)),
    "patches left out": lambda keep: model((inputs[-count:], keep)),
}
removed = np.array([0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 49])
curves: dict[str, dict[str, jax.Array]] = {way: {} for way in ways}
areas: dict[str, dict[str, tuple[float, float]]] = {way: {} for way in ways}
for name, relevance in (maps | controls).items():
    rank = jnp.argsort(jnp.argsort(-relevance[-count:].reshape(count, PATCHES), axis=1), axis=1)
    for way, outputs in ways.items():
        logits = jnp.stack([outputs((rank >= k).astype(inputs.dtype)) for k in removed])
        left = jnp.take_along_axis(jax.nn.softmax(logits), target[None, -count:, None], axis=2)[..., 0]
        curves[way][name] = left.mean(axis=1)
        area = jnp.trapezoid(left, removed, axis=0) / PATCHES
        areas[way][name] = float(area.mean()), float(area.std() / np.sqrt(count))
table = [f"| area under the curve: less is better | {' | '.join(ways)} |", "|---|---|---|"]
row_of = lambda name: " | ".join("{:.3f} ± {:.3f}".format(*areas[way][name]) for way in ways)
table += [f"| {name} | {row_of(name)} |" for name in maps | controls]
print("\n".join(table))
for way in ways:
    better = sum(areas[way][name] < areas[way]["ink (no method)"] for name in maps)
    print(f"{way}: best is {min(maps, key=areas[way].__getitem__)}; {better} of {len(maps)} do better than ink")

titles, correct = jv.figures.answers(test_labels[shown], target[: len(shown)])
look: dict[str, Any] = {"titles": titles, "correct": correct, "overlaid": True}
pictures, few = inputs[: len(shown)], {name: map[: len(shown)] for name, map in maps.items()}
shares = {f"head {i + 1}": heads[: len(shown), i] for i in range(HEADS)} | dict(list(few.items())[:2])
one: dict[str, Any] = {"scale": "shared", "sign": "positive", "label": "share of attention"}
axes: dict[str, Any] = {"x": removed, "x_label": "patches taken away", "y_label": "probability of the answer"}
figures = {
    "heads": jv.figures.explanations(pictures, shares, title="Where does the class token look?", **one, **look),
    "why": jv.figures.explanations(pictures, few, title="Why these answers?", **look),
    "deletion": jv.figures.line_chart(curves, controls=list(controls), title="Which maps are faithful?", **axes),
}
with jv.tensorboard.Writer(arguments.logdir, start_step=step) as writer:
    writer.text("attention/areas", "\n".join(table), step)
    for name, map in maps.items():
        writer.histogram(f"attribution/{name.replace(' ', '_')}", map, step)
    for name, figure in figures.items():
        figure.savefig(arguments.logdir / f"{name}.png")
        writer.figure(f"attention/{name}", figure, step)
print(f"look at it: {arguments.logdir / 'why.png'}, or jaxviz tensorboard {arguments.logdir}")
