"""Paths: the "/"-joined names of layers and of parameters, and the patterns that choose among them."""

import difflib
import functools
import re
from collections.abc import Iterable
from typing import Any

import jax


def join(*segments: str) -> str:
    """Joins path segments, leaving out empty ones: `join("", "Dense_0", "kernel")` is `"Dense_0/kernel"`."""
    return "/".join(segment for segment in segments if segment)


@functools.lru_cache(maxsize=4096)
def _regex(pattern: str) -> re.Pattern[str]:
    if not isinstance(pattern, str):
        raise TypeError(f"paths.match: patterns must be strings, got {type(pattern).__name__}")
    parts = []
    for segment in pattern.split("/"):
        if segment == "**":
            parts.append("(?:[^/]+/)*")
        else:
            parts.append(re.escape(segment).replace(r"\*", "[^/]*").replace(r"\?", "[^/]") + "/")
    return re.compile("".join(parts))


def match(path: str, patterns: str | Iterable[str]) -> bool:
    """Whether a path fits at least one pattern.

    Args:
        path: a "/"-joined path, such as `"Block_1/Dense_0/kernel"`.
        patterns: one pattern or several. `*` stands for any characters within one segment, `?` for one character, `**` for
            any number of whole segments, none included. A pattern without them is the path itself.

    Example:
        >>> match("Block_1/Dense_0/kernel", "**/kernel")
        True
        >>> match("Block_1/Dense_0/kernel", ("Block_*/kernel", "*/bias"))
        False
    """
    if isinstance(patterns, str):
        patterns = (patterns,)
    return any(_regex(pattern).fullmatch(path + "/") for pattern in patterns)


def _segment(key: Any) -> str:
    return jax.tree_util.keystr((key,), simple=True)


def flatten(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by path, in the order of the tree.

    Works on nested dicts, lists and dataclasses, and on NNX states, whose leaves are variables: the step from a variable to
    its value is left out of the path.

    Example:
        >>> flatten({"Dense_0": {"kernel": 1.0, "bias": 0.0}})
        {'Dense_0/bias': 0.0, 'Dense_0/kernel': 1.0}
    """
    from flax import nnx

    leaves = {}
    is_variable = lambda node: isinstance(node, nnx.Variable)
    for keys, leaf in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_variable)[0]:
        leaves[join(*map(_segment, keys))] = leaf.get_value() if is_variable(leaf) else leaf
    return leaves


def choose(function: str, wanted: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """The known paths that the wanted paths and patterns name, in the order of the known ones.

    Raises:
        ValueError: where a wanted path or pattern names none; the message lists the nearest known paths.
    """
    known, wanted = tuple(known), tuple(wanted)
    for text in wanted:
        if not any(match(path, text) for path in known):
            raise ValueError(f"{function}: layer {text!r} not found; {nearest(text, known)}")
    return tuple(path for path in known if match(path, wanted))


def nearest(text: str, known: Iterable[str], limit: int = 12) -> str:
    """A hint for an error message: the known paths, the most similar first, `limit` of them at the most."""
    known = tuple(known)
    if not known:
        return "this model has no named layers"
    if len(known) <= limit:
        return "layers: " + ", ".join(known)
    close = difflib.get_close_matches(text, known, n=limit, cutoff=0.3) or list(known[:limit])
    return f"nearest of {len(known)} layers: " + ", ".join(close)
