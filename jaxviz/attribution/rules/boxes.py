"""Whether what enters a layer with the z-box rule is inside of its box, which alone gives relevance its sign."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import host
from jaxviz.attribution.caution import warn
from jaxviz.attribution.rules.composites import Composite
from jaxviz.attribution.rules.first_layers import ZBox
from jaxviz.attribution.rules.held import held
from jaxviz.program import Active


def boxes(composite: Composite) -> list[ZBox]:
    """The z-box rules of a composite."""
    is_rule = lambda node: isinstance(node, ZBox)
    return [leaf for leaf in jax.tree.leaves(composite, is_leaf=is_rule) if isinstance(leaf, ZBox)]


def tally(composite: Composite) -> Any:
    """Zeros, whose derivative is how many values enter z-box rules, outside of the box and in all; None without such a rule."""
    return jnp.zeros(2, jnp.float32) if boxes(composite) else None


def tallied(base: Active, rule: Any, tally: Any) -> Active:
    """What a layer is of, counted where relevance comes to it; only of a z-box rule."""
    if tally is None or not isinstance(rule, ZBox):
        return base
    value = base.value
    counts = jnp.stack([rule.outside(held(value)), jnp.asarray(value.size, jnp.float32)])
    return type(base)(_tallied(value, counts, tally))


@jax.custom_vjp
def _tallied(value: Any, counts: Any, tally: Any) -> Any:
    return value


_tallied.defvjp(lambda value, counts, tally: (value, counts), lambda counts, above: (above, None, counts))


def warn_of(function: str, composite: Composite, counts: Any) -> None:
    """Warns of values outside of a box; on accelerators nothing waits to look at their number."""
    if counts is None or not host.sees(counts):
        return
    outside, size = map(int, host.fetch(counts))
    if outside:
        told = " and ".join(dict.fromkeys(f"ZBox({_bound(box.low)}, {_bound(box.high)})" for box in boxes(composite)))
        warn(
            function,
            f"{outside} of the {size} values that enter a layer with the rule {told} are outside of its box, so that relevance "
            "may have the wrong sign there; give the lowest and highest value that inputs can have, after what normalizes them",
            "values outside of a box",
        )


def _bound(bound: Any) -> str:
    array = np.asarray(bound, float)
    if array.size > 4:
        return f"{array.min():.4g} ... {array.max():.4g}"
    return (
        ", ".join(f"{value:.4g}" for value in array.ravel())
        if array.ndim == 0
        else f"{array.ravel().round(4).tolist()}"
    )
