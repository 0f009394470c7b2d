"""`diagnose`: what happened, where an attribution does not say what it seems to."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.baselines import baseline_like
from jaxviz.attribution.cam.factorization import Factorization
from jaxviz.attribution.completeness import TOLERANCE
from jaxviz.attribution.diagnosis import dependence, measurements, numerics, results, saturation, vanishing
from jaxviz.attribution.diagnosis.case import Case
from jaxviz.attribution.diagnosis.findings import Diagnosis
from jaxviz.checks import check_number, given, is_traced
from jaxviz.model import Model
from jaxviz.targets import TargetLike

_NAME = "diagnose"


def diagnose(
    model: Model,
    inputs: Any,
    attribution: Any = None,
    *,
    target: TargetLike = None,
    baseline: Any = None,
    tolerance: float | None = TOLERANCE,
) -> Diagnosis:
    """Says in words why an attribution is not what it seems: all zero, not finite, incomplete, of a saturated score.

    Nothing is guessed: each finding has what was measured, for each example. This costs one evaluation of the model
    and one gradient, eight evaluations at random values of each input, which are the same each time, and one at the baseline if
    completeness is looked at. Where something is amiss (values that are not finite, a gradient of 0), it costs an evaluation and
    a gradient again, with all layers looked at.

    Args:
        model: the model.
        inputs: an array whose axis 0 is the batch, or a tuple of arrays; integers, too.
        attribution: what a method gave for them, a pytree of arrays with the examples as axis 0: of the shapes of inputs, of a
            layer (a dict of layers, too), a map, or a `Factorization`, by its maps. None looks at the model, the inputs and the
            score alone.
        target: as the method was given.
        baseline: as the method was given: a number (0 is what methods take by default), an array that broadcasts to inputs, or a
            tuple of these for several inputs. None if it has none: equality with it and completeness are then not looked at.
        tolerance: by how much the attribution may miss the difference of the score from that at the baseline, as a share of it;
            None, for methods that do not promise completeness, leaves this out.

    Returns:
        A `Diagnosis`: true if there are findings, and `ok` if there are none; it prints as text. The codes of findings are
         - `parameters_not_finite`, `activation_not_finite` (it names the first layer), `outputs_not_finite`, `score_not_finite`,
           `gradient_not_finite` (between which layers), `attribution_not_finite`.
         - `softmax_saturated`, `sigmoid_saturated`, `tanh_saturated`: of the outputs; it names the layer to explain instead.
         - `input_ignored`: the traced program does not compute the score from an input; `no_derivative`: it does by operations
           without derivative alone; `score_constant`: random inputs do not change it.
         - `gradient_zero`: exactly, with the layers between which it is lost, and what stops it there: units that are all off, a
           function that is saturated, weights that are 0.
         - `equals_baseline`, `partly_equals_baseline`: of at least half of an example's values.
         - `attribution_zero` (it names the findings that explain it), `attribution_constant`, `attribution_integers`.
         - `completeness_gap`.

    Raises:
        TypeError: if model is not a `Model`, inputs, attribution or baseline are no arrays, or something is traced by `jax.jit`.
        ValueError: if inputs are empty, have NaN or infinite values, target does not fit the outputs, an attribution has not the
            examples as axis 0, or tolerance is negative.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> def apply(params, inputs):
        ...     return jax.nn.softmax(jv.tag(inputs @ params, "logits"))
        >>> model = jv.Model.from_function(apply, jnp.array([[9.0, -9.0], [3.0, -2.0]]))
        >>> print(diagnose(model, jnp.array([[1.0, 0.5], [-0.1, 0.3]]), target=0))
        1 finding in 2 examples.
        <BLANKLINE>
        1. softmax_saturated: example 0
           The outputs are those of a softmax. The largest is at least 1 - 1.3e-09, so that no output's derivative
           with respect to a logit exceeds 1.25e-09: gradients nearly vanish, and attributions made of them are of
           rounding and of what little is left.
           → Explain the logit instead: model.until('logits'), with the same target.
        <BLANKLINE>
        Looked at: parameters, activations, outputs, score, gradient.
        Not looked at: attribution (none is given); baseline and completeness (no baseline is given; 0 is the default
        of the methods that have one).

    Note:
        Layers inside while loops, branches of conditionals and functions with a derivative rule of their own are not looked into.
        A softmax, sigmoid or tanh at the end is found in the traced program, and not where it stands inside a loop or a branch.

    References:
        M. Sundararajan, A. Taly, Q. Yan. Axiomatic Attribution for Deep Networks (saturation, completeness). ICML 2017.
        arXiv:1703.01365.
        P. Sturmfels, S. Lundberg, S.-I. Lee. Visualizing the Impact of Feature Attribution Baselines (inputs at the baseline).
        Distill, 2020. doi:10.23915/distill.00022.
    """
    if any(map(is_traced, jax.tree.leaves((model, inputs, attribution, baseline)))):
        raise TypeError(
            f"{_NAME}: model, inputs or attribution are traced; it looks at values, so call it outside of jax.jit"
        )
    if isinstance(attribution, Factorization):
        attribution = attribution.maps  # its concepts are of all examples together
    inputs, prepared = prepare(_NAME, model, inputs, target, differentiable=False)
    if tolerance is not None:
        check_number(_NAME, "tolerance", tolerance, 0)
    batch = jax.tree.leaves(inputs)[0].shape[0]
    _check_attribution(attribution, batch)
    start = None if baseline is None else baseline_like(_NAME, baseline, inputs)
    unseen = []
    places = measurements.places(model, inputs)
    first = () if any(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(inputs)) else places[:1]
    settings: Any = {"watched": places, "followed": first}
    try:
        jax.eval_shape(lambda *arrays: measurements.measure(*arrays, **settings), model, inputs, prepared)
    except (TypeError, ValueError, NotImplementedError) as error:
        # A model that has no gradient: methods that evaluate it alone explain it all the same.
        settings["followed"] = None
        unseen.append(f"gradient (the score cannot be differentiated: {str(error).strip().splitlines()[0]})")
    forward, backward = jax.device_get(measurements.measure(model, inputs, prepared, **settings))
    case = Case(model, inputs, prepared, batch, places, forward, backward)
    numerics.look(case)
    saturation.look(case)
    dependence.look(case)
    vanishing.look(case)
    seen = ["parameters", "activations", "outputs", "score", *(["gradient"] if backward is not None else [])]
    if start is not None:
        results.look_at_baseline(case, start)
        seen.append("baseline")
    if attribution is not None:
        results.look_at_attribution(case, attribution)
        seen.append("attribution")
        if start is not None and tolerance is not None and results.is_one_explanation(attribution):
            results.look_at_gap(case, attribution, start, float(tolerance))
            seen.append("completeness")
        elif start is not None:
            why = (
                "tolerance is None"
                if tolerance is None
                else "several layers may share one score, or have it each for itself"
            )
            unseen.append(f"completeness ({why})")
    else:
        unseen.append("attribution (none is given)")
    if start is None:
        unseen.append("baseline and completeness (no baseline is given; 0 is the default of the methods that have one)")
    if not places:
        unseen.append("activations (the model has no named layers; jaxviz.tag names values)")
        seen.remove("activations")
    return Diagnosis(tuple(case.findings), batch, tuple(seen), tuple(unseen))


def _check_attribution(attribution: Any, batch: int) -> None:
    leaves = jax.tree_util.tree_flatten_with_path(attribution)[0]
    if attribution is not None and not leaves:
        raise TypeError(f"{_NAME}: attribution must be an array or a pytree of arrays, got {given(attribution)}")
    for path, leaf in leaves:
        name = f"attribution{jax.tree_util.keystr(path)}"
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            raise TypeError(f"{_NAME}: {name} must be an array, got {given(leaf)}")
        if not (np.issubdtype(leaf.dtype, np.number) or leaf.dtype == bool or jnp.issubdtype(leaf.dtype, np.floating)):
            raise TypeError(f"{_NAME}: {name} must be numbers, got dtype {leaf.dtype}")
        if leaf.shape[:1] != (batch,) or 0 in leaf.shape:
            raise ValueError(
                f"{_NAME}: {name} must have the {batch} example{'s' * (batch != 1)} as axis 0, got shape {tuple(leaf.shape)}"
            )
