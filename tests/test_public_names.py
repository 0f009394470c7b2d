"""The public names: what type checkers see is what loads."""

import ast
import importlib
import inspect

import pytest

import jaxviz


@pytest.mark.parametrize("package", ["jaxviz", "jaxviz.figures"])
def test_lazy_names_are_those_that_type_checkers_see(package):
    module = importlib.import_module(package)
    seen = {
        alias.asname: (statement.module, alias.name)
        for branch in ast.parse(inspect.getsource(module)).body
        if isinstance(branch, ast.If)
        for statement in branch.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert set(dir(module)) == set(seen)
    for name, (source, original) in seen.items():
        imported = importlib.import_module(source)
        there = getattr(imported, original, None) or importlib.import_module(f"{source}.{original}")
        assert getattr(module, name) is there


def test_an_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match="module 'jaxviz' has no attribute 'nothing'"):
        _ = jaxviz.nothing
