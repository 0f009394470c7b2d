"""DeepLIFT and DeepSHAP: the score's difference from that of a baseline, shared by multipliers instead of derivatives."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz import chunks
from jaxviz.attribution.arguments import check_like, prepare
from jaxviz.attribution.baselines import baseline_like, baseline_set
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.rules import pairs
from jaxviz.attribution.rules.names import check_names, check_rules
from jaxviz.attribution.rules.pairs import Pair
from jaxviz.attribution.rules.rescale import RULES
from jaxviz.attribution.rules.score import active_score
from jaxviz.checks import check_flag, check_function
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import Program, Rule, Rules
from jaxviz.static import Static
from jaxviz.targets import Target, TargetLike


@cautious
def deeplift(
    model: Model,
    inputs: Any,
    *,
    target: TargetLike = None,
    baseline: Any = None,
    multiply_by_inputs: bool = True,
    combine: Callable[[Any, Any, Any], Any] | None = None,
    rules: Mapping[str, Rule] | None = None,
) -> Any:
    """DeepLIFT (rescale rule): a share of the score's difference from a baseline for each input.

    `attribution = (inputs - baseline) * multiplier`, where the multipliers follow the chain rule as derivatives do, and that of a
    function of one variable is its secant, `(y - y_baseline) / (x - x_baseline)`

    The attributions of an example sum to `score(inputs) - score(baseline)`, to rounding: each operation of the program shares out
    the whole difference of its result, whatever the network. Products of two values that depend on the inputs (gates, attention)
    are shared by the mean of the factors, maxima by what becomes the largest, quotients and choices alike. A norm (layer, group,
    root mean square) divides by the mean of its two deviations, so that a baseline without contrast, where it divides by about
    nothing, does no harm. Where examples depend on each other (statistics of a batch), the sums of all together are complete.

    Args:
        model: the model.
        inputs: as for `gradient`.
        target: as for `gradient`. What a callable computes has its rules too.
        baseline: the point of no information: None (zeros), a number, an array that broadcasts to inputs, or a tuple of these
            for several inputs.
        multiply_by_inputs: False leaves out the factor `inputs - baseline`: the multipliers.
        combine: what makes the attribution in place of that product: a callable `(multipliers, inputs, baseline) -> attribution`,
            a JAX function of and to what has the structure, shapes and dtypes of inputs; give the same one each time.
        rules: rules of your own, by primitive (`"tanh"`), called function (`"silu()"`) or layer (`"Block_*/**:*"`), as in
            `jaxviz.program.Rules`. Those of `jaxviz.attribution.rules.rescale` may be put to use for a primitive that has none.
            A name that neither this model nor JAX has is an error.

    Returns:
        The attribution, of the structure, shapes and dtypes of inputs. It costs about two gradients.

    Raises:
        TypeError, ValueError: as for `gradient`, and if baseline does not broadcast to inputs, a primitive has no rule, or
            combine gives something else, or is given while multiply_by_inputs is False.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: jax.nn.relu(inputs @ params), jnp.array([[2.0], [1.0]]))
        >>> deeplift(model, jnp.array([[3.0, 1.0]]), baseline=-1.0)  # from relu(-3) = 0 to relu(7) = 7
        Array([[5.6, 1.4]], dtype=float32)

    Note:
        As Captum's `DeepLift` for networks of ReLU, tanh, sigmoid, softplus, max-pooling and linear layers. Captum refuses a
        module that is used twice, takes the derivative at every function without a module (`torch.relu`, a product, a
        quotient: the sum is wrong then), and leaves out the mean of what reaches a softmax from above. Its hooks are on
        arrays: the sum is wrong where what enters an activation is used elsewhere, too, or comes from another activation
        directly. What an index that depends on the inputs (`argmax`, `searchsorted`) brings in has no shares here;
        `completeness_gap` tells how much. `combine` is Captum's `custom_attribution_func`.

    References:
        A. Shrikumar, P. Greenside, A. Kundaje. Learning Important Features Through Propagating Activation Differences. ICML 2017.
        arXiv:1704.02685.
    """
    name = "deeplift"
    inputs, prepared = prepare(name, model, inputs, target)
    baseline = baseline_like(name, baseline, inputs)
    own = check_rules(name, rules)
    return _deeplift(model, inputs, baseline, prepared, _combination(name, multiply_by_inputs, combine), own)


@cautious
def deep_shap(
    model: Model,
    inputs: Any,
    *,
    baselines: Any,
    target: TargetLike = None,
    multiply_by_inputs: bool = True,
    combine: Callable[[Any, Any, Any], Any] | None = None,
    rules: Mapping[str, Rule] | None = None,
    chunk_size: int | None = None,
    progress: bool = False,
) -> Any:
    """DeepSHAP: the mean of DeepLIFT over a set of baselines, an approximation of SHAP values.

    `attribution = mean_k deeplift(inputs, baseline=baselines[k])`

    The attributions of an example sum to `score(inputs) - mean_k score(baselines[k])`.

    Args:
        model: the model.
        inputs: as for `gradient`.
        baselines: the set, an array `(k, *inputs.shape[1:])`, from the training data for instance; a tuple of these for several
            inputs. Every example is compared with all of them.
        target: as for `gradient`.
        multiply_by_inputs: False gives the mean multipliers.
        combine: as for `deeplift`, called for each baseline; the attribution is the mean of what it gives.
        rules: as for `deeplift`.
        chunk_size: most model evaluations (baselines x examples) in flight, at least one baseline; memory grows with it, and not
            with the number of baselines. None chooses by the size of the inputs.
        progress: draw a progress bar.

    Returns:
        The attribution, of the structure, shapes and dtypes of inputs.

    Raises:
        TypeError, ValueError: as for `deeplift`, and if baselines do not have the shape of one example behind their axis 0.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: jax.nn.relu(inputs @ params), jnp.array([[2.0], [1.0]]))
        >>> deep_shap(model, jnp.array([[3.0, 1.0]]), baselines=jnp.array([[-1.0, -1.0], [1.0, 0.0]]))
        Array([[4.8, 1.2]], dtype=float32)

    Note:
        As Captum's `DeepLiftShap`, with the differences told at `deeplift`, and SHAP's `DeepExplainer`. What its
        `check_additivity` looks at is the mean of `completeness_gap` over the baselines.

    References:
        S. M. Lundberg, S.-I. Lee. A Unified Approach to Interpreting Model Predictions. NeurIPS 2017. arXiv:1705.07874.
    """
    name = "deep_shap"
    inputs, prepared = prepare(name, model, inputs, target)
    baselines = baseline_set(name, baselines, inputs)
    own = check_rules(name, rules)
    combined = _combination(name, multiply_by_inputs, combine)
    chunks.check_chunk_size(name, chunk_size)
    leaves = jax.tree.leaves(inputs)
    count = jax.tree.leaves(baselines)[0].shape[0]
    total = chunks.fold(
        functools.partial(_add, model=model, inputs=inputs, target=prepared, combine=combined, rules=own),
        jax.tree.map(jnp.zeros_like, inputs),
        baselines,
        chunks.sizes(count, leaves[0].shape[0], chunk_size, values=sum(leaf.size // leaf.shape[0] for leaf in leaves)),
        progress=progress,
        label="deep shap",
    )
    return jax.tree.map(lambda leaf: leaf / count, total)


def multipliers(
    model: Model,
    inputs: Any,
    baseline: Any,
    target: Target,
    rules: Rules,
    check: Callable[[Program], None] | None = None,
) -> Any:
    """The multipliers of DeepLIFT, unchecked (but for what `active_score` checks) and not jitted."""

    def score(inputs: Any) -> tuple[jax.Array, jax.Array]:
        scores: Any = active_score(model, jax.tree.map(Pair, inputs, baseline), target, rules, check)
        return scores.value.sum(), jnp.isfinite(scores.value) & jnp.isfinite(scores.reference)

    found, finite = jax.grad(score, has_aux=True)(inputs)
    # Of scores that are not finite there is no difference to share; rules leave out what is not finite, and would hide it.
    shaped = lambda leaf: finite.reshape(-1, *(1,) * (leaf.ndim - 1))
    return jax.tree.map(lambda leaf: jnp.where(shaped(leaf), leaf, jnp.full_like(leaf, jnp.nan)), found)


def _product(multipliers: Any, inputs: Any, baseline: Any) -> Any:
    return jax.tree.map(lambda leaf, end, start: leaf * (end - start), multipliers, inputs, baseline)


def _multipliers(multipliers: Any, inputs: Any, baseline: Any) -> Any:
    return multipliers


def _combination(function: str, multiply_by_inputs: Any, combine: Any) -> Static:
    """What makes the attribution of multipliers, inputs and baseline."""
    multiplied = check_flag(function, "multiply_by_inputs", multiply_by_inputs)
    if combine is None:
        return Static(_product if multiplied else _multipliers)
    check_function(function, "combine", combine, "multipliers, inputs and baseline")
    if not multiplied:
        raise ValueError(
            f"{function}: combine takes the place of the product, which multiply_by_inputs=False leaves out"
        )
    return Static(combine)


def _attribution(
    function: str, model: Model, inputs: Any, baseline: Any, target: Target, combine: Static, rules: Static
) -> Any:
    table = Rules(function, RULES | rules.value, lift=pairs.lift, settle=pairs.settle)
    check = functools.partial(check_names, function, "rules", rules.value)
    found = multipliers(model, inputs, baseline, target, table, check)
    attribution = combine.value(found, inputs, baseline)
    check_like(function, "combine", attribution, inputs)
    return attribution


@jit(static_argnames=("combine", "rules"))
def _deeplift(model: Model, inputs: Any, baseline: Any, target: Target, combine: Static, rules: Static) -> Any:
    return _attribution("deeplift", model, inputs, baseline, target, combine, rules)


@jit(static_argnames=("combine", "rules"), donate_argnums=0)
def _add(total: Any, baselines: Any, model: Model, inputs: Any, target: Target, combine: Static, rules: Static) -> Any:
    def one(baseline: Any) -> Any:
        everywhere = jax.tree.map(lambda leaf, like: jnp.broadcast_to(leaf, like.shape), baseline, inputs)
        return _attribution("deep_shap", model, inputs, everywhere, target, combine, rules)

    return jax.tree.map(lambda sum_, leaf: sum_ + leaf.sum(axis=0), total, jax.vmap(one)(baselines))
