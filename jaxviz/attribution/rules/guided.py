"""Guided backpropagation, the deconvolutional network and smooth ReLUs: other derivatives in place of those of ReLUs."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.caution import cautious, warn
from jaxviz.attribution.rules.score import active_score
from jaxviz.attribution.rules.variances import Variance, derived
from jaxviz.checks import check_number
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import Active, Rule, Rules, Where
from jaxviz.program._compat import JaxprEqn, bind, closed, subprograms
from jaxviz.program.rewrite import enter
from jaxviz.targets import Target, TargetLike


@cautious
def guided_backprop(model: Model, inputs: Any, *, target: TargetLike = None) -> Any:
    """Guided backpropagation: the gradient, of which each ReLU passes on only what is positive, and only where it is on.

    `at each ReLU y = max(x, 0): g_x = g_y * (x > 0) * (g_y > 0)`, elsewhere the derivative

    Args:
        model: the model. Its ReLUs are found in the program, whoever wrote them: `jax.nn.relu` (also one object called many
            times), `jnp.maximum(x, 0)` and any other maximum with a value that does not depend on the inputs, and the lower
            bound of `jax.nn.relu6` and `jnp.clip`. Maxima that are part of something else (softplus, the hard sigmoid, a
            function with a derivative of its own, a norm's variance as the mean of squares less the squared mean) have their
            derivatives. Where none is found, as of `jnp.where(x > 0, x, 0)`, a warning says that this is the gradient.
        inputs: as for `gradient`.
        target: as for `gradient`.

    Returns:
        The attribution, of the structure, shapes and dtypes of inputs.

    Raises:
        TypeError, ValueError: as for `gradient`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: jax.nn.relu(inputs) @ params, jnp.array([[2.0], [-3.0]]))
        >>> guided_backprop(model, jnp.array([[1.0, 1.0]]))  # the gradient is (2, -3)
        Array([[2., 0.]], dtype=float32)

    Note:
        Captum's `GuidedBackprop` sees `torch.nn.ReLU` modules only. The map is close to an edge detector and depends little on
        the later layers (J. Adebayo et al., Sanity Checks for Saliency Maps, 2018, arXiv:1810.03292).

    References:
        J. T. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller. Striving for Simplicity: The All Convolutional Net. ICLR
        Workshop 2015. arXiv:1412.6806.
    """
    return _told("guided_backprop", _guided_backprop(model, *prepare("guided_backprop", model, inputs, target)))


@cautious
def deconvnet(model: Model, inputs: Any, *, target: TargetLike = None) -> Any:
    """The deconvolutional network: the gradient, of which each ReLU passes on only what is positive, whether on or off.

    `at each ReLU y = max(x, 0): g_x = g_y * (g_y > 0)`, elsewhere the derivative

    Args:
        model: the model; what counts as a ReLU is told at `guided_backprop`.
        inputs: as for `gradient`.
        target: as for `gradient`.

    Returns:
        The attribution, of the structure, shapes and dtypes of inputs.

    Raises:
        TypeError, ValueError: as for `gradient`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: jax.nn.relu(inputs) @ params, jnp.array([[2.0], [-3.0]]))
        >>> deconvnet(model, jnp.array([[-1.0, 1.0]]))  # the gradient is (0, -3)
        Array([[2., 0.]], dtype=float32)

    Note:
        As Captum's `Deconvolution`, for every ReLU of the program. Max-pooling passes back to where the maximum was, which are
        the paper's switches.

    References:
        M. D. Zeiler, R. Fergus. Visualizing and Understanding Convolutional Networks. ECCV 2014. arXiv:1311.2901.
    """
    return _told("deconvnet", _deconvnet(model, *prepare("deconvnet", model, inputs, target)))


@cautious
def beta_smooth(model: Model, inputs: Any, *, target: TargetLike = None, beta: float = 10.0) -> Any:
    """The gradient, with the derivative of softplus in place of that of each ReLU: what small changes of inputs change little.

    `at each ReLU y = max(x, 0): g_x = g_y * sigmoid(beta * x)`, elsewhere the derivative

    The outputs stay those of the ReLUs. With a large beta it is the gradient; a smaller beta makes the map change less with the
    inputs, and harder to manipulate.

    Args:
        model: the model; what counts as a ReLU is told at `guided_backprop`.
        inputs: as for `gradient`.
        target: as for `gradient`.
        beta: how steep the sigmoid is, at least 0: of softplus, `log(1 + exp(beta * x)) / beta`.

    Returns:
        The attribution, of the structure, shapes and dtypes of inputs.

    Raises:
        TypeError, ValueError: as for `gradient`, and if beta is negative.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: jax.nn.relu(inputs) @ params, jnp.array([[2.0], [-3.0]]))
        >>> beta_smooth(model, jnp.array([[1.0, 0.0]]), beta=1).round(1)  # the gradient is (2, 0)
        Array([[ 1.5, -1.5]], dtype=float32)

    Note:
        As Zennit's composite `BetaSmooth`, which sees `torch.nn.ReLU` modules only, for every ReLU of the program. At each ReLU
        the softplus is of the ReLU network's own values, as in Zennit, while the paper's network has softplus in both directions:
        for that, give the model `jax.nn.softplus(beta * x) / beta` in place of its ReLUs and take `gradient`.

    References:
        A.-K. Dombrowski, M. Alber, C. J. Anders, M. Ackermann, K.-R. Mueller, P. Kessel. Explanations can be manipulated and
        geometry is to blame. NeurIPS 2019. arXiv:1906.07983.
    """
    beta = check_number("beta_smooth", "beta", beta, 0)
    return _told("beta_smooth", _beta_smooth(model, *prepare("beta_smooth", model, inputs, target), beta))


def _derivative(equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    results = bind(equation, [operand.value if isinstance(operand, Active) else operand for operand in operands])
    kind = derived(equation, operands)
    # What is no float has no derivative: it is a constant to what follows.
    return [kind(leaf) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf for leaf in results]


@jax.custom_vjp
def _rectifier(value: jax.Array, operand: jax.Array, passing: jax.Array) -> jax.Array:
    """The value; backwards, what is positive goes to the operand where it is to pass."""
    return value


_rectifier.defvjp(
    lambda value, operand, passing: (value, passing),
    lambda passing, above: (None, jnp.where(passing, jax.nn.relu(above), jnp.zeros_like(above)), None),
)


@jax.custom_vjp
def _softened(value: jax.Array, operand: jax.Array, slope: jax.Array) -> jax.Array:
    """The value; backwards, the operand gets what comes from above times the slope."""
    return value


_softened.defvjp(lambda value, operand, slope: (value, slope), lambda slope, above: (None, above * slope, None))


def _rules(function: str, gated: bool, note: Callable[[], None], beta: Any = None) -> Rules:
    """The rules of a method; `note` is called for each ReLU."""

    def rectify(equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
        active = [operand for operand in operands if isinstance(operand, Active)]
        if len(active) > 1 or isinstance(active[0], Variance):
            return _derivative(equation, operands, where)
        note()
        value = _derivative(equation, operands, where)[0].value
        operand = active[0].value
        if equation.primitive.name == "clamp":
            lower, _, upper = operands
            passing = operand < upper
        else:
            lower = operands[1] if operands[0] is active[0] else operands[0]
            passing = jnp.ones_like(operand, bool)
        if beta is not None:
            slope = jax.nn.sigmoid(jnp.asarray(beta, operand.dtype) * (operand - lower))
            return [Active(_softened(value, operand, jnp.where(passing, slope, jnp.zeros_like(slope))))]
        return [Active(_rectifier(value, operand, passing & (operand > lower) if gated else passing))]

    table: dict[str, Rule] = {
        "*": _derivative,
        "max": rectify,
        "clamp": rectify,
        "custom_jvp_call": _own_derivative,
        "custom_vjp_call": _own_derivative,
        "relu6()": enter,
        "hard_sigmoid()": _derivative,
    }
    return Rules(function, table, settle=lambda active: Active(active.value))


def _own_derivative(equation: JaxprEqn, operands: list[Any], where: Where) -> Any:
    return NotImplemented if _is_maximum(equation) else _derivative(equation, operands, where)


def _is_maximum(equation: JaxprEqn) -> bool:
    """Whether an equation is a maximum and nothing else, in whatever calls: what `jax.nn.relu` is."""
    if equation.primitive.name == "max":
        return True
    inner = [inner for program in subprograms(equation) for inner in closed(program)[0].eqns]
    return len(inner) == 1 and _is_maximum(inner[0])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Rectified:
    """An attribution, and whether the program has a ReLU, which a call knows that finds it compiled, too."""

    attribution: Any
    has_relu: bool = field(metadata={"static": True})


def _told(function: str, found: _Rectified) -> Any:
    """The attribution, with a warning where it is but the gradient."""
    if not found.has_relu:
        warn(
            function,
            "no ReLU was found in the model's program, so that the attribution is its gradient. Found are jax.nn.relu, "
            "jax.nn.relu6, jnp.maximum(x, 0) and jnp.clip, not jnp.where(x > 0, x, 0), x * (x > 0), "
            "nor what is smooth (GELU, SiLU)",
        )
    return found.attribution


def _gradient(model: Model, inputs: Any, target: Target, rules: Callable[[Callable[[], None]], Rules]) -> _Rectified:
    found: list[None] = []
    own = rules(lambda: found.append(None))
    score = lambda inputs: active_score(model, jax.tree.map(Active, inputs), target, own).value.sum()
    attribution = jax.grad(score)(inputs)
    return _Rectified(attribution, bool(found))


@jit
def _guided_backprop(model: Model, inputs: Any, target: Target) -> _Rectified:
    return _gradient(model, inputs, target, functools.partial(_rules, "guided_backprop", True))


@jit
def _deconvnet(model: Model, inputs: Any, target: Target) -> _Rectified:
    return _gradient(model, inputs, target, functools.partial(_rules, "deconvnet", False))


@jit
def _beta_smooth(model: Model, inputs: Any, target: Target, beta: Any) -> _Rectified:
    return _gradient(model, inputs, target, functools.partial(_rules, "beta_smooth", False, beta=beta))
