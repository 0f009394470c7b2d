"""Layer-wise relevance propagation: the score is handed back from layer to layer, down to the inputs."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.cuts import named
from jaxviz.attribution.rules.assignment import Assignment
from jaxviz.attribution.rules.boxes import tally, warn_of
from jaxviz.attribution.rules.composites import Composite, as_composite
from jaxviz.attribution.rules.names import check_composite
from jaxviz.attribution.rules.pending import Gauge
from jaxviz.attribution.rules.propagation import propagation
from jaxviz.attribution.rules.relevance import Epsilon
from jaxviz.attribution.rules.score import relevance_score
from jaxviz.compilation import jit
from jaxviz.inputs import check_layer
from jaxviz.model import Model
from jaxviz.program import Rules
from jaxviz.targets import Target, TargetLike

_EPSILON = Epsilon()


@cautious
def lrp(
    model: Model,
    inputs: Any,
    *,
    target: TargetLike = None,
    composite: Any = _EPSILON,
    layer: str | None = None,
    side: str = "output",
) -> Any:
    """Layer-wise relevance propagation: the score is shared out among the inputs of each layer, from the last to the first.

    `R_i = sum_j (share of input i in z_j) R_j` for each layer `z = W x + b`, from `R = score`; a rule says what a share is

    Args:
        model: the model. Whatever computes it (modules, functions, a layer called twice, a sum without a module, a scan), rules
            are applied to the operations of its program, see the note.
        inputs: a floating-point array whose axis 0 is the batch, or a tuple of such arrays. With `layer`, integers too (token
            ids, say, and the layer of their embedding); then only what comes from the layer depends on the inputs.
        target: what is explained, as for `gradient`.
        composite: which rule is for which layer: one rule for all convolutions and dense layers (`Epsilon()`, `Gamma(0.5)`, ...),
            the name of a preset ("EpsilonPlus", "EpsilonPlusFlat", "EpsilonAlpha2Beta1", "EpsilonAlpha2Beta1Flat",
            "ExcitationBackprop", "DeepTaylor"; `epsilon_gamma_box(low, high)` needs its bounds), or a `Composite`, for rules by
            kind of layer, by path, for the first layer, and for primitives; `epsilon_plus().extended(...)` is a preset with more
            rules. All are in `jaxviz.attribution.rules`. Numbers in rules are data: another epsilon is no new program.
        layer: None for the relevance of the inputs, or the path of a layer for the relevance of its value. In contrast to an
            explanation of `model.since(layer, inputs)`, first layers stay first, and what bypasses the layer has its share.
        side: `"output"` or `"input"` of the layer.

    Returns:
        The relevance, of the structure, shapes and dtypes of inputs (of the layer's value). Its sum is the score, but for what
        biases and stabilizers absorb and what rules that are not conservative (softmax) add; `relevance_report` tells where.

    Raises:
        TypeError, ValueError: as for `gradient`; if composite is none, or has a rule for a layer, kind of layer or primitive that
            neither this model nor any other has, or for a layer or class of modules of which no operation can have one (a batch
            norm is part of the linear layer before it); if a layer is not found.
        ValueError: if a primitive that depends on the inputs has no rule; the message says how to give one.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs @ params, jnp.array([[2.0], [-3.0]]))
        >>> lrp(model, jnp.array([[2.0, 1.0]]))  # of 2 * 2 - 3 * 1
        Array([[ 3.9999962, -2.9999971]], dtype=float32)
        >>> from jaxviz.attribution.rules import Composite
        >>> def alike(layer, x, relevance):  # a rule of one's own: all inputs get the same
        ...     return jnp.ones_like(x) * relevance.sum(axis=1, keepdims=True) / x.shape[1]
        >>> lrp(model, jnp.array([[2.0, 1.0]]), composite=Composite(rules={"dense": alike}))
        Array([[0.5, 0.5]], dtype=float32)
        >>> lrp(model, jnp.array([[2.0, 1.0]]), composite=Composite(primitives={"dot_general": alike}))
        Array([[0.5, 0.5]], dtype=float32)

    Note:
        How relevance goes through the operations of a program:

         - A convolution or matrix product with constants and what scales and shifts its outputs afterwards (bias, batch
           normalization) is one linear layer with one rule; so batch normalization needs no canonizer.
         - Sums, means and average pooling: `Norm`, the epsilon rule. Sums of two values that depend on the inputs (residual
           connections): by contribution, `R_1 = x_1 / (x_1 + x_2) R`.
         - Elementwise functions, scales and shifts that follow no linear layer: relevance passes.
         - Maxima: the winner takes all. What moves values (reshape, slice, concatenation): relevance moves back.
         - Products of two values that depend on the inputs: half each; matrix products likewise, by contribution (AttnLRP).
           Softmax: `R_i = x_i (R_i - s_i sum_j R_j)` (AttnLRP). Both are recognized in the program: softmax as
           `exp(x) / sum(exp(x))`.
         - Divisions by a value that depends on the inputs, and products with what is made by `rsqrt` or a reciprocal
           (normalization by layer, group or root mean square): the statistic counts as a constant (the identity rule of
           AttnLRP); `x - mean(x)` and what scales and shifts it are one linear layer with the rule `Norm`.

        Relevance starts as the score, and is proportional to what it starts from: for relevance that starts from 1, as Zennit's
        does with a one-hot `attr_output`, divide the attribution by the score, or give a target that does,
        `lambda outputs: outputs[:, 3] / jax.lax.stop_gradient(outputs[:, 3])`. Of Zennit's other settings, `zero_params="bias"`
        is `bias=False` of a rule or preset, a function as a stabilizer the same, or a `Stabilizer`, and `layer_map`, `first_map`
        and mixed composites are `Composite.extended`.

        The result equals Zennit's wherever Zennit is right. Differences: a sum that no module makes hands its relevance twice
        there, once to each side, unless the model is rewritten; functional activations get their gradients there; what its
        canonizer leaves of a batch norm that it merged divides by sqrt(1 + eps).

    References:
        S. Bach et al. On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation.
        PLOS ONE 10(7), 2015. G. Montavon, A. Binder, S. Lapuschkin, W. Samek, K.-R. Müller. Layer-Wise Relevance Propagation: An
        Overview. Explainable AI, LNCS 11700, 2019. R. Achtibat et al. AttnLRP: Attention-Aware Layer-Wise Relevance Propagation
        for Transformers. ICML 2024. arXiv:2402.05602. C. J. Anders, D. Neumann, W. Samek, K.-R. Müller, S. Lapuschkin. Software
        for Dataset-wide XAI: From Local Explanations to Global Insights with Zennit, CoRelAy, and ViRelAy. 2021.
        arXiv:2106.13200.
    """
    check_layer("lrp", "" if layer is None else layer, side)
    inputs, prepared = prepare("lrp", model, inputs, target, differentiable=layer is None)
    composite = as_composite("lrp", composite)
    relevance, counts = _lrp(model, inputs, prepared, composite, layer, side)
    warn_of("lrp", composite, counts)
    return relevance


@jit(static_argnames=("layer", "side"))
def _lrp(model: Model, inputs: Any, target: Target, composite: Composite, layer: str | None, side: str) -> Any:
    kinds = check_composite("lrp", model, inputs, target, composite)
    usages = []

    def rules(tally: Any) -> Rules:
        assignment = Assignment("lrp", composite, tally=tally)
        usages.append(assignment.usage)
        return propagation(assignment)

    if layer is None:
        score, back = jax.vjp(
            lambda inputs, tally: relevance_score(model, inputs, target, rules(tally)), inputs, tally(composite)
        )
        relevance, counts = back(score)
        usages[-1].check(kinds)
        return relevance, counts
    found = named("lrp", model, inputs, (layer,), side)
    if len(found) > 1:
        raise ValueError(f"lrp: layer {layer!r} fits {len(found)} layers, give one of them: {', '.join(found)}")
    ((path, shapes),) = jax.eval_shape(lambda: model.capture(inputs, found, side=side)).items()
    gauges = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    gauged = lambda gauges: model.add({path: jax.tree.map(Gauge, gauges)}, side=side)
    run = lambda gauges, inputs, tally: relevance_score(gauged(gauges), inputs, target, rules(tally))
    # By the inputs, too: rules hold values that depend on them, and that is of this derivative only if it is one by them.
    score, back = jax.vjp(run, gauges, inputs, tally(composite))
    relevance, _, counts = back(score)
    usages[-1].check(kinds)
    return relevance, counts
