"""`jit`: `jax.jit`, with what makes programs faster on the platform: lowerings of `program.lowerings`, and compiler options.

XLA's CPU back end hands convolutions, products and sums to YNNPACK from jax 0.10 on. Measured there on two cores, without it:
convolutions of less than 128 channels twice as fast (with it they run on one thread: 80 instead of 160 GFLOP/s), sums over
leading axes up to 60 times, and nothing slower but small products: 44 microseconds instead of 32 for an MLP's three layers
there and back. So these alone are left to it; large ones take the same time. From jax 0.12 on the difference is 5 to 10 %.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax

from jaxviz import meanwhile
from jaxviz.program import is_top_level
from jaxviz.program.lowerings import is_inside, lowered
from jaxviz.shardings import automatic, has_explicit

# What YNNPACK gets: products alone.
_FLAG, _VALUE = "xla_cpu_experimental_ynn_fusion_type", "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"


class Compiled:
    """A jitted function, called as the function is; see `jit`."""

    def __init__(self, function: Callable[..., Any], **settings: Any) -> None:
        functools.update_wrapper(self, function)
        # Nothing is donated where it is traced or transformed: under `jax.vmap` what has no mapped axis cannot become what has.
        kept = {name: value for name, value in settings.items() if not name.startswith("donate")}
        self._as_it_stands = jax.jit(function, **kept)
        function = lowered(function)
        self._plain = jax.jit(function, **settings)
        self._within = self._plain if kept == settings else jax.jit(function, **kept)
        self._fast = jax.jit(function, compiler_options={_FLAG: _VALUE}, **settings)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns."""
        # JAX takes compiler options at the top level only: inside another program, that program's hold.
        if not is_top_level():
            # A part of what is lowered as a whole is found there as it stands, its derivative, too.
            return (self._as_it_stands if is_inside() else self._within)(*args, **kwargs)
        if has_explicit(args) or (kwargs and has_explicit(kwargs.values())):
            args, kwargs = automatic((args, kwargs))
        results = (self._fast if _has_flag() else self._plain)(*args, **kwargs)
        meanwhile.catch_up()
        return results

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """The program at the shapes of the arguments, as `jax.jit` gives it."""
        args, kwargs = automatic((args, kwargs))
        return (self._fast if _has_flag() else self._plain).lower(*args, **kwargs)

    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Shapes and dtypes of the outputs."""
        args, kwargs = automatic((args, kwargs))
        return self._plain.eval_shape(*args, **kwargs)


def jit(function: Callable[..., Any] | None = None, **settings: Any) -> Any:
    """`jax.jit`, with the fastest compiler options: a decorator, with the settings of `jax.jit` or without."""
    if function is None:
        return functools.partial(Compiled, **settings)
    return Compiled(function, **settings)


@functools.cache
def _has_flag() -> bool:
    """Whether the programs run on CPU, by a compiler that knows the flag, which the user has not set."""
    if jax.default_backend() != "cpu" or _FLAG in os.environ.get("XLA_FLAGS", ""):
        return False
    try:
        jax.jit(lambda: 0, compiler_options={_FLAG: _VALUE}).lower().compile()
    except Exception:  # another version of XLA, without YNNPACK
        return False
    return True
