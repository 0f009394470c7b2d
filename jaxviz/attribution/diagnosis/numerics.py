"""Findings of NaN and infinite values: where the first of them arises, forward and backward."""

import numpy as np

from jaxviz.attribution.diagnosis.case import Case
from jaxviz.attribution.diagnosis.measurements import Numbers
from jaxviz.finite import in_words


def look(case: Case) -> None:
    """Notes where values that are not finite arise."""
    _parameters(case)
    # What is not finite in a layer, and reaches neither the score nor a gradient, does no harm.
    amiss = _bad(case.forward.outputs) | ~np.isfinite(case.forward.scores)
    if case.backward is not None:
        amiss |= np.any([_bad(numbers) for numbers in (*case.backward.inputs, *case.backward.activations)], axis=0)
    if amiss.any():
        _activations(case)
        _score(case)
    if case.backward is not None:
        _gradient(case)


def _parameters(case: Case) -> None:
    bad = {path: counts for path, counts in case.forward.params.items() if any(counts)}
    if bad:
        path, counts = next(iter(bad.items()))
        case.note(
            "parameters_not_finite",
            np.ones(case.batch, bool),
            f"{len(bad)} of the model's {len(case.forward.params)} arrays of parameters and state are not finite; {path!r} has "
            f"{in_words(*map(int, counts))}.",
            "Load parameters from before they went wrong; jaxviz.train.fit stops at the step where they do, and says where.",
            parameters=tuple(bad),
        )


def _activations(case: Case) -> None:
    forward = case.forward
    spoiled = _bad(forward.outputs) | ~np.isfinite(forward.scores)
    for index, place in enumerate(case.places):
        numbers = case.activations[index]
        # Infinite values may be meant, as in masked logits: they matter where the outputs are not finite either.
        bad = np.asarray(numbers.nan > 0) | (np.asarray(numbers.inf > 0) & spoiled)
        bad &= ~case.within("activation_not_finite")
        before = (
            f"{case.places[index - 1]} is computed before it, and finite" if index else "none is computed before it"
        )
        after = "not finite either" if spoiled[bad].any() else "finite all the same"
        case.note(
            "activation_not_finite",
            bad,
            f"The first value that is not finite is {place}, with {_told(numbers, bad)}; {before}. The score is {after}.",
            f"Look at what is computed there: model.until({place.key.layer!r}, side={place.key.side!r})(inputs).",
            layer=place.key.layer,
            side=place.key.side,
            nan=numbers.nan,
            inf=numbers.inf,
        )


def _score(case: Case) -> None:
    forward = case.forward
    known = case.within("activation_not_finite")
    bad = _bad(forward.outputs) & ~known
    where = f"after {case.places[-1]}, the last that is named" if case.places else "in a model that has no named layers"
    case.note(
        "outputs_not_finite",
        bad,
        f"The outputs have {_told(forward.outputs, bad)}, while the values of all layers are finite: they arise {where}.",
        "Name values on the way, with jaxviz.tag(value, name), and diagnose again.",
        nan=forward.outputs.nan,
        inf=forward.outputs.inf,
    )
    case.note(
        "score_not_finite",
        ~np.isfinite(forward.scores) & ~_bad(forward.outputs) & ~known,
        "The score is not finite, while the outputs are: the target makes it so.",
        "Look at the target: the logarithm of a probability that is 0, for instance, is infinite.",
        score=forward.scores,
    )


def _gradient(case: Case) -> None:
    assert case.backward is not None
    bad = np.any([_bad(numbers) for numbers in (*case.backward.inputs, *case.backward.activations)], axis=0)
    bad &= ~case.within("activation_not_finite", "outputs_not_finite", "score_not_finite")
    if not bad.any():
        return
    # Gradients come from the end: the last in the order of execution is the first that is hit.
    chain = [("the inputs", case.backward.inputs[0]), ("the outputs", case.backward.outputs), ("the score", None)]
    chain[1:1] = [(str(place), numbers) for place, numbers in zip(case.places, case.gradients, strict=True)]
    hit = max((i for i, (_, numbers) in enumerate(chain[:-1]) if numbers and _bad(numbers)[bad].any()), default=0)
    (name, numbers), after = chain[hit], chain[hit + 1][0]
    case.note(
        "gradient_not_finite",
        bad,
        f"The score is finite, and its gradient with respect to the inputs is not. Going back from the score, it becomes so "
        f"between {after} and {name}, where it has {_told(numbers, bad) if numbers else ''}.",
        "Look there for what has no finite derivative: a square root, norm or logarithm at 0, or a division by 0 on the side of "
        "jnp.where that is not chosen.",
        between=(name, after),
    )


def _bad(numbers: Numbers) -> np.ndarray:
    return np.asarray((numbers.nan > 0) | (numbers.inf > 0))


def _told(numbers: Numbers, examples: np.ndarray) -> str:
    return in_words(int(numbers.nan[examples].sum()), int(numbers.inf[examples].sum()))
