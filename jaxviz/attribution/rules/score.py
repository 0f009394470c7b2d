"""The score as a program in which rules take the place of the equations that the inputs reach."""

from typing import Any

import jax

from jaxviz import views
from jaxviz.model import Model
from jaxviz.program import Active, Rules, evaluate
from jaxviz.targets import Target, select


def rewritten_score(model: Model, inputs: Any, target: Target, rules: Rules) -> Active:
    """The score of each example, `(batch,)`, with rules applied; active, unless it does not depend on the inputs.

    Args:
        model: the model.
        inputs: the inputs, an `Active` in place of each array.
        target: the target; where it is a callable, rules apply to its equations too.
        rules: the rules.
    """
    is_active = lambda leaf: isinstance(leaf, Active)
    values = jax.tree.map(lambda leaf: leaf.value, inputs, is_leaf=is_active)
    program = views.program(model, values, lambda outputs: select(outputs, target))
    leaves = [*jax.tree.leaves((model.params, model.keywords)), *jax.tree.leaves(inputs, is_leaf=is_active)]
    score, _ = evaluate(program, leaves, rules=rules)
    return rules.settled(score, active=True)
