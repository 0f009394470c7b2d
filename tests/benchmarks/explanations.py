"""(d) Integrated gradients and SmoothGrad against Captum: the same weights, inputs and work."""

import io
from collections.abc import Iterator
from contextlib import redirect_stdout

import attribution
import jax
import jax.numpy as jnp
from settings import Settings
from timing import Comparison

import jaxviz as jv

FASTER = {"mlp": 1.0, "cnn": 0.9, "deep_cnn": 0.9}  # integrated gradients' least speed, as a multiple of Captum's


def run(settings: Settings) -> Iterator[Comparison]:
    """Turns the figures of `attribution.py` into lines of the table."""
    with redirect_stdout(io.StringIO()):
        table = attribution.main(str(settings.python("torch")), rounds=settings.rounds(15), threads=settings.threads)
    settings.versions.update({name: table[name] for name in ("torch", "captum")})
    for case, figures in table["results"].items():
        network, method = case.split()
        evaluations = table["steps"] if method == "integrated_gradients" else attribution.SAMPLES
        setting = figures["captum_best_setting"]
        equal = f"; attributions equal to {figures['relative_difference']:.0e}" if "integrated" in method else ""
        yield Comparison(
            "attribution",
            case,
            "Captum",
            figures["jaxviz_seconds"],
            figures["captum_seconds"][setting],
            bound=FASTER[network] if method == "integrated_gradients" else None,
            work=(
                evaluations * 2 * _forward_flops(network),
                "FLOP",
            ),  # the way back to the input costs as much as the way there
            note=f"{case}: Captum's batches: {setting}, its faster setting{equal}",
        )


def _forward_flops(name: str) -> float:
    """Returns the floating-point operations of one evaluation of a network on its batch: its dense and convolution layers."""
    module, shape = attribution.NETWORKS[name]
    inputs = jnp.zeros(shape)
    model = jv.Model.from_linen(module, module.init(jax.random.key(0), inputs))
    return float(sum(layer.flops for layer in model.layers(inputs) if layer.kind in ("Dense", "Conv")))
