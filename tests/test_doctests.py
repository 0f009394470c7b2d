"""The examples in the documentation run."""

import doctest
import importlib
import pkgutil

import jax
import pytest

import jaxviz

MODULES = [
    module.name for module in pkgutil.walk_packages(jaxviz.__path__, "jaxviz.") if module.name != "jaxviz.__main__"
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_the_docstrings_run(name):
    module = importlib.import_module(name)
    # As a user would run them: with JAX's own promotion rules.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        failures, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failures == 0
