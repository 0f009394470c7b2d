"""Outlines: the form of a pytree of arrays, as JSON can hold it."""

from typing import Any


def outline(tree: Any) -> Any:
    """A pytree of arrays, tuples, lists and dicts as JSON can hold it; `filled` is the inverse."""
    if hasattr(tree, "shape"):
        return None
    if type(tree) in (tuple, list):
        return [type(tree).__name__, [outline(item) for item in tree]]
    if isinstance(tree, dict) and all(isinstance(name, str) for name in tree):
        return ["dict", [[name, outline(item)] for name, item in tree.items()]]
    raise TypeError(
        "explain_dataset: the method must give an array, or a tuple, list or dict (with names as keys) of arrays, got "
        f"{type(tree).__name__}"
    )


def filled(form: Any, leaves: Any) -> Any:
    """The pytree of an outline, with these leaves."""
    leaves = iter(leaves)

    def fill(form: Any) -> Any:
        if form is None:
            return next(leaves)
        kind, items = form
        if kind == "dict":
            return {name: fill(item) for name, item in items}
        return {"tuple": tuple, "list": list}[kind](fill(item) for item in items)

    return fill(form)


def flattened(tree: Any) -> list[Any]:
    """The arrays of a pytree, in the order of its outline."""
    if hasattr(tree, "shape"):
        return [tree]
    return [leaf for item in (tree.values() if isinstance(tree, dict) else tree) for leaf in flattened(item)]
