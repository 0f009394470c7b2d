"""Findings of the attribution itself, and of the baseline that it starts from."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.attribution.completeness import gap
from jaxviz.attribution.diagnosis.case import Case, in_short
from jaxviz.attribution.diagnosis.measurements import scores
from jaxviz.attribution.glance import largest_values

# The share of an example's values that are the baseline's, from which on it is told.
_MUCH = 0.5
# What an attribution of 0 may come from, among the findings.
_CAUSES = (
    "equals_baseline",
    "input_ignored",
    "no_derivative",
    "gradient_zero",
    "softmax_saturated",
    "sigmoid_saturated",
    "tanh_saturated",
    "score_constant",
)
_NOT_FINITE = (
    "parameters_not_finite",
    "activation_not_finite",
    "outputs_not_finite",
    "score_not_finite",
    "gradient_not_finite",
)


def look_at_baseline(case: Case, baseline: Any) -> None:
    """Notes which examples are the baseline, as a whole or for a large part."""
    pairs = zip(jax.tree.leaves(case.inputs), jax.tree.leaves(baseline), strict=True)
    same = [(np.asarray(leaf) == np.asarray(start)).reshape(case.batch, -1) for leaf, start in pairs]
    share = np.concatenate(same, axis=1).mean(axis=1)
    case.note(
        "equals_baseline",
        share == 1,
        "The inputs are the baseline, so that there is no difference of the score to be shared: methods that go from the "
        "baseline to the inputs, or put it in their place, attribute 0.",
        "Choose another baseline, one that has nothing of what is to be explained.",
        share=share,
    )
    much = (share >= _MUCH) & (share < 1)
    case.note(
        "partly_equals_baseline",
        much,
        f"{_percent(share[much])} of the inputs' values are the baseline's: methods that go from the baseline to the inputs, or "
        "put it in their place, attribute 0 to each of these by construction, whatever they mean to the model.",
        "If these values are to be explained (black pixels, say), choose another baseline, or average over several: "
        "expected_gradients, deep_shap.",
        share=share,
    )


def look_at_attribution(case: Case, attribution: Any) -> None:
    """Notes which attributions are not finite, zero, constant or cut to integers."""
    parts = {
        f"the attribution{jax.tree_util.keystr(path)}": np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(attribution)[0]
    }
    for name, leaf in parts.items():
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            case.note(
                "attribution_integers",
                np.ones(case.batch, bool),
                f"{_capital(name)} has dtype {leaf.dtype}: fractions are cut off.",
                "Keep the attribution as the method gives it, in floating point.",
                dtype=str(leaf.dtype),
            )
    whole = largest_values(list(parts.values()))
    _not_finite(case, whole)
    _zero(case, "the attribution", whole == 0)
    for name, leaf in parts.items():
        values = leaf.reshape(case.batch, -1).astype(np.float64)
        if len(parts) > 1:
            _zero(case, name, ~values.any(axis=1) & (whole != 0))
        constant = (values == values[:, :1]).all(axis=1) & (values[:, 0] != 0) & (values.shape[1] > 1)
        case.note(
            "attribution_constant",
            constant,
            f"{_capital(name)} has the same value at all of its {values.shape[1]} places, from "
            f"{in_short(values[constant].min(initial=np.inf))} to {in_short(values[constant].max(initial=-np.inf))} among these "
            "examples: it tells no place from another.",
            "Look whether it was averaged or filled on the way. A linear score has such a gradient; input_x_gradient tells its "
            "inputs apart.",
            value=values[:, 0],
        )


def look_at_gap(case: Case, attribution: Any, baseline: Any, tolerance: float) -> None:
    """Notes which attributions do not sum to the difference of the score, up to a share of it."""
    start = scores(case.model, baseline, case.target)
    found, sums, difference, share = gap(jax.tree.leaves(attribution), case.forward.scores, start, tolerance)
    worst = int(np.argmax(np.where(found, np.abs(sums - difference), -1)))
    case.note(
        "completeness_gap",
        found,
        f"The attributions do not sum to the score's difference from the baseline: the gap is {_percent(share[found])} of it, "
        f"{_percent(np.array([tolerance]))} are allowed. In example {worst} they sum to {in_short(sums[worst])}, and the score "
        f"differs by {in_short(difference[worst])}.",
        "Take more steps, or another quadrature ('gauss_legendre'), and give the baseline and target of the method here. Methods "
        "that do not promise completeness (a gradient, a class activation map, occlusion, lime) have a gap by nature: "
        "tolerance=None leaves it out.",
        sum=sums,
        difference=difference,
        share=share,
    )


def is_one_explanation(attribution: Any) -> bool:
    """Whether all parts of an attribution share one score; those of several layers may have it each for itself."""
    return not (isinstance(attribution, Mapping) and len(attribution) > 1)


def _not_finite(case: Case, largest: np.ndarray) -> None:
    bad = ~np.isfinite(largest)
    causes = [finding.code for finding in case.findings if finding.code in _NOT_FINITE]
    why = "The model, its score and its gradient are finite"
    if causes:
        why = f"This goes with what is told above: {', '.join(causes)}"
    case.note(
        "attribution_not_finite",
        bad,
        f"The attribution is NaN or infinite. {why}.",
        "Mend that first." if causes else "Look at the method's settings, its baseline above all.",
        causes=tuple(causes),
    )


def _zero(case: Case, name: str, zero: np.ndarray) -> None:
    """Notes what is zero, and names what was found of the same examples."""
    causes = {
        code: zero & case.within(code)
        for code in dict.fromkeys(finding.code for finding in case.findings)
        if code in _CAUSES and (zero & case.within(code)).any()
    }
    explained = np.any(list(causes.values()), axis=0) if causes else np.zeros(case.batch, bool)
    case.note(
        "attribution_zero",
        zero & explained,
        f"{_capital(name)} is 0 everywhere, which goes with what is told above: {', '.join(causes)}.",
        "See there.",
        causes=tuple(causes),
    )
    unexplained = zero & ~explained
    if not unexplained.any():
        return
    gradient = ""
    if case.backward is not None:
        largest = np.max([numbers.largest for numbers in case.backward.inputs], axis=0)[unexplained].min()
        if largest > 0:
            gradient = f" The gradient of the score is not 0 there; its largest value is at least {in_short(largest)}."
    case.note(
        "attribution_zero",
        unexplained,
        f"{_capital(name)} is 0 everywhere, and nothing else was found that leads to it.{gradient} So it is the method that gave "
        "0, or what was done with its result.",
        "A class activation map that is negative everywhere is 0 with relu=True: relu=False shows it. A method with a baseline "
        "gives 0 where the inputs are the baseline: give baseline=... here, too. lime gives 0 where the penalty of its lasso is "
        "more than the score changes by: a smaller strength, or surrogate='ridge'.",
        causes=(),
    )


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _percent(shares: np.ndarray) -> str:
    """Shares in percent, from the smallest to the largest."""
    texts = [f"{100 * share:.3g}%" for share in (shares.min(), shares.max())] if len(shares) else ["0%"]
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"
