"""Makes `path_figures.npz`: what PAIR's `saliency` says of two networks of `captum_figures.npz`, and of regions of a photograph.

    pip install --no-deps saliency; pip install scikit-image
    python tests/reference/path_figures.py   # the tests need only the file

Weights, inputs, baselines and targets are those of that file; the networks run in float64, as functions that `saliency` calls.
"""

import importlib.metadata
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import skimage
from files import write
from saliency.core import blur_ig, guided_ig, xrai
from scipy import ndimage
from skimage import segmentation, transform

FOLDER = Path(__file__).parent
GUIDED = {  # steps, fraction, max_distance
    "default": (40, 0.25, 0.02),
    "free": (20, 0.1, 1.0),
    "one by one": (10, 0.0, 0.3),
    "all": (10, 1.0, 0.3),
    "straight": (10, 0.5, 0.0),
}
BLUR = {"narrow": (1.0, 20), "wide": (5.0, 30)}  # max_sigma, steps
AREAS = (1.0, 0.3)
RADIUS = 2
SMALLEST = 5


def networks():
    """The networks of the tests."""
    spec = importlib.util.spec_from_file_location("networks", FOLDER.parent / "attribution" / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def gradient_of(model, target):
    """The function that `saliency` calls: the gradients at a batch of points, all of one example's target."""
    function = jax.jit(jax.grad(lambda points: model(points)[:, target].sum()))

    def call(points, call_model_args=None, expected_keys=None):
        return {"INPUT_OUTPUT_GRADIENTS": np.asarray(function(jnp.asarray(points)))}

    return call


def rows(inputs, call):
    """What a method says of each example."""
    return np.stack([call(number, row) for number, row in enumerate(inputs)])


def network_figures(name, model, inputs, baseline, target):
    """Guided integrated gradients, and for images blur integrated gradients."""
    calls = [gradient_of(model, int(index)) for index in target]
    found = {}
    for kind, (steps, fraction, distance) in GUIDED.items():
        found[f"guided/{kind}"] = rows(
            inputs,
            lambda number, row, steps=steps, fraction=fraction, distance=distance: guided_ig.GuidedIG().GetMask(
                row, calls[number], None, baseline[number], steps, fraction, distance
            ),
        )
    if name != "cnn":
        return found
    cut = blur_ig.gaussian_blur
    for kind, (sigma, steps) in BLUR.items():
        for how, blur, distance in (("", whole, 1e-6), (" as it is", cut, 0.01)):
            blur_ig.gaussian_blur = blur
            found[f"blur/{kind}{how}"] = rows(
                inputs,
                lambda number, row, sigma=sigma, steps=steps, distance=distance: blur_ig.BlurIG().GetMask(
                    row, calls[number], max_sigma=sigma, steps=steps, grad_step=distance
                ),
            )
    return found


def whole(image, sigma):
    """The blur with a Gaussian that is not cut off."""
    return image if sigma == 0 else ndimage.gaussian_filter(image, [sigma, sigma, 0], mode="constant", truncate=12)


def region_figures():
    """Felzenszwalb's segments of a photograph, an attribution drawn at random, and what XRAI makes of them."""
    image = transform.resize(skimage.data.astronaut(), (48, 48), anti_aliasing=True) * 2 - 1
    labels = [
        segmentation.felzenszwalb(image, scale=scale, sigma=0.5, min_size=12).astype(np.uint8)
        for scale in (10, 30, 100)
    ]
    noise = np.random.default_rng(0).normal(size=(48, 48, 3))
    attribution = ndimage.gaussian_filter(noise, (2, 2, 0)).astype(np.float32)
    masks = [label == value for label in labels for value in np.unique(label)]
    found = {"labels": np.stack(labels), "attribution": attribution}
    for dilation in (0, RADIUS):
        widened = [xrai.dilation(mask, footprint=xrai.disk(dilation)) for mask in masks]
        for name, area, algorithm in (*((f"area {area}", area, "full") for area in AREAS), ("fast", 1.0, "fast")):
            settings = xrai.XRAIParameters(area_threshold=area, algorithm=algorithm)
            settings.experimental_params["min_pixel_diff"] = SMALLEST
            found[f"dilation {dilation}/{name}"] = xrai.XRAI().GetMask(
                image,
                None,
                segments=widened,
                base_attribution=attribution.astype(np.float64),
                extra_parameters=settings,
            )
    return found


def main():
    """Writes the file."""
    jax.config.update("jax_enable_x64", True)
    quantile = np.quantile  # NumPy 2.4 has no `interpolation` anymore
    np.quantile = lambda values, share, interpolation="linear": quantile(values, share, method=interpolation)
    versions = f"saliency {importlib.metadata.version('saliency')}, jax {jax.__version__}"
    arrays = {"versions": np.array(versions)}
    module = networks()
    with np.load(FOLDER / "captum_figures.npz") as stored:
        for name in ("mlp", "cnn"):
            figures = {key.removeprefix(f"{name}/"): stored[key] for key in stored.files if key.startswith(f"{name}/")}
            weights = {
                key.removeprefix("weights/"): value.astype(np.float64)
                for key, value in figures.items()
                if key.startswith("weights/")
            }
            inputs, baseline = (figures[key].astype(np.float64) for key in ("inputs", "baseline"))
            baseline = np.broadcast_to(baseline, inputs.shape)
            model = module._model(name, weights)
            assert np.abs(model(inputs) - figures["outputs"]).max() < 1e-5
            found = network_figures(name, model, inputs, baseline, figures["target"])
            arrays |= {f"{name}/{key}": value.astype(np.float32) for key, value in found.items()}
    arrays |= {f"regions/{key}": value for key, value in region_figures().items()}
    assert all(np.abs(value).max() > 0 for key, value in arrays.items() if key != "versions"), "zeros tell nothing"
    write("path_figures.npz", arrays)


if __name__ == "__main__":
    main()
