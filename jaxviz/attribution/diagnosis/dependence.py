"""Findings of a score that does not depend on an input, in the program or in what was measured."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import views
from jaxviz.attribution.diagnosis.case import Case, in_short
from jaxviz.attribution.diagnosis.measurements import scores
from jaxviz.model import Model
from jaxviz.program._compat import Jaxpr, JaxprEqn
from jaxviz.program.dependence import reached
from jaxviz.targets import TargetLike, select

# Random inputs that the score is measured at: it may be the same at one of them by chance.
_DRAWS = 8
# Floating-point primitives whose derivative is 0 wherever it is.
_FLAT = frozenset({"ceil", "floor", "round", "sign", "stop_gradient"})


def ignored(model: Model, inputs: Any, target: TargetLike) -> tuple[int, ...]:
    """The numbers of the inputs that the traced program does not compute the score from."""
    program, entering = _entering(model, inputs, target)
    return tuple(number for number, enters in enumerate(entering) if not any(reached(program, enters)))


def _entering(model: Model, inputs: Any, target: TargetLike) -> tuple[Jaxpr, list[list[bool]]]:
    """The program of the score, and for each of the inputs which of its arguments it is."""
    program = views.program(model, inputs, lambda outputs: select(outputs, target)).root.jaxpr
    count, total = len(jax.tree.leaves(inputs)), len(program.invars)
    return program, [[index == number for index in range(total)] for number in range(total - count, total)]


def look(case: Case) -> None:
    """Notes which inputs the score does not depend on."""
    program, arguments = _entering(case.model, case.inputs, case.target)
    everyone = np.ones(case.batch, bool)
    for number, (leaf, entering) in enumerate(zip(jax.tree.leaves(case.inputs), arguments, strict=True)):
        name = _name(case.inputs, number)
        if not any(reached(program, entering)):
            case.note(
                "input_ignored",
                everyone,
                f"In the traced program, the score is not computed from {name}: whatever the values, it is the same.",
                "Explain another target, or leave this input out; its attribution is 0 by any method.",
                input=number,
            )
            continue
        flat: dict[str, None] = {}
        if jnp.issubdtype(leaf.dtype, jnp.floating) and not any(reached(program, entering, _passing(flat))):
            case.note(
                "no_derivative",
                everyone,
                f"The score is computed from {name} only through operations that have no derivative, or one that is 0: "
                f"{', '.join(flat)}. Its gradient is 0 whatever the values.",
                "Use a method that needs no gradient (occlusion, feature_ablation, kernel_shap), or explain a value before them.",
                input=number,
                operations=tuple(flat),
            )
        _measure(case, number, name)


def _name(inputs: Any, number: int) -> str:
    return f"inputs[{number}]" if type(inputs) is tuple else "the inputs"


def _passing(flat: dict[str, None]) -> Any:
    """Whether a derivative passes through an equation; what stops it is collected."""

    def passes(equation: JaxprEqn, result: Any) -> bool:
        name = equation.primitive.name
        if not jnp.issubdtype(result.aval.dtype, jnp.inexact):
            flat[f"{name} to {result.aval.dtype}" if name == "convert_element_type" else name] = None
            return False
        if name in _FLAT:
            flat[name] = None
            return False
        return True

    return passes


def _measure(case: Case, number: int, name: str) -> None:
    """Notes where the score stays the same at random values of one input."""
    leaves, structure = jax.tree.flatten(case.inputs)
    values = np.asarray(leaves[number])
    draw = _random(values)
    if draw is None:
        return
    now = np.asarray(case.forward.scores, np.float64)
    moved = np.zeros(case.batch)
    for seed in range(_DRAWS):
        leaves[number] = jnp.asarray(draw(np.random.default_rng(seed)))
        there = np.asarray(scores(case.model, jax.tree.unflatten(structure, leaves), case.target), np.float64)
        with np.errstate(invalid="ignore"):
            moved = np.maximum(moved, np.abs(there - now))  # NaN stays, and is no constant
    rounding = 4 * float(jnp.finfo(case.forward.scores.dtype).eps) * np.abs(now)
    constant = moved <= rounding
    case.note(
        "score_constant",
        constant,
        f"The score does not move: with {_DRAWS} random arrays in place of {name}, of the same mean and spread, it changed by at "
        f"most {in_short(moved[constant].max(initial=0))}, which is within rounding.",
        "Look for what holds it: units that are off or saturated, parameters that are 0, or a target that does not vary.",
        input=number,
        score=now,
        change=moved,
    )


def _random(values: np.ndarray) -> Any:
    """What draws random values like these, of the same shape: normal ones, or, of integers, from those that there are."""
    if jnp.issubdtype(values.dtype, jnp.floating):
        wide = values.astype(np.float64)
        # Of values that are all the same, the spread is taken to be their own size.
        spread = float(wide.std()) or max(float(np.abs(wide).max()), 1.0)
        return lambda random: (wide.mean() + spread * random.standard_normal(values.shape)).astype(values.dtype)
    choices = np.unique(values)
    return None if len(choices) < 2 else lambda random: random.choice(choices, values.shape).astype(values.dtype)
