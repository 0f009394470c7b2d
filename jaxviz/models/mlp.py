"""The multilayer perceptron."""

import flax.linen as nn
import jax

from jaxviz.checks import check_flag
from jaxviz.models.activations import Activation, Function, activation_name, kernel_initializer
from jaxviz.models.checks import check_rate, check_sizes


class MLP(nn.Module):
    """Dense layers with an activation between them: `h_i = activation(h_(i-1) W_i + b_i)`, the last layer linear.

    Layers are named "Dense_0", "BatchNorm_0", "relu_0", "Dropout_0", "Dense_1" ...; equal numbers belong together.
    Weights are drawn by He (units of relu's kind) or LeCun initialization, biases start at zero.

    Args:
        features: units of every layer, the last entry being the number of outputs: `(64, 10)` has one hidden layer.
        activation: after each hidden layer; a name in `jaxviz.models.ACTIVATIONS` or a callable.
        output_activation: after the last layer; None leaves it linear (losses on logits expect that).
        dropout: rate in [0, 1) after each hidden activation; needs the rng "dropout" when `train=True`.
        batch_norm: normalize before each hidden activation; the running statistics are in the collection "batch_stats".

    Raises:
        ValueError, TypeError: a setting out of its range, named in the message.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> module = MLP(features=(2, 1), activation="sigmoid")
        >>> variables = module.init(jax.random.key(0), jnp.zeros((4, 2)))
        >>> module.apply(variables, jnp.zeros((4, 2)), train=False).shape
        (4, 1)
    """

    features: tuple[int, ...]
    activation: str | Function = "relu"
    output_activation: str | Function | None = None
    dropout: float = 0.0
    batch_norm: bool = False

    def __post_init__(self) -> None:
        check_sizes("MLP", "features", self.features)
        object.__setattr__(self, "features", tuple(self.features))  # a list cannot be hashed
        check_flag("MLP", "batch_norm", self.batch_norm)
        check_rate("MLP", "dropout", self.dropout)
        Activation(self.activation, parent=None)
        if self.output_activation is not None:
            Activation(self.output_activation, parent=None)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns the outputs.

        Args:
            x: float array `(batch, ...)`; all axes but the first are flattened.
            train: use and update the batch's statistics, apply dropout.

        Returns:
            `(batch, features[-1])`.
        """
        if x.ndim < 2:
            raise ValueError(
                f"MLP: inputs must be (batch, features), got shape {x.shape}; for one example pass x[None]"
            )
        x = x.reshape(x.shape[0], -1)
        *hidden, outputs = self.features
        for i, width in enumerate(hidden):
            # Batch norm subtracts the mean, and any bias with it.
            x = nn.Dense(width, use_bias=not self.batch_norm, kernel_init=kernel_initializer(self.activation))(x)
            if self.batch_norm:
                x = nn.BatchNorm(use_running_average=not train)(x)
            x = Activation(self.activation, name=f"{activation_name(self.activation)}_{i}")(x)
            if self.dropout:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = nn.Dense(outputs, kernel_init=kernel_initializer(self.output_activation))(x)
        if self.output_activation is not None:
            x = Activation(self.output_activation, name=f"{activation_name(self.output_activation)}_{len(hidden)}")(x)
        return x
