"""Lazy attributes of a package (PEP 562), so that `import jaxviz` costs next to nothing."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy(
    package: str, names: Mapping[str, str], submodules: tuple[str, ...] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns the `__getattr__` and `__dir__` of a package whose public names load at first use.

    Args:
        package: the package's `__name__`.
        names: public name -> the module (relative, such as ".model") that defines it.
        submodules: names of public subpackages, themselves loaded at first use.
    """

    def get(name: str) -> Any:
        if name in names:
            value = getattr(importlib.import_module(names[name], package), name)
            setattr(sys.modules[package], name, value)  # found there from now on: a look-up takes 10 microseconds
            return value
        if name in submodules:
            return importlib.import_module(f".{name}", package)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted({*names, *submodules})
