"""The score as a program in which rules take the place of the equations that the inputs reach."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxviz import views
from jaxviz.model import Model
from jaxviz.program import Active, Program, Rules, evaluate
from jaxviz.static import Static
from jaxviz.targets import Target, select


def rewritten_score(
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


def check_rules(function: str, rules: Any) -> Static:
    """The rules of the user as a static value; raises unless they are None or a dict of name -> rule."""
    if rules is None:
        return Static({})
    if not isinstance(rules, Mapping):
        raise TypeError(f"{function}: rules must be a dict of primitive or layer -> rule, got {type(rules).__name__}")
    for name, rule in rules.items():
        if not isinstance(name, str) or not callable(rule):
            raise TypeError(
                f"{function}: rules must map names to functions (equation, operands, where) -> results, got {name!r}: {rule!r}"
            )
    return Static(dict(rules))
