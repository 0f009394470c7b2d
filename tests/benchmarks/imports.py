"""(e) What `import jaxviz` adds to `import jax, flax, optax`: whole interpreters, in turns."""

import sys
from collections.abc import Iterator

from settings import Settings
from timing import Comparison, interleave
from worker import whole_process

ADDED = 0.1  # seconds that `import jaxviz` may add
BASE = "import jax, flax, optax"
PROGRAMS = {
    "import jaxviz beside them": f"{BASE}, jaxviz",
    "and its Model loaded": f"{BASE}, jaxviz; jaxviz.Model",
}


def run(settings: Settings) -> Iterator[Comparison]:
    """Compares interpreters that import jaxviz with one that does not."""
    calls = {"base": lambda: _seconds(BASE), **{n: lambda p=p: _seconds(p) for n, p in PROGRAMS.items()}}
    seconds = interleave(calls, settings.rounds(12))
    for name in PROGRAMS:
        bound = ADDED if name == "import jaxviz beside them" else None
        yield Comparison("imports", name, BASE, seconds[name], seconds["base"], figure="difference", bound=bound)


def _seconds(program: str) -> float:
    return whole_process([sys.executable, "-c", program])
