"""One gradient: against numbers worked out by hand; and what is said of bad arguments."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

KERNELS = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32), np.array([[2.0, 1.0], [-1.0, 4.0]], np.float32)


def two_layers(params, x):
    return jax.nn.relu(x @ params[0]) @ params[1]


MODEL = jv.Model.from_function(two_layers, KERNELS)


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # of the second example all units are off
def test_by_hand():
    # x = (1, 1): hidden (4, -1.5), of which the second is off; x = (1, -1): hidden (-2, -2.5), both off
    inputs = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 2.0]], np.float32)  # the third: (5, 3), both on
    expected = np.array([[2.0, 6.0], [0.0, 0.0], [2 * 1 - 1 * -2, 2 * 3 - 1 * 0.5]])
    np.testing.assert_allclose(jv.gradient(MODEL, inputs, target=0), expected)
    np.testing.assert_allclose(jv.saliency(MODEL, inputs, target=0), np.abs(expected))
    np.testing.assert_allclose(jv.input_x_gradient(MODEL, inputs, target=0), inputs * expected)
    assert float(jv.gradient(MODEL, inputs, target=1)[2, 0]) == 1 * 1 + 4 * -2


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_dtype_is_that_of_the_inputs(dtype):
    model = MODEL.with_params(jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), KERNELS))
    inputs = jnp.ones((1, 2), dtype)
    assert jv.gradient(model, inputs, target=0).dtype == dtype
    assert jv.integrated_gradients(model, inputs, target=0, steps=4).dtype == dtype
    assert jv.smooth(jv.gradient, samples=3)(model, inputs, target=0, key=jax.random.key(0)).dtype == dtype


ONES = jnp.ones((2, 2))


@pytest.mark.parametrize(
    ("arguments", "target", "error", "words"),
    [
        (
            (two_layers, ONES),
            0,
            TypeError,
            "gradient: model must be a jaxviz.Model, got function; .*from_linen.*from_nnx.*from_function",
        ),
        ((MODEL, [[1.0, 2.0]]), 0, TypeError, "inputs must be an array, or a tuple of arrays .* got list"),
        ((MODEL, jnp.float32(1)), 0, ValueError, "inputs is a scalar"),
        ((MODEL, jnp.ones((0, 2))), 0, ValueError, r"inputs has shape \(0, 2\), in which there is nothing"),
        (
            (MODEL, jnp.ones((2, 2), int)),
            0,
            TypeError,
            "inputs has dtype int32, which cannot be differentiated; give floating-point",
        ),
        (
            (MODEL, ONES.at[0, 1].set(jnp.nan)),
            0,
            ValueError,
            "inputs must be finite, but 1 of the values of inputs is NaN or infinite",
        ),
        (
            (MODEL, (ONES, jnp.ones((3, 2)))),
            0,
            ValueError,
            r"same batch size on axis 0, got shapes \[\(2, 2\), \(3, 2\)\]",
        ),
        ((MODEL, ONES), None, ValueError, r"target is None, .* shape \(2, 2\); give the index of an output, 0 to 1"),
        ((MODEL, ONES), 2, ValueError, "target 2 is out of range; the model has 2 outputs, 0 to 1"),
        ((MODEL, ONES), -1, ValueError, "target -1 is out of range"),
        ((MODEL, ONES), jnp.array([0, 5]), ValueError, "target 5 is out of range"),
        ((MODEL, ONES), jnp.array([0, 1, 0]), ValueError, r"target has shape \(3,\); .* shape \(2,\)"),
        ((MODEL, ONES), 1.0, TypeError, "target must be None, an int, .* got 1.0"),
        ((MODEL, ONES), True, TypeError, "got True"),
        ((MODEL, ONES), "cat", TypeError, "got 'cat'"),
        (
            (MODEL, ONES),
            jnp.sum,
            ValueError,
            r"one score per example.*returned an array of shape \(\) for outputs an array of shape \(2, 2\)",
        ),
        ((MODEL, ONES), lambda outputs: outputs[:, 0] > 0, TypeError, "must be floating point .* got bool"),
    ],
)
def test_errors(arguments, target, error, words):
    with pytest.raises(error, match=words):
        jv.gradient(*arguments, target=target)


def test_integer_inputs_name_the_embedding_layers():
    class Words(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(nn.Embed(5, 3, name="tokens")(x).mean(1))

    ids = jnp.array([[0, 1], [4, 2]])
    model = jv.Model.from_linen(Words(), Words().init(jax.random.key(0), ids))
    with pytest.raises(
        TypeError, match=r"cannot be differentiated; attribute at an embedding layer instead \('tokens'\)"
    ):
        jv.gradient(model, ids, target=0)
    tail, embedded = model.since("tokens", ids)  # what the message says, done
    assert jv.gradient(tail, embedded, target=0).shape == (2, 2, 3)
    words = r"tail, embedded = model.since\('tokens', inputs\); jaxviz.relevance_report\(tail, embedded, ...\)"
    with pytest.raises(TypeError, match=words):
        jv.relevance_report(model, ids, target=0)
    report = jv.relevance_report(tail, embedded, target=0)
    np.testing.assert_allclose(report.score, model(ids)[:, 0].sum(), rtol=1e-6)


def test_a_traced_target_out_of_range_gives_nan():
    scores = jax.jit(lambda target: jv.gradient(MODEL, ONES, target=target))(jnp.array([0, 2]))
    assert jnp.isfinite(scores[0]).all()
    assert jnp.isnan(scores[1]).all()
