"""A class less the classes that are nearest to it, as a target: what tells it from these."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.arguments import check_count
from jaxviz.checks import check_number


def finer_target(index: int | None = None, *, alpha: float = 1.0, similar: int = 3) -> "Finer":
    """A target that is a class less those that are most like it: with a class activation map, Finer-CAM.

    `score[b] = outputs[b, t] - alpha * sum_k p_k outputs[b, k]`: `k` goes over the classes whose outputs are nearest to that of
    `t`, and `p` is the softmax of their outputs

    What is common to the class and those like it cancels: of a species of birds the wings, but not the color of the beak.

    Args:
        index: the class, an int; None is each example's highest.
        alpha: how much of the similar classes is taken off, at least 0; with 0 the score is the output of the class.
        similar: how many classes are compared with, at least 1; all others, where there are fewer.

    Returns:
        A callable, `outputs (batch, classes) -> (batch,)`, equal to another of the same arguments: given as `target`, of any
        method, it is not compiled again.

    Raises:
        TypeError: if index or similar is no int, or alpha no number.
        ValueError: if one is out of its range; when called, if the outputs are not `(batch, classes)` of 2 classes or more, or
            have no such class.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> float(finer_target(0, similar=1)(jnp.array([[5.0, 1.0, 4.0]]))[0])
        1.0
        >>> module = jv.models.CNN(classes=3, channels=(4, 8))
        >>> images = jnp.ones((2, 8, 8, 1))
        >>> model = jv.Model.from_linen(module, module.init(jax.random.key(0), images))
        >>> jv.grad_cam(model, images, layer="relu_1", target=finer_target(1, alpha=0.6), relu=False).shape
        (2, 8, 8)

    Note:
        As pytorch-grad-cam's `FinerCAM`, but for two things. It adds 1e-9 to the sum of the similar classes' probabilities of all
        classes, by which the score vanishes where these are smaller still: here `p` sums to 1. And of two classes of the same
        output it may take the other one for the class that is asked for.

    References:
        Z. Zhang, J. Gu, A. Chowdhury, Z. Mai, D. Carlyn, T. Berger-Wolf, Y. Su, W.-L. Chao. Finer-CAM: Spotting the Difference
        Reveals Finer Details for Visual Explanation. CVPR 2025. arXiv:2501.11309.
    """
    name = "finer_target"
    if index is not None:
        index = check_count(name, "index", index, at_least=0)
    return Finer(index, float(check_number(name, "alpha", alpha, 0)), check_count(name, "similar", similar))


@dataclass(frozen=True)
class Finer:
    """A class less those that are most like it; see `finer_target`."""

    index: int | None
    alpha: float
    similar: int

    def __call__(self, outputs: Any) -> jax.Array:
        """The score of each example, `(batch,)`."""
        shape: tuple[int, ...] = getattr(outputs, "shape", ())
        if len(shape) != 2 or shape[1] < 2:
            raise ValueError(
                f"finer_target: outputs must be (batch, classes) with at least 2 classes, got {shape or type(outputs).__name__}"
            )
        if self.index is not None and self.index >= shape[1]:
            raise ValueError(
                f"finer_target: index {self.index} is out of range; the model has {shape[1]} outputs, 0 to {shape[1] - 1}"
            )
        classes = jax.lax.broadcasted_iota(jnp.int32, shape, 1)
        chosen = outputs.argmax(axis=1, keepdims=True) if self.index is None else jnp.full((shape[0], 1), self.index)
        is_chosen = classes == chosen.astype(jnp.int32)
        score = jnp.where(is_chosen, outputs, jnp.zeros_like(outputs)).sum(axis=1)
        far = jnp.where(is_chosen, jnp.full_like(outputs, jnp.inf), jnp.abs(outputs - score[:, None]))
        _, nearest = jax.lax.top_k(-jax.lax.stop_gradient(far), min(self.similar, shape[1] - 1))
        others = jnp.take_along_axis(outputs, nearest, axis=1)
        return score - self.alpha * (jax.nn.softmax(others, axis=1) * others).sum(axis=1)
