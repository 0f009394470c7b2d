"""Rules, layer forms and perturbations against Captum and Zennit: the same weights, inputs and work."""

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import attribution
import jax
import numpy as np
from settings import Settings
from timing import Comparison, interleave, seconds_of_each

import jaxviz as jv
import jaxviz.targets

# Sixteen rows of 64 features, and one, beside the networks of the section `attribution`.
TABLE = jv.models.MLP(features=(64, 64, 10))
NETWORKS = {**attribution.NETWORKS, "tabular": (TABLE, (16, 64)), "one row": (TABLE, (1, 64))}
KEY = jax.random.key(0)
SMALL, MANY, AT_LEAST = 4.0, 10.0, 1.0  # how many times as fast as the peer
# Calls of one timing, so many that they take some 20 ms: after a rest the first ones take longer than those of a loop.
IN_A_ROW = {"mlp": 200, "tabular": 100, "one row": 200, "cnn": 20, "deep_cnn": 10}
SLOW = {"kernel_shap": 20, "lime": 20}  # of which the other side takes up to half a second each


class Case(NamedTuple):
    """One method on one network: what both sides call it, and the least speed."""

    network: str
    method: str
    call: Callable[..., Any]
    bound: float
    samples: int = 0  # of the other side
    layer: int | None = None  # of the other side
    sampled: bool = False  # the two sides draw on their own


def cases() -> list[Case]:
    """Returns what is compared."""
    deterministic = {
        "gradient": jv.saliency,
        "guided_backprop": jv.guided_backprop,
        "deeplift": jv.deeplift,
        "lrp": functools.partial(jv.lrp, composite="EpsilonPlus"),
    }
    found = [
        Case(network, method, call, SMALL if network == "mlp" and method != "gradient" else AT_LEAST)
        for network in ("mlp", "cnn", "deep_cnn")
        for method, call in deterministic.items()
    ]
    layered = {"input_x_gradient": jv.input_x_gradient, "deeplift": jv.deeplift}
    for network, layer in (("mlp", "Dense_0"), ("cnn", "Conv_0"), ("deep_cnn", "Conv_0")):
        bound = SMALL if network == "mlp" else AT_LEAST
        found += [Case(network, name, jv.at_layer(call, layer), bound, layer=0) for name, call in layered.items()]
    occlusion = functools.partial(jv.occlusion, window=4, stride=2)
    found.append(Case("cnn", "occlusion", occlusion, AT_LEAST))
    sampled = {
        "shapley_sampling": (jv.shapley_sampling, 5),
        "kernel_shap": (jv.kernel_shap, 200),
        "lime": (jv.lime, 200),
    }
    for network in ("tabular", "one row"):
        found.append(Case(network, "feature_ablation", jv.feature_ablation, MANY))
        for name, (method, samples) in sampled.items():
            call = functools.partial(method, samples=samples, key=KEY)
            found.append(Case(network, name, call, MANY, samples, sampled=True))
    return found


def run(settings: Settings) -> Iterator[Comparison]:
    """Times each case in turns with Captum or Zennit, in the fastest of their batch sizes; deterministic ones must agree."""
    with tempfile.TemporaryDirectory() as folder:
        networks = attribution.stored(Path(folder), NETWORKS)
        with settings.worker("torch", "peers/methods.py", folder, str(settings.threads)) as torch:
            for case in cases():
                model, inputs, target = networks[case.network]
                call = lambda case=case, m=model, x=inputs, t=target: case.call(m, x, target=t)
                words = {"network": case.network, "method": case.method, "samples": case.samples, "layer": case.layer}
                count = SLOW.get(case.method, IN_A_ROW[case.network])
                calls = {"ours": lambda call=call, count=count: seconds_of_each(call, count)}
                plain = alone(case, model, inputs, target)
                if plain is not None:
                    calls["alone"] = lambda plain=plain, count=count: seconds_of_each(plain, count)
                calls |= {
                    "torch": lambda words=words, count=count: float(torch.ask("time", **words, count=count)),
                }
                seconds = interleave(calls, settings.rounds(7))
                name = f"{case.network} {case.method}{' at a layer' if case.layer is not None else ''}"
                note = "" if case.sampled else f"{name}: {_agreement(call(), torch.ask('values', **words))}"
                peer = "Zennit" if case.method == "lrp" else "Captum"
                yield Comparison("methods", name, peer, seconds["ours"], seconds["torch"], bound=case.bound, note=note)
                if plain is not None:
                    yield Comparison("methods", name, "JAX alone", seconds["ours"], seconds["alone"])


def alone(case: Case, model: jv.Model, inputs: Any, target: Any) -> Callable[[], Any] | None:
    """What the method computes as it stands, as one jitted function, nothing checked: of small networks and tables."""
    evaluations = {"feature_ablation": 1 + 64, "shapley_sampling": 2 + 5 * 63}
    if case.network == "mlp":
        derivative = jax.jit(jax.grad(lambda inputs: jv.targets.select(model(inputs), target).sum()))
        inputs = jax.numpy.asarray(inputs)
        return lambda: derivative(inputs)
    if case.network in ("tabular", "one row") and case.method in evaluations:
        rows = jax.numpy.tile(inputs, (evaluations[case.method], 1))
        return lambda: model(rows)
    return None


def _agreement(found: Any, theirs: Any) -> str:
    ours, other = np.asarray(found, np.float64), np.asarray(theirs, np.float64)
    difference = float(np.abs(ours - other).max() / np.abs(other).max())
    if not difference < 1e-2:  # a unit near zero may fall on the other side of its ReLU
        raise ValueError(f"the two sides differ by {difference:.3g} of the largest value")
    return f"equal to {difference:.0e}"
