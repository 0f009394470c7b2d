"""Kinds of methods that what is made around a method treats in their own way: without a score, or of a whole batch at once."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from jaxviz.targets import Target

Method = TypeVar("Method", bound=Callable[..., Any])


def without_score(method: Method) -> Method:
    """A method whose result does not depend on the score, so that no target is asked for."""
    method.__dict__["looks_at_score"] = False
    return method


def of_whole_batch(method: Method) -> Method:
    """A method whose result is of the batch it is given, not of each example: those of several calls have no mean."""
    method.__dict__["has_mean"] = False
    return method


def target_for(method: Callable[..., Any], target: Any) -> Any:
    """The target that a method is called with: without one, and without a score to choose, any outputs will do."""
    return Target() if target is None and not _said(method, "looks_at_score") else target


def check_has_mean(function: str, method: Callable[..., Any]) -> None:
    """Raises if the results of a method's calls cannot be averaged."""
    if not _said(method, "has_mean"):
        inside = method.func if isinstance(method, functools.partial) else method
        name = getattr(inside, "__name__", type(inside).__name__)
        raise TypeError(
            f"{function}: method must be one whose results have a mean, got {name}, which finds components anew in each "
            f"call: the first of one call need not be the first of another. Call {name} by itself, of all examples at once"
        )


def _said(method: Any, what: str) -> bool:
    """What a method says of itself, or the one inside of one made around another; True unless it is denied."""
    inside = getattr(method, "func" if isinstance(method, functools.partial) else "method", None)
    return bool(getattr(method, what, True)) and (inside is None or _said(inside, what))
