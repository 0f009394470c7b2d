"""The attention methods against NumPy in float64: a transformer of matrices, rollout and Chefer's rule by their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv


def close(one, other, tolerance=2e-6):
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    assert one.shape == other.shape
    assert np.abs(one - other).max() <= tolerance * np.abs(other).max()


def test_the_reference_is_the_network(case):
    close(case.model(case.inputs), case.reference()[0], 1e-5)


def test_maps(case):
    maps = jv.attention_maps(case.model, case.inputs)
    assert list(maps) == case.paths
    for found, expected in zip(maps.values(), case.reference()[1], strict=True):
        close(found, expected)


def rollout(weights, *, residual=0.5, heads=np.mean, discard=0.0):
    """One example at a time, one layer at a time."""
    results = []
    for example in zip(*weights, strict=True):
        result = np.eye(example[0].shape[-1])
        for layer in example:
            fused = heads(layer, axis=0)
            smallest = np.argsort(fused.ravel(), kind="stable")[: int(fused.size * discard)]
            fused.ravel()[smallest] = 0
            matrix = (1 - residual) * fused + residual * np.eye(len(fused))
            result = matrix / matrix.sum(axis=1, keepdims=True) @ result
        results.append(result)
    return np.stack(results)


def test_rollout(case):
    weights = case.reference()[1]
    expected = rollout(weights)
    found = jv.attention_rollout(case.model, case.inputs)
    close(found, expected)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)  # shares
    close(jv.attention_rollout(case.model, case.inputs, residual=0.2), rollout(weights, residual=0.2))


@pytest.mark.parametrize(("heads", "discard"), [("mean", 0.3), ("mean", 0.9), ("min", 0.2), ("max", 0.0)])
def test_rollout_settings(cases, heads, discard):
    case = cases("vit")
    settings = {"heads": getattr(np, heads), "discard": discard}
    found = jv.attention_rollout(case.model, case.inputs, heads=heads, discard=discard)
    close(found, rollout(case.reference()[1], **settings))


def test_rollout_of_one_layer_and_its_ends(cases):
    case = cases("vit")
    weights = case.reference()[1]
    close(jv.attention_rollout(case.model, case.inputs, layers="block_1/attention"), rollout(weights[1:]))
    close(jv.attention_rollout(case.model, case.inputs, layers=(case.paths[0],)), rollout(weights[:1]))
    close(jv.attention_rollout(case.model, case.inputs, residual=1), np.stack([np.eye(7)] * 2))
    product = weights[1].mean(axis=1) @ weights[0].mean(axis=1)
    close(jv.attention_rollout(case.model, case.inputs, residual=0), product)


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # which is what it says
def test_a_row_of_which_nothing_is_left_is_zero(cases):
    case = cases("vit")
    assert not np.asarray(jv.attention_rollout(case.model, case.inputs, residual=0, discard=1)).any()


def gradients(case, target, step=1e-5):
    """The derivatives of each example's score by its own weights, by central differences."""
    weights = case.reference()[1]
    results = []
    for layer, used in enumerate(weights):
        result = np.zeros(used.shape)
        for place in np.ndindex(used.shape[1:]):
            shifts = [np.zeros(each.shape) for each in weights]
            shifts[layer][(slice(None), *place)] = step
            above = case.reference(shifts)[0]
            below = case.reference([-shift for shift in shifts])[0]
            result[(slice(None), *place)] = ((above - below) / (2 * step))[np.arange(2), target]
        results.append(result)
    return results


def chefer(weights, gradients):
    results = []
    for example, derivatives in zip(zip(*weights, strict=True), zip(*gradients, strict=True), strict=True):
        result = np.eye(example[0].shape[-1])
        for layer, derivative in zip(example, derivatives, strict=True):
            result = result + np.maximum(layer * derivative, 0).mean(axis=0) @ result
        results.append(result)
    return np.stack(results)


def test_attention_x_gradient(case):
    target = np.array([2, 0])
    weights, derivatives = case.reference()[1], gradients(case, target)
    found = jv.attention_x_gradient(case.model, case.inputs, target=target)
    expected = chefer(weights, derivatives)
    close(found - np.eye(expected.shape[-1])[None], expected - np.eye(expected.shape[-1]), 1e-5)
    if case.inputs.dtype == jnp.int32:
        padding = np.broadcast_to((np.asarray(case.inputs) == 0)[:, None], found.shape) & ~np.eye(5, dtype=bool)
        assert not np.asarray(found)[padding].any()
        assert np.asarray(found)[~padding].any()


def test_one_layer_by_itself(cases):
    case, target = cases("bert"), np.array([2, 0])
    weights, derivatives = case.reference()[1], gradients(case, target)
    one = jv.attention_x_gradient(case.model, case.inputs, target=target, layers=case.paths[0])
    close(one, chefer(weights[:1], derivatives[:1]), 1e-5)
    product = jv.at_layer(jv.input_x_gradient, case.paths[1])(jv.tag_attention(case.model), case.inputs, target=target)
    close(product, weights[1] * derivatives[1], 1e-5)


def test_rows_and_grids(cases):
    case = cases("vit")
    for method in (jv.attention_rollout, jv.attention_x_gradient):
        explain = lambda method=method, **settings: method(case.model, case.inputs, target=1, **settings)
        matrix = np.asarray(explain())
        np.testing.assert_array_equal(explain(token=0), matrix[:, 0])
        np.testing.assert_array_equal(explain(token=-1), matrix[:, 6])
        np.testing.assert_array_equal(explain(token=np.array([2, -3])), matrix[[0, 1], [2, 4]])
        grid = matrix[:, 0, 1:].reshape(2, 2, 3)  # without the class token
        np.testing.assert_array_equal(explain(token=0, upsample=False), grid)
        np.testing.assert_array_equal(explain(token=0, upsample=(2, 3)), grid)
        for size, upsample in (((8, 12), True), ((4, 5), [4, 5])):
            expected = jax.image.resize(grid, (2, *size), "linear", antialias=False)
            close(explain(token=0, upsample=upsample), expected)


def test_double_precision(cases):
    case = cases("function")
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):  # JAX's own attention promotes
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), case.model.params)
        model, inputs = case.model.with_params(params), jnp.asarray(case.inputs, jnp.float64)
        for found, expected in zip(jv.attention_maps(model, inputs).values(), case.reference()[1], strict=True):
            assert found.dtype == jnp.float64
            close(found, expected, 1e-6)
        one = jv.attention_x_gradient(model, inputs, target=1)
        assert (
            one.dtype == jv.attention_rollout(model, inputs, discard=0.5, residual=np.float32(0.5)).dtype == jnp.float64
        )
        close(one - np.eye(5)[None], chefer(case.reference()[1], gradients(case, np.array([1, 1]))) - np.eye(5), 1e-6)
