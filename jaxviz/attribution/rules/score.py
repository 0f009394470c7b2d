"""The score as a program in which rules take the place of the equations that the inputs reach."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz import views
from jaxviz.attribution.rules.pending import Raw
from jaxviz.model import Model
from jaxviz.program import Active, Program, Rules, evaluate
from jaxviz.targets import Target, select


def active_score(
    model: Model, inputs: Any, target: Target, rules: Rules, check: Callable[[Program], None] | None = None
) -> Active:
    """The score of each example, `(batch,)`, with rules applied; active, unless it does not depend on the inputs.

    Args:
        model: the model.
        inputs: the inputs, an `Active` in place of each array.
        target: the target; where it is a callable, rules apply to its equations too.
        rules: the rules.
        check: what raises unless the rules fit the program.
    """
    is_active = lambda leaf: isinstance(leaf, Active)
    values = jax.tree.map(lambda leaf: leaf.value, inputs, is_leaf=is_active)
    program = views.program(model, values, lambda outputs: select(outputs, target))
    if check is not None:
        check(program)
    leaves = [*jax.tree.leaves((model.params, model.keywords)), *jax.tree.leaves(inputs, is_leaf=is_active)]
    score, _ = evaluate(program, leaves, rules=rules)
    return rules.settled(score, active=True)


def relevance_score(model: Model, inputs: Any, target: Target, rules: Rules) -> Any:
    """The score of each example, `(batch,)`, whose derivative is relevance.

    Args:
        model: the model. What of it is `Active` gets relevance beside the inputs.
        inputs: the inputs, plain arrays.
        target: as for `active_score`.
        rules: those of LRP; see `propagation`.
    """
    is_active = lambda leaf: isinstance(leaf, Active)
    value = lambda leaf: leaf.value if is_active(leaf) else leaf
    raw = lambda leaf: Raw(leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
    actives = (model.params, model.keywords, jax.tree.map(raw, inputs))
    plain = Model(model.apply, *jax.tree.map(value, (model.params, model.keywords), is_leaf=is_active))

    def run(program: Program) -> Any:
        outputs, _ = evaluate(program, jax.tree.leaves(actives, is_leaf=is_active), rules=rules)
        return jax.tree.map(value, outputs, is_leaf=is_active)

    if target.function is not None:
        return run(views.program(plain, inputs, lambda outputs: select(outputs, target)))
    # To choose one output is no operation of the model, of which a stabilizer would absorb some.
    return select(run(views.program(plain, inputs)), target)
