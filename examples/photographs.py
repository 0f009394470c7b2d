"""Real photographs, a network that knows a thousand things, and a dozen answers to the question why it said what it said.

pip install -e '.[vision]' && python examples/photographs.py --logdir runs/photographs
"""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import skimage.data

import jaxviz as jv
from jaxviz.models.pretrained import postprocess, preprocess

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--logdir", type=Path, default=Path("runs/photographs"))
parser.add_argument("--photographs", nargs="+", default=["chelsea", "coffee", "rocket"], help="names in skimage.data")
parser.add_argument("--samples", type=int, default=500, help="evaluations of the methods that mask the photograph")
parser.add_argument("--steps", type=int, default=20, help="of the methods that follow a path or add noise")
parser.add_argument("--methods", nargs="+", default=None, help="some of them; all by default")
parser.add_argument(
    "--layers",
    nargs="+",
    default=["stage1_block1/project_norm", "stage3_block0/project_norm", "stage4_block2/project_norm", "head_relu6"],
    help="asked further and further up, from edges to the thing; model.layers has all",
)
arguments = parser.parse_args()
print(f"device: {jax.devices()[0].device_kind} ({jax.default_backend()})")

names = jv.models.imagenet_classes()
model = jv.Model.from_linen(*jv.models.efficientnet_lite0())
inputs = np.stack([preprocess(getattr(skimage.data, name)()) for name in arguments.photographs])
pictures = postprocess(inputs)
shares = jax.nn.softmax(model.optimized()(inputs))
target = np.asarray(shares.argmax(axis=1))
titles = [f"{names[label].split(',')[0]} {share[label]:.0%}" for label, share in zip(target, shares, strict=True)]
print("answers:", "; ".join(titles))

key, samples, steps = jax.random.key(0), arguments.samples, arguments.steps
segments = jnp.stack([jv.superpixels(image, segments=60) for image in inputs])
masked: dict[str, Any] = {"target": target, "baseline": 0.0, "mask": segments, "chunk_size": 24}
# RISE takes a score that is small where nothing is seen: the share of the answer, not its logit.
share = lambda logits: jnp.take_along_axis(jax.nn.softmax(logits), target[:, None], axis=1)[:, 0]
methods = {
    "saliency": lambda: jv.saliency(model, inputs, target=target),
    "SmoothGrad": lambda: jv.smooth(jv.gradient, samples=steps)(model, inputs, target=target, key=key),
    "integrated gradients": lambda: jv.integrated_gradients(model, inputs, target=target, steps=steps),
    "guided backprop": lambda: jv.guided_backprop(model, inputs, target=target),
    "DeepLIFT": lambda: jv.deeplift(model, inputs, target=target),
    "LRP": lambda: jv.lrp(model, inputs, target=target, composite="EpsilonPlusFlat"),
    "Grad-CAM": lambda: jv.grad_cam(model, inputs, layer="head_relu6", target=target),
    "occlusion": lambda: jv.occlusion(
        model, inputs, target=target, window=(32, 32, 3), stride=(16, 16, 3), chunk_size=24
    ),
    "ablation of superpixels": lambda: jv.feature_ablation(model, inputs, **masked),
    "KernelSHAP": lambda: jv.kernel_shap(model, inputs, samples=samples, key=key, **masked),
    "LIME": lambda: jv.lime(model, inputs, samples=samples, key=key, **masked),
    "RISE": lambda: jv.rise(model, inputs, target=share, samples=samples, key=key, chunk_size=24),
}
maps = {}
for name in arguments.methods or methods:
    start = time.perf_counter()
    maps[name] = jax.block_until_ready(methods[name]())
    print(f"{name}: {time.perf_counter() - start:.1f} s, compilation included")
    if name in ("integrated gradients", "DeepLIFT"):
        gap = jnp.abs(jv.completeness_gap(model, inputs, maps[name], target=target))
        change = jnp.abs((model(inputs) - model(0 * inputs))[np.arange(len(target)), target])
        print(
            f"    completeness gap at most {gap.max():.1e}, {(gap / change).max():.1%} of what the score has changed by"
        )

arguments.logdir.mkdir(parents=True, exist_ok=True)
if "RISE" in maps:  # what is the same everywhere tells nothing
    maps["RISE less its mean"] = (rise := maps.pop("RISE")) - rise.mean(axis=(1, 2, 3), keepdims=True)
# Single pixels are too small to be seen here. The sum over a patch is the patch's attribution.
patches = {name: map.reshape(len(map), 56, 4, 56, 4, -1).sum(axis=(2, 4, 5)) for name, map in maps.items()}
title = "Why these answers? Each map in patches of 4 x 4 pixels"
figure = jv.figures.explanations(pictures, patches, titles=titles, title=title)
figure.savefig(arguments.logdir / "why.png")
figures = {"why": figure}
# Regions can be shown by what is in them: as opaque as their attribution is positive.
regions = ("Grad-CAM", "occlusion", "ablation of superpixels", "KernelSHAP", "LIME", "RISE less its mean")
if regional := {name: map for name, map in maps.items() if name in regions}:
    title = "What speaks for these answers? The photographs, as far as they do"
    figures["seen"] = jv.figures.explanations(
        pictures, regional, titles=titles, sign="positive", overlaid=True, mode="alpha", title=title
    )
    figures["seen"].savefig(arguments.logdir / "seen.png")
layered = {layer: jv.layer_cam(model, inputs, layer=layer, target=target) for layer in arguments.layers}
title = "Where does each layer see it? LayerCAM, from edges to the thing"
figures["layers"] = jv.figures.explanations(pictures, layered, titles=titles, overlaid=True, title=title)
figures["layers"].savefig(arguments.logdir / "layers.png")
with jv.tensorboard.Writer(arguments.logdir) as writer:
    for name, figure in figures.items():
        writer.figure(name, figure, 0)
    for name, photograph in zip(arguments.photographs, pictures, strict=True):
        writer.image(f"photograph/{name}", photograph, 0)
    for name, attribution in maps.items():
        writer.histogram(f"attribution/{name.replace(' ', '_')}", attribution, 0)
print(f"look at it: {arguments.logdir / 'why.png'}, or jaxviz tensorboard {arguments.logdir}")
