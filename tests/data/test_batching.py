"""Splits, batches and prefetching."""

import jax
import numpy as np
import pytest

import jaxviz.data
from jaxviz.data import batches, padded_batches, prefetch, split

KEY = jax.random.key(0)


def pairs(n):
    x = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    return x, np.arange(n, dtype=np.int32)


def test_one_epoch_holds_every_example_once_and_keeps_rows_together():
    x, y = pairs(10)
    found = list(batches((x, y), 4, key=KEY))
    assert [len(b[1]) for b in found] == [4, 4, 2]
    order = np.concatenate([b[1] for b in found])
    assert sorted(order) == list(range(10))
    assert list(order) != list(range(10))
    np.testing.assert_array_equal(np.concatenate([b[0] for b in found]), x[order])
    assert found[0][0].dtype == np.float32
    assert found[0][1].dtype == np.int32


def test_same_key_same_batches_other_key_others():
    def order(key):
        return np.concatenate(list(batches(np.arange(100), 7, key=key))).tolist()

    assert order(KEY) == order(jax.random.key(0))
    assert order(KEY) != order(jax.random.fold_in(KEY, 1))
    assert order(jax.random.PRNGKey(0)) == order(KEY)


def test_without_key_the_order_stays():
    assert [b.tolist() for b in batches(np.arange(5), 2)] == [[0, 1], [2, 3], [4]]


def test_dropped_remainder():
    assert [len(b) for b in batches(np.arange(10), 4, key=KEY, drop_remainder=True)] == [4, 4]
    assert [len(b) for b in batches(np.arange(8), 4, drop_remainder=True)] == [4, 4]


def test_pytrees_and_jax_arrays():
    data = {"x": jax.numpy.arange(6.0), "more": [np.arange(6)]}
    found = list(batches(data, 3, key=KEY))
    assert all(set(b) == {"x", "more"} for b in found)
    np.testing.assert_array_equal(found[1]["x"].astype(int), found[1]["more"][0])


def test_batch_size_above_the_number_of_examples_gives_one_batch():
    assert [len(b) for b in batches(np.arange(3), 8)] == [3]


@pytest.mark.parametrize("n", [1, 4, 5, 7, 8])
def test_padded_batches_have_one_size_and_lose_nothing(n):
    x, y = pairs(n)
    found = list(padded_batches((x, y), 4, key=KEY))
    assert all(b.data[0].shape == (4, 2) and b.valid.shape == (4,) and b.valid.dtype == bool for b in found)
    valid = np.concatenate([b.valid for b in found])
    labels = np.concatenate([b.data[1] for b in found])
    assert sorted(labels[valid]) == list(range(n))
    last = found[-1]
    assert set(last.data[1][~last.valid]) <= set(last.data[1][last.valid])


def test_padded_batches_shuffle_as_batches_do():
    padded = np.concatenate([b.data[b.valid] for b in padded_batches(np.arange(11), 4, key=KEY)])
    np.testing.assert_array_equal(padded, np.concatenate(list(batches(np.arange(11), 4, key=KEY))))


@pytest.mark.parametrize("function", [batches, padded_batches])
def test_errors_come_at_the_call(function):
    x, y = pairs(4)
    with pytest.raises(ValueError, match=r"same number of examples.*data\[0\] has 4, data\[1\] has 3"):
        function((x, y[:3]), 2)
    with pytest.raises(ValueError, match="empty"):
        function((x[:0], y[:0]), 2)
    with pytest.raises(ValueError, match="no array"):
        function((), 2)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        function(x, 0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got -3"):
        function(x, -3)
    with pytest.raises(TypeError, match=r"batch_size must be an int, got 2\.5"):
        function(x, 2.5)
    with pytest.raises(TypeError, match=r"key must be one key.*got 3"):
        function(x, 2, key=3)
    with pytest.raises(TypeError, match=r"data\[1\]\[0\] must be an array, got int"):
        function((x, [1, 2, 3, 4]), 2)
    with pytest.raises(ValueError, match="scalar"):
        function(np.float32(1.0), 2)


def test_dropping_the_only_batch_is_an_error():
    with pytest.raises(ValueError, match="leaves no batch of 3 examples"):
        batches(np.arange(3), 4, drop_remainder=True)


def test_split_by_fractions_and_counts():
    data = pairs(10)
    for parts in [(0.5, 0.3, 0.2), (5, 3, 2)]:
        found = split(data, parts, key=KEY)
        assert [len(part[1]) for part in found] == [5, 3, 2]
        labels = np.concatenate([part[1] for part in found])
        assert sorted(labels) == list(range(10))
        np.testing.assert_array_equal(np.concatenate([part[0] for part in found]), data[0][labels])
    assert [len(part) for part in split(np.arange(10), 0.8, key=KEY)] == [8, 2]
    assert [len(part) for part in split(np.arange(10), 7, key=KEY)] == [7, 3]


def test_split_is_random_and_repeatable():
    first, again, other = (split(np.arange(50), 0.5, key=jax.random.key(seed))[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)
    assert set(first) != set(range(25))


def test_stratified_split_keeps_the_shares():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    for part in split(labels, (0.5, 0.3, 0.2), key=KEY, stratify=labels):
        counts = np.bincount(part, minlength=3)
        np.testing.assert_allclose(counts, len(part) * np.array([0.6, 0.3, 0.1]), atol=1)
    train, _ = split(labels, 0.5, key=KEY, stratify=labels)
    assert len(set(train[:10])) > 1, "each part is shuffled"
    other, _ = split(np.arange(100), 0.5, key=jax.random.key(1), stratify=labels)
    assert set(other) != set(split(np.arange(100), 0.5, key=KEY, stratify=labels)[0])


def test_split_errors():
    for parts in [(0.5, 0.6), (0.5, 0.3), (1.5, -0.5), (5.0, 5.0)]:
        with pytest.raises(ValueError, match="sum to 1"):
            split(np.arange(10), parts, key=KEY)
    with pytest.raises(ValueError, match="sum to 9, but data has 10"):
        split(np.arange(10), (5, 4), key=KEY)
    with pytest.raises(ValueError, match="empty part"):
        split(np.arange(3), (0.9, 0.1), key=KEY)
    with pytest.raises(ValueError, match=r"stratify must be labels of shape \(10,\)"):
        split(np.arange(10), 0.5, key=KEY, stratify=np.arange(9))


def test_prefetch_keeps_order_and_moves_to_the_device():
    found = list(prefetch(batches(pairs(10), 3), size=4))
    assert all(isinstance(leaf, jax.Array) for batch in found for leaf in batch)
    assert np.concatenate([b[1] for b in found]).tolist() == list(range(10))
    device = jax.devices()[-1]
    (only,) = prefetch([np.zeros(2)], size=1, device=device)
    assert only.devices() == {device}
    assert list(prefetch([])) == []


def test_prefetch_reads_ahead_by_its_size_only():
    read = []
    ahead = prefetch((read.append(i) or np.array(i) for i in range(9)), size=3)
    next(ahead)
    assert read == [0, 1, 2]
    next(ahead)
    assert read == [0, 1, 2, 3]


def test_prefetch_allows_a_loader_to_reuse_its_memory():
    memory = np.zeros((64, 64), np.float32)

    def loader():
        for i in range(6):
            memory[:] = i
            yield memory

    assert [float(batch.mean()) for batch in prefetch(loader(), size=3)] == [0, 1, 2, 3, 4, 5]


def test_prefetch_raises_an_error_in_its_turn():
    def broken():
        yield np.array(0)
        yield np.array(1)
        raise OSError("disk")

    ahead = prefetch(broken(), size=4)
    assert int(next(ahead)) == 0
    assert int(next(ahead)) == 1
    with pytest.raises(OSError, match="disk"):
        next(ahead)
    with pytest.raises(ValueError, match="size must be at least 1"):
        prefetch([], size=0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda d: d.split(pairs(4), "a", key=KEY),
            TypeError,
            "split: parts must be a number, or a sequence .* got 'a'",
        ),
        (lambda d: d.split(pairs(4), None, key=KEY), TypeError, "split: parts must be .* got None"),
        (lambda d: d.split(pairs(4), ["a", "b"], key=KEY), TypeError, "split: parts must be"),
        (lambda d: d.split(pairs(4), True, key=KEY), TypeError, "split: parts must be .* got True"),
        (lambda d: d.prefetch(None), TypeError, "prefetch: iterator must yield pytrees of arrays, got None"),
        (lambda d: d.prefetch("abc"), TypeError, "prefetch: iterator must yield pytrees of arrays, got 'abc'"),
        (
            lambda d: jax.jit(lambda x: next(d.batches(x, 2)))(np.ones(4)),
            TypeError,
            "data is traced; .* outside of jax.jit",
        ),
        (lambda d: jax.jit(lambda k: next(d.batches(np.ones(4), 2, key=k)))(KEY), TypeError, "batches: key is traced"),
    ],
)
def test_what_cannot_be_cut(call, error, message):
    with pytest.raises(error, match=message):
        call(jaxviz.data)
