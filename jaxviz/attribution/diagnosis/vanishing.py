"""Findings of a gradient that is 0: how far it comes from the score, and what stops it there."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.attribution.diagnosis.case import Case
from jaxviz.attribution.diagnosis.functions import of_layer, of_outputs
from jaxviz.attribution.diagnosis.measurements import Numbers, Place
from jaxviz.attribution.diagnosis.saturation import between
from jaxviz.program import paths

# The ends of the way that the gradient goes, with the measured places between them.
_INPUTS, _OUTPUTS = "the inputs", "the outputs"
_ELSEWHERE = (
    "Explain another target or other examples, or use a method that does not look at one point alone: integrated_gradients with "
    "a baseline where the score is another, or occlusion."
)


def look(case: Case) -> None:
    """Notes which examples have a gradient of 0 with respect to all inputs, and where it ends.

    Of integers, which have no gradient, it is the first value of a layer that counts: their embeddings.
    """
    if case.backward is None:
        return
    told = {
        finding.measured["input"] for finding in case.findings if finding.code in ("input_ignored", "no_derivative")
    }
    leaves = jax.tree.leaves(case.inputs)
    floating = [number for number, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    start = [_zero(case.backward.inputs[number]) for number in floating if number not in told]
    if not floating and len(told) < len(leaves):
        start = [_zero(case.backward.activations[0] if case.places else case.backward.outputs)]
    if not start:
        return
    zero = np.all(start, axis=0) & ~case.within("activation_not_finite", "outputs_not_finite", "score_not_finite")
    if not zero.any():
        return
    chain: list[tuple[Any, np.ndarray]] = [
        (place, _zero(numbers)) for place, numbers in zip(case.places, case.gradients, strict=True)
    ]
    chain.append((_OUTPUTS, _zero(case.backward.outputs)))
    if floating:
        chain.insert(0, (_INPUTS, np.all(start, axis=0)))
    saturated = case.within("softmax_saturated", "sigmoid_saturated", "tanh_saturated")
    # In the order of execution, the first place that the gradient reaches; it is lost between there and the place before.
    alive = np.array([~is_zero for _, is_zero in chain])
    first = np.where(alive.any(axis=0), alive.argmax(axis=0), len(chain))
    for index in np.unique(first[zero]):
        examples = zero & (first == index)
        lost = chain[index - 1][0]
        reached = chain[index][0] if index < len(chain) else None
        why = _why(case, lost, reached, examples)
        way = (
            f"it comes from the score back to {reached}, and not to {lost}"
            if reached
            else "it does not reach the outputs"
        )
        case.note(
            "gradient_zero",
            examples,
            f"The gradient of the score is exactly 0 at {chain[0][0]}: {way}. {why[:1].upper()}{why[1:]}.",
            _ELSEWHERE
            if not (saturated & examples).any()
            else "See above: explain the value before the outputs instead.",
            between=(str(lost), str(reached) if reached else "the score"),
            reason=why,
        )


def _zero(numbers: Numbers) -> np.ndarray:
    return np.asarray((numbers.largest == 0) & (numbers.nan == 0) & (numbers.inf == 0))


def _why(case: Case, lost: Any, reached: Any, examples: np.ndarray) -> str:
    """What stops the gradient between two neighboring places, in words."""
    if reached is None:
        return "the target has a derivative of 0 at these outputs"
    before, after = _values(case, lost, examples), _values(case, reached, examples)
    if isinstance(reached, Place):
        layer = reached.key.layer.partition("#")[0]  # a further call has the same parameters
        params = paths.flatten(case.model.params)
        kernels = [leaf for path, leaf in params.items() if f"/{layer}/" in f"/{path}" and np.ndim(leaf) > 1]
        if kernels and not any(np.any(leaf) for leaf in kernels):
            return f"all weights of layer {layer!r} are 0"
    kind = of_layer(case.flow, reached.key) if isinstance(reached, Place) else of_outputs(case.flow)
    if before is not None and after is not None and (found := between(kind, before, after)):
        return found
    if after is not None and not after.any():
        return f"all {after[0].size} values of {reached} are 0"
    return "what is computed between the two has a derivative of 0 there; jaxviz.tag names values on the way"


def _values(case: Case, place: Any, examples: np.ndarray) -> np.ndarray | None:
    """The values at a place, of some examples; None where they are not one array with the examples as an axis."""
    if isinstance(place, Place):
        value = case.model.capture(case.inputs, place.key.layer, side=place.key.side)[place.key.layer]
        leaves, axis = jax.tree.leaves(value), place.axes[0] if place.axes else None
    else:
        leaves, axis = (jax.tree.leaves(case.inputs), 0) if place == _INPUTS else ([case.forward.values], 0)
    if len(leaves) != 1 or leaves[0] is None or axis is None:
        return None
    return np.moveaxis(np.asarray(leaves[0], np.float64), axis, 0)[examples]
