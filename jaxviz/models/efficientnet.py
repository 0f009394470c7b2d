"""EfficientNet-Lite0: a small convolutional network for photographs, of depthwise-separable convolutions."""

from typing import NamedTuple

import flax.linen as nn
import jax

from jaxviz.models.activations import Activation


class _Stage(NamedTuple):
    """Some blocks of one kind; the first has the stage's stride."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


class Block(nn.Module):
    """An inverted residual: expansion, depthwise convolution, projection, and around them the input, where it fits.

    Attributes:
        channels: of the output.
        kernel: width of the depthwise convolution.
        stride: likewise.
        expand: how many channels between, as a multiple of the input's; 1 for no expansion.
    """

    channels: int
    kernel: int
    stride: int
    expand: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """`(batch, height, width, channels)` in and out; height and width divided by the stride, rounded up."""
        inputs, between = x, x.shape[-1] * self.expand
        if self.expand != 1:
            x = _norm(nn.Conv(between, (1, 1), use_bias=False, name="expand")(x), train, "expand_norm")
            x = Activation("relu6", name="expand_relu6")(x)
        depthwise = nn.Conv(
            between,
            (self.kernel, self.kernel),
            (self.stride, self.stride),
            feature_group_count=between,
            use_bias=False,
            name="depthwise",
        )
        x = Activation("relu6", name="depthwise_relu6")(_norm(depthwise(x), train, "depthwise_norm"))
        x = _norm(nn.Conv(self.channels, (1, 1), use_bias=False, name="project")(x), train, "project_norm")
        return x + inputs if inputs.shape == x.shape else x


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0: 4.7 million parameters, 0.77 GFLOP for an image of 224 x 224.

    Attributes:
        classes: number of outputs.
        dropout: share of the features that are dropped before the last layer when training.

    References:
        M. Tan, Q. V. Le. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019. arXiv:1905.11946.
        R. Liu. Higher accuracy on vision models with EfficientNet-Lite. TensorFlow blog, 2020.
    """

    classes: int = 1000
    dropout: float = 0.2

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits.

        Args:
            x: images, `(batch, height, width, 3)`, as `jaxviz.models.pretrained.preprocess` makes them.
            train: batch statistics of the batch, and dropout; needs `rngs={"dropout": key}` and `mutable=["batch_stats"]`.

        Returns:
            `(batch, classes)`.
        """
        x = _norm(nn.Conv(32, (3, 3), (2, 2), use_bias=False, name="stem")(x), train, "stem_norm")
        x = Activation("relu6", name="stem_relu6")(x)
        for index, stage in enumerate(STAGES):
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                block = Block(stage.channels, stage.kernel, stride, stage.expand, name=f"stage{index}_block{repeat}")
                x = block(x, train=train)
        x = _norm(nn.Conv(1280, (1, 1), use_bias=False, name="head")(x), train, "head_norm")
        x = Activation("relu6", name="head_relu6")(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x.mean(axis=(1, 2)))
        return nn.Dense(self.classes, name="classifier")(x)


def _norm(x: jax.Array, train: bool, name: str) -> jax.Array:
    return nn.BatchNorm(use_running_average=not train, momentum=0.99, epsilon=1e-3, name=name)(x)
