"""The names by which a user's rules are found: each must occur in the program, or be known as what may occur in another one.

So rules for many networks may have more names than one network needs, but a slip of the pen is told.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax

from jaxviz import views
from jaxviz.attribution.rules.composites import OPERATIONS, Composite
from jaxviz.attribution.rules.rescale import RULES
from jaxviz.model import Model
from jaxviz.program import INPUT, Program, paths
from jaxviz.program._compat import PRIMITIVES
from jaxviz.program.rewrite import names_of
from jaxviz.program.trace import CALLS, Node
from jaxviz.static import Static
from jaxviz.targets import Target, select


def check_names(function: str, argument: str, names: Iterable[str], program: Program) -> None:
    """Raises unless each name of a rule is one that the program has or that JAX knows.

    Args:
        function: the name of the caller, for error messages.
        argument: what holds the rules.
        names: `"tanh"`, `"silu()"`, `"layers:tanh"`, `"layers:*"`, as in `jaxviz.program.Rules`.
        program: the program.
    """
    names = tuple(names)
    if not names:
        return
    layers = dict.fromkeys(key.layer for key in program.sites if key.side == INPUT)
    here = dict.fromkeys(_names(program.root))
    known = {*here, *RULES, *PRIMITIVES, *CALLS, "*"}
    for text in names:
        pattern, _, name = text.rpartition(":")
        if pattern and not any(paths.match(layer, pattern) for layer in layers):
            raise ValueError(
                f"{function}: {argument} has a rule for {text!r}, but layer {pattern!r} not found; "
                f"{paths.nearest(pattern, layers)}"
            )
        if name not in known and not (name.endswith("()") and _is_public(name[:-2])):
            raise ValueError(
                f"{function}: {argument} has a rule for {text!r}, which this model does not have, and jaxviz does not know as "
                f"a primitive or a function of JAX; {_nearest(name, here, known)}"
            )


def check_kinds(
    function: str, argument: str, kinds: Iterable[str], operations: Iterable[str], program: Program
) -> None:
    """Raises unless each kind of layer is an operation, or a class of modules, of this model or any other.

    Args:
        function: the name of the caller, for error messages.
        argument: what holds the rules.
        kinds: the kinds.
        operations: the kinds of operations.
        program: the program.
    """
    operations = tuple(operations)
    here = tuple(dict.fromkeys(site.structure.kind for site in program.sites.values() if site.structure.kind))
    for kind in kinds:
        if kind in operations or kind in here or kind in _classes():
            continue
        close = difflib.get_close_matches(kind, (*operations, *here), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        classes = ", ".join(map(repr, here)) or "no classes of modules"
        raise ValueError(
            f"{function}: {argument} has a rule for the kind {kind!r}, which is neither an operation "
            f"({', '.join(map(repr, operations))}) nor a class of modules; this model has {classes}{hint}"
        )


def check_composite(function: str, model: Model, inputs: Any, target: Target, composite: Composite) -> dict[str, str]:
    """Raises unless the layers, kinds and primitives for which a composite has rules are there, or may be elsewhere.

    Returns:
        The layers of the program, by path, and what they are.
    """
    program = views.program(model, inputs, lambda outputs: select(outputs, target))
    if composite.layers:
        paths.choose(function, composite.layers, dict.fromkeys(key.layer for key in program.sites))
    check_kinds(function, "composite.rules", composite.rules, OPERATIONS, program)
    check_kinds(function, "composite.first", composite.first, OPERATIONS, program)
    check_names(function, "composite.primitives", composite.primitives, program)
    return {key.layer: site.structure.kind for key, site in program.sites.items()}


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


def _names(node: Node) -> Iterator[str]:
    """The names under which rules are looked for in a program and what it calls."""
    for step in node.steps:
        for equation in step.equations:
            yield from names_of(equation)
        for inner in step.nodes:
            yield from _names(inner)


def _is_public(name: str) -> bool:
    """Whether a function of JAX has a name, which a program that calls it may show."""
    modules = (jax.nn, jax.numpy, jax.lax, jax.scipy.special)
    return name.isidentifier() and any(callable(getattr(module, name, None)) for module in modules)


def _nearest(name: str, here: Iterable[str], known: Iterable[str]) -> str:
    here = [one for one in here if one != "name" and not one.startswith("_")]
    close = difflib.get_close_matches(name, here, n=3) or difflib.get_close_matches(name, sorted(known), n=3)
    if f"{name}()" in here or _is_public(name):
        close = [f"{name}()", *(one for one in close if one != f"{name}()")]
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"this model has {', '.join(map(repr, sorted(here)[:24]))}"


def _classes() -> set[str]:
    """The names of all classes of modules that there are, of the user and of flax."""
    import flax.linen as nn
    from flax import nnx

    found: set[str] = set()
    left: list[Any] = [nn.Module, nnx.Module]
    while left:
        one = left.pop()
        found.add(one.__name__)
        left.extend(one.__subclasses__())
    return found
