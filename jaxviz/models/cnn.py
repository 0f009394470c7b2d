"""The convolutional network."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxviz.checks import check_choice, check_count, check_flag
from jaxviz.models.activations import Activation, Function, activation_name, kernel_initializer
from jaxviz.models.checks import check_rate, check_sizes

_POOLINGS = ("max", "average", "stride", None)
_HEADS = ("flatten", "mean", "max")


class Pool(nn.Module):
    """Halves height and width: the maximum or the mean of each 2 x 2 window; an odd last row or column is left out.

    Args:
        kind: "max" or "average".
    """

    kind: str = "max"

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `(batch, height, width, channels)` to `(batch, height // 2, width // 2, channels)`."""
        batch, height, width, channels = x.shape
        x = x[:, : height // 2 * 2, : width // 2 * 2].reshape(batch, height // 2, 2, width // 2, 2, channels)
        if self.kind == "average":
            return x.mean(axis=(2, 4))
        # Not nn.max_pool: on CPU the gradient of a window reduction takes six times as long as that of two maxima.
        x = jnp.maximum(x[:, :, 0], x[:, :, 1])
        return jnp.maximum(x[:, :, :, 0], x[:, :, :, 1])


class CNN(nn.Module):
    """Stages of convolution, activation and pooling, then a dense head, for images `(batch, height, width, channels)`.

    Each stage has `depth` convolutions (padding "SAME"), each followed by batch norm (if chosen) and the activation,
    and ends by halving height and width. Layers are named "Conv_0", "BatchNorm_0", "relu_0", "max_pool_0", ..., "Dense_0":
    the last activation before the head is the usual layer for Grad-CAM.

    Args:
        classes: number of outputs.
        channels: output channels of each stage.
        kernel: side of the square kernels, in pixels.
        depth: convolutions per stage.
        pooling: how a stage halves height and width: "max", "average", "stride" (its last convolution has stride 2), or
            None (it does not).
        head: what becomes of the last stage's map: "flatten", or its "mean" or "max" over height and width.
        hidden: units of the dense layers between the map and the outputs.
        activation: a name in `jaxviz.models.ACTIVATIONS` or a callable.
        batch_norm: normalize after each convolution; the running statistics are in the collection "batch_stats".
        dropout: rate in [0, 1) before each dense layer; needs the rng "dropout" when `train=True`.

    Raises:
        ValueError, TypeError: a setting out of its range, named in the message.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> module = CNN(classes=10)
        >>> variables = module.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
        >>> module.apply(variables, jnp.zeros((4, 28, 28, 1)), train=False).shape
        (4, 10)
    """

    classes: int
    channels: tuple[int, ...] = (16, 32, 64)
    kernel: int = 3
    depth: int = 1
    pooling: str | None = "max"
    head: str = "flatten"
    hidden: tuple[int, ...] = ()
    activation: str | Function = "relu"
    batch_norm: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("classes", "kernel", "depth"):
            check_count("CNN", name, getattr(self, name))
        check_sizes("CNN", "channels", self.channels)
        check_sizes("CNN", "hidden", self.hidden, at_least=0)
        for name in ("channels", "hidden"):  # a list cannot be hashed
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_choice("CNN", "pooling", self.pooling, _POOLINGS)
        check_choice("CNN", "head", self.head, _HEADS)
        check_flag("CNN", "batch_norm", self.batch_norm)
        check_rate("CNN", "dropout", self.dropout)
        Activation(self.activation, parent=None)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns the logits.

        Args:
            x: float array `(batch, height, width, channels)`.
            train: use and update the batch's statistics, apply dropout.

        Returns:
            `(batch, classes)`.
        """
        if x.ndim != 4:
            raise ValueError(f"CNN: inputs must be (batch, height, width, channels), got shape {x.shape}")
        if self.pooling in ("max", "average") and min(x.shape[1:3]) < 2 ** len(self.channels):
            raise ValueError(
                f"CNN: images of {x.shape[1]} x {x.shape[2]} pixels cannot be halved {len(self.channels)} times; "
                "give fewer channels (one entry per stage) or pooling='stride' or None"
            )
        activate, initializer = activation_name(self.activation), kernel_initializer(self.activation)
        count = 0
        for stage, width in enumerate(self.channels):
            for i in range(self.depth):
                stride = 2 if self.pooling == "stride" and i == self.depth - 1 else 1
                x = nn.Conv(
                    width,
                    (self.kernel, self.kernel),
                    strides=stride,
                    use_bias=not self.batch_norm,  # batch norm subtracts the mean, and any bias with it
                    kernel_init=initializer,
                )(x)
                if self.batch_norm:
                    x = nn.BatchNorm(use_running_average=not train)(x)
                x = Activation(self.activation, name=f"{activate}_{count}")(x)
                count += 1
            if self.pooling in ("max", "average"):
                x = Pool(self.pooling, name=f"{self.pooling}_pool_{stage}")(x)
        match self.head:
            case "flatten":
                x = x.reshape(x.shape[0], -1)
            case "mean":
                x = x.mean(axis=(1, 2))
            case "max":
                x = x.max(axis=(1, 2))
        for width in self.hidden:
            x = nn.Dropout(self.dropout, deterministic=not train)(x) if self.dropout else x
            x = nn.Dense(width, kernel_init=initializer)(x)
            x = Activation(self.activation, name=f"{activate}_{count}")(x)
            count += 1
        x = nn.Dropout(self.dropout, deterministic=not train)(x) if self.dropout else x
        return nn.Dense(self.classes)(x)
