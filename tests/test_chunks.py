"""Chunks: how many there are and of which sizes."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz import chunks


@pytest.mark.parametrize("count", [1, 2, 7, 50, 53, 1000])
@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("chunk_size", [1, 2, 13, 50, 640, None])
def test_sizes(count, batch, chunk_size):
    sizes = chunks.sizes(count, batch, chunk_size)
    assert sum(sizes) == count  # nothing is evaluated twice
    assert len(set(sizes)) <= 2  # each size is a compilation
    assert max(sizes) - min(sizes) <= 1
    if chunk_size is not None:
        assert max(sizes) == 1 or max(sizes) * batch <= chunk_size
        assert len(sizes) <= 1.34 * -(-count // max(chunk_size // batch, 1)) + 1


def test_equal_sizes_where_the_count_allows_it():
    assert chunks.sizes(50, 1, 16) == (10,) * 5
    assert chunks.sizes(50, 1, 50) == (50,)
    assert chunks.sizes(53, 1, 30) == (27, 26)


def test_default_follows_the_size_of_the_inputs():
    assert chunks.sizes(50, 1, None, values=10) == (50,)
    assert max(chunks.sizes(50, 1, None, values=chunks.DEFAULT_VALUES // 5)) == 5
    assert chunks.sizes(3, 8, None, values=10 * chunks.DEFAULT_VALUES) == (1, 1, 1)


@pytest.mark.parametrize("progress", [False, True])
def test_fold_goes_through_the_variations_in_order(progress, capsys):
    seen = []

    def step(carry, part):
        seen.append(part["a"].tolist())
        return carry + part["b"].sum()

    variations = {"a": np.arange(5), "b": np.ones((5, 2))}
    assert chunks.fold(step, jnp.float32(0), variations, (2, 2, 1), progress=progress, label="steps") == 10
    assert seen == [[0, 1], [2, 3], [4]]
    assert ("steps" in capsys.readouterr().out) == progress
