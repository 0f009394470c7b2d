"""Paths and patterns."""

import jax.numpy as jnp
import pytest

from jaxviz.program import paths


@pytest.mark.parametrize(
    ("path", "pattern", "fits"),
    [
        ("a/b/kernel", "a/b/kernel", True),
        ("a/b/kernel", "**/kernel", True),
        ("kernel", "**/kernel", True),
        ("a/b/kernel", "*/kernel", False),
        ("a/b/kernel", "a/**", True),
        ("a/b/kernel", "**", True),
        ("a/b/kernel", "a/**/kernel", True),
        ("a/kernel", "a/**/kernel", True),
        ("Dense_10", "Dense_?", False),
        ("Dense_1#2", "Dense_1*", True),
        ("Dense_1", "Dense_1#*", False),
        ("axb", "a.b", False),
        ("a[0]", "a[0]", True),
        ("a/b", "a", False),
        ("ab", "a", False),
    ],
)
def test_match(path, pattern, fits):
    assert paths.match(path, pattern) is fits
    assert paths.match(path, ("nothing", pattern)) is fits


def test_flatten_and_join():
    tree = {"b": [jnp.zeros(2), {"c": 1}], "a": None}
    assert list(paths.flatten(tree)) == ["b/0", "b/1/c"]
    assert paths.join("", "a", "", "b") == "a/b"


def test_choose_and_hints():
    known = [f"Block_{i}/Dense_{j}" for i in range(5) for j in range(4)]
    assert paths.choose("f", ("Block_3/*", "Block_0/Dense_0"), known) == ("Block_0/Dense_0", *known[12:16])
    with pytest.raises(
        ValueError, match=r"f: layer 'Block_2/Dens_1' not found; nearest of 20 layers: Block_2/Dense_1, "
    ):
        paths.choose("f", ("Block_2/Dens_1",), known)
    with pytest.raises(ValueError, match=r"nearest of 20 layers: Block_0/Dense_0"):
        paths.choose("f", ("zzz",), known)
    with pytest.raises(TypeError, match="patterns must be strings, got int"):
        paths.match("a", (3,))
