"""The gradient of the score with respect to the inputs, and what is made of one gradient."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.caution import cautious
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.targets import Target, TargetLike, select


@cautious
def gradient(model: Model, inputs: Any, *, target: TargetLike = None) -> Any:
    """The gradient of the score with respect to the inputs, with its sign.

    `attribution = d score(inputs) / d inputs`

    Args:
        model: the model.
        inputs: a floating-point array whose axis 0 is the batch, or a tuple of such arrays.
        target: what is explained: None (the model has one output per example), the index of an output, an int array `(batch,)`
            with one index per example, or a callable `outputs -> (batch,)`. Give a callable that is the same object, or a
            partial or method of the same, each time: a new lambda is a new program.

    Returns:
        The attribution, of the structure, shapes and dtypes of inputs.

    Raises:
        TypeError: if model is not a `Model`, inputs are integers, or target is of another type.
        ValueError: if inputs are empty, have NaN or infinite values, or target does not fit the outputs.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs @ params, jnp.array([[2.0], [-3.0]]))
        >>> gradient(model, jnp.array([[1.0, 1.0]]))
        Array([[ 2., -3.]], dtype=float32)

    References:
        K. Simonyan, A. Vedaldi, A. Zisserman. Deep Inside Convolutional Networks: Visualising Image Classification Models and
        Saliency Maps. ICLR Workshop 2014. arXiv:1312.6034.
    """
    return _gradient(model, *prepare("gradient", model, inputs, target))


@cautious
def saliency(model: Model, inputs: Any, *, target: TargetLike = None) -> Any:
    """The absolute value of the gradient: how much the score would change, whatever the direction.

    `attribution = |d score(inputs) / d inputs|`

    Args:
        model: the model.
        inputs: as for `gradient`.
        target: as for `gradient`.

    Returns:
        The attribution, at least 0, of the structure, shapes and dtypes of inputs. Reduction over channels (the paper takes
        their maximum) is left to a step of its own.

    Raises:
        TypeError, ValueError: as for `gradient`.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs @ params, jnp.array([[2.0], [-3.0]]))
        >>> saliency(model, jnp.array([[1.0, 1.0]]))
        Array([[2., 3.]], dtype=float32)

    References:
        K. Simonyan, A. Vedaldi, A. Zisserman. Deep Inside Convolutional Networks: Visualising Image Classification Models and
        Saliency Maps. ICLR Workshop 2014. arXiv:1312.6034.
    """
    return _saliency(model, *prepare("saliency", model, inputs, target))


@cautious
def input_x_gradient(model: Model, inputs: Any, *, target: TargetLike = None) -> Any:
    """The gradient times the inputs: what each input contributes to a linear score.

    `attribution = inputs * d score(inputs) / d inputs`

    Args:
        model: the model.
        inputs: as for `gradient`.
        target: as for `gradient`.

    Returns:
        The attribution, of the structure, shapes and dtypes of inputs. For a piecewise linear network without biases it sums to
        the score.

    Raises:
        TypeError, ValueError: as for `gradient`.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs @ params, jnp.array([[2.0], [-3.0]]))
        >>> input_x_gradient(model, jnp.array([[5.0, 1.0]]))
        Array([[10., -3.]], dtype=float32)

    References:
        A. Shrikumar, P. Greenside, A. Shcherbina, A. Kundaje. Not Just a Black Box: Learning Important Features Through
        Propagating Activation Differences. 2016. arXiv:1605.01713.
    """
    return _input_x_gradient(model, *prepare("input_x_gradient", model, inputs, target))


def score_gradient(model: Model, inputs: Any, target: Target) -> Any:
    """The gradient of each example's score, unchecked and not jitted: the ground of the gradient methods."""
    # An example's score depends on that example alone, so the gradient of the sum has all the examples' gradients.
    return jax.grad(lambda inputs: select(model(inputs), target).sum())(inputs)


@jit
def _gradient(model: Model, inputs: Any, target: Target) -> Any:
    return score_gradient(model, inputs, target)


@jit
def _saliency(model: Model, inputs: Any, target: Target) -> Any:
    return jax.tree.map(jnp.abs, score_gradient(model, inputs, target))


@jit
def _input_x_gradient(model: Model, inputs: Any, target: Target) -> Any:
    return jax.tree.map(jnp.multiply, inputs, score_gradient(model, inputs, target))
