"""Activation functions by name, as layers that can be seen and captured."""

import difflib
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

Function = Callable[[jax.Array], jax.Array]

ACTIVATIONS: dict[str, Function] = {
    "celu": jax.nn.celu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_swish": jax.nn.hard_swish,
    "hard_tanh": jax.nn.hard_tanh,
    "leaky_relu": jax.nn.leaky_relu,
    "log_softmax": jax.nn.log_softmax,
    "mish": jax.nn.mish,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "selu": jax.nn.selu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "softmax": jax.nn.softmax,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "swish": jax.nn.silu,
    "tanh": jnp.tanh,
}

# He initialization is derived for units that are zero on half of their inputs; these are (about) such units.
_HALF_ZERO = {"celu", "elu", "gelu", "hard_swish", "leaky_relu", "mish", "relu", "relu6", "silu", "swish"}

# Made once: every call of `he_normal()` gives a new function, unequal to the last one.
_HE = nn.initializers.he_normal()
_LECUN = nn.initializers.lecun_normal()


def activation(function: str | Function) -> Function:
    """Returns the activation function of that name; a callable is returned as it is.

    Args:
        function: a name in `ACTIVATIONS` ("relu", "sigmoid", "tanh", "gelu", ...) or any elementwise callable.

    Raises:
        ValueError: no activation has that name.
        TypeError: neither a name nor a callable.

    Example:
        >>> float(activation("relu")(-1.0))
        0.0
    """
    if callable(function):
        return function
    if not isinstance(function, str):
        raise TypeError(f"activation: expected a name or a callable, got {function!r}")
    if function not in ACTIVATIONS:
        near = difflib.get_close_matches(function.lower(), ACTIVATIONS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"activation: unknown name {function!r}{hint} Names: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[function]


def activation_name(function: str | Function) -> str:
    """Returns what its layers are called: "relu" for `jax.nn.relu`, "activation" for a lambda or a partial."""
    if isinstance(function, str):
        return function
    name = getattr(function, "__name__", "")
    return name if name.isidentifier() else "activation"


def kernel_initializer(function: str | Function | None) -> nn.initializers.Initializer:
    """Returns how to draw the weights before this activation: He normal before units of relu's kind, else LeCun normal.

    References:
        K. He, X. Zhang, S. Ren, J. Sun: Delving deep into rectifiers. ICCV 2015, arXiv:1502.01852.
        Y. LeCun, L. Bottou, G. Orr, K.-R. Müller: Efficient BackProp. Neural Networks: Tricks of the Trade, 1998.
    """
    return _HE if function is not None and activation_name(function) in _HALF_ZERO else _LECUN


class Activation(nn.Module):
    """An activation as a layer of its own: it has a path, such as "relu_0", can be captured and stands in the summary.

    Args:
        function: a name in `ACTIVATIONS` or a callable. Modules are equal by value where their callables are: a lambda
            written anew is a new value, and a jitted function with the module as static argument compiles again.

    Example:
        >>> Activation("tanh")
        Activation(
            # attributes
            function = 'tanh'
        )
    """

    function: str | Function = "relu"

    def __post_init__(self) -> None:
        activation(self.function)
        super().__post_init__()

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the function to each element; shape and dtype stay."""
        return activation(self.function)(x)
