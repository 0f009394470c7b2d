"""Why an attribution is not what it seems, in words: what `caution` warns of."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import finite, host
from jaxviz.attribution.baselines import baseline_like
from jaxviz.attribution.glance import TINY, Seen

Reason = tuple[str, str]  # a text, and the same without figures

# Of which examples are all zero, `(batch,)`, or `(1,)` for all of them together: why they are, if that is known.
Zero = Callable[[np.ndarray], Reason | None]


class Call(NamedTuple):
    """A call of a method.

    Attributes:
        name: the method.
        given: its arguments.
        accepted: the names of those that it takes.
        cuts: whether it takes away what is negative.
    """

    name: str
    given: Mapping[str, Any]
    accepted: frozenset[str]
    cuts: bool

    @property
    def diagnose(self) -> str:
        """The call that tells more."""
        of_baseline = ", baseline=..." if "baseline" in self.accepted else ""
        return f"jaxviz.diagnose(model, inputs, attribution, target=...{of_baseline})"

    @property
    def arguments(self) -> tuple[Any, Any, Any]:
        """Model, inputs as JAX arrays, and target."""
        return self.given["model"], jax.tree.map(jnp.asarray, self.given["inputs"]), self.given.get("target")


def told_which(examples: np.ndarray) -> str:
    """Of how many examples something is so, in words that stay the same."""
    return "every example" if examples.all() else "some example"


def not_finite(model: Any) -> str | None:
    """The first of the model's parameters that the host sees and that is not finite, in words."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(model.params)[0]:
        if host.sees(leaf) and finite.counts(leaf)[0]:
            return finite.told(f"params{jax.tree_util.keystr(path)}", leaf)
    return None


def of_zero(call: Call, zero: np.ndarray, known: list[Zero]) -> Reason:
    """Why the attribution of some examples is all zero, or what may be why."""
    baseline = _equal_to_baseline(call)
    if baseline is not None and zero.shape == baseline[0].shape[:1] and all(equal[zero].all() for equal in baseline):
        text = (
            f"{told_which(zero)} equals the baseline, so that its attribution is all zero; choose another baseline, one that has "
            "nothing of what is to be explained"
        )
        return text, text
    for explains in known:
        if (reason := explains(zero)) is not None:
            return f"the attribution of {told_which(zero)} is all zero: {reason[0]}", reason[1]
    if (reason := _saturated(call, zero)) is not None:
        return reason
    possible = [
        "the score does not depend on the inputs there",
        "all units of a layer are off",
        "a softmax, sigmoid or tanh is saturated (explain what enters it instead)",
    ]
    if call.cuts:
        possible.append("relu=True took away a map that is negative everywhere")
    text = (
        f"the attribution of {told_which(zero)} is all zero. It may be that {', '.join(possible[:-1])}, or {possible[-1]}; "
        f"{call.diagnose} tells which"
    )
    return text, text


def of_tiny(call: Call, seen: Seen) -> Reason | None:
    """Why attributions are tiny, where it is that their scores are saturated."""
    tiny = seen.largest <= TINY
    return _saturated(call, tiny) if tiny.any() else None


def of_one_input(call: Call, seen: Seen) -> Reason | None:
    """Why one of several inputs has no attribution in any example, or what may be why."""
    model, inputs, target = call.arguments
    if not seen.zeros or type(inputs) is not tuple or call.name.startswith("at_layer("):  # of a layer's arrays, maybe
        return None
    number = seen.zeros[0]
    head = f"the attribution of inputs[{number}] is all zero in every example"
    baseline = _equal_to_baseline(call)
    if baseline is not None and baseline[number].all():
        text = f"{head}, since it equals the baseline; choose another baseline, one that has nothing of what is to be explained"
    elif number in _ignored(model, inputs, target):
        text = f"{head}, since the score is not computed from it; leave it out, or explain another target"
    else:
        itself = "" if np.any(inputs[number]) else "it is 0 itself, which the method multiplies by, "
        may_be = f"the score does not depend on its values, {itself}or what it enters is off or saturated"
        text = f"{head}. It may be that {may_be}; {call.diagnose} tells which"
    return text, text


def _equal_to_baseline(call: Call) -> list[np.ndarray] | None:
    """Where each of the inputs is the baseline; None for methods without one, and of a layer's."""
    if "baseline" not in call.accepted or call.given.get("layer_baseline") is not None:
        return None
    inputs = call.arguments[1]
    baseline = baseline_like(call.name, call.given.get("baseline"), inputs)
    pairs = zip(jax.tree.leaves(inputs), jax.tree.leaves(baseline), strict=True)
    return [np.equal(np.asarray(leaf), np.asarray(start)) for leaf, start in pairs]


# `diagnosis` is built on methods, which are built on this: its parts are had where something is amiss, and not before.
def _ignored(model: Any, inputs: Any, target: Any) -> tuple[int, ...]:
    from jaxviz.attribution.diagnosis.dependence import ignored

    return ignored(model, inputs, target)


def _saturated(call: Call, examples: np.ndarray) -> Reason | None:
    """Says of which of some examples the score is at an end of what a softmax, sigmoid or tanh gives."""
    from jaxviz.attribution.diagnosis.saturation import of_score

    found = of_score(*call.arguments)
    if found is None:
        return None
    kind, is_saturated, slope = found
    is_saturated = is_saturated & examples
    if not is_saturated.any():
        return None
    ends = "-1 or 1" if kind == "tanh" else "0 or 1"
    steepest = slope[is_saturated].max()
    derivative = f"at most {steepest:.2g}" if steepest else "0 to rounding"
    before = "logit" if kind == "softmax" else f"value before the {kind}"
    return (
        f"the score of {told_which(is_saturated)} is the result of a {kind}, and at {ends} (its derivative there is "
        f"{derivative}), so that the attribution is of rounding and of what little is left. Explain the {before} instead: "
        f"model.until(layer), or a model without the {kind}",
        f"{kind} saturated",
    )
