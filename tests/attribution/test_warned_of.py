"""What methods warn of beside results that are zero or NaN: gaps, saturated scores, inputs without a part in the score."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz import host
from jaxviz.attribution.completeness import TOLERANCE

TRACES = 0
X = np.linspace(0.5, 3, 12, dtype=np.float32).reshape(3, 4)


def cubes(params: Any, x: jax.Array) -> jax.Array:
    global TRACES
    TRACES += 1
    return ((x @ params) ** 3).sum(axis=1)


CUBES = jv.Model.from_function(cubes, jnp.eye(4))


def told(call: Callable[[int], Any]) -> list[str]:
    """What two calls from one line warn of, as Python shows it."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        for number in range(2):
            call(number)
    return [str(warning.message) for warning in found]


def test_a_gap_is_told_once_with_its_share():
    # One point in the middle: 3 (x/2)^2 x = 3/4 x^3 is said of x^3; the mean of the ends' squares gives 3/2 x^3.
    (found,) = told(lambda number: jv.integrated_gradients(CUBES, X * (1 + np.float32(number)), steps=1))
    assert found == (
        "integrated_gradients: the attributions of 3 of 3 examples do not sum to what the score differs by from the baseline: "
        "the gap is up to 25% of that, and 5% are allowed. Take more steps than 1; jaxviz.completeness_gap tells each "
        "example's gap"
    )
    (found,) = told(lambda number: jv.integrated_gradients(CUBES, X, steps=2, quadrature="trapezoid"))
    assert "up to 50% of that" in found
    assert "Take more steps than 2, or quadrature='gauss_legendre'" in found
    assert not told(lambda number: jv.integrated_gradients(CUBES, X, steps=2))  # exact for squares


def test_of_how_many_examples():
    # Between 0 and an example of x < 1 the score is linear, and beyond it is not.
    model = jv.Model.from_function(lambda params, x: (x + jnp.maximum(x - 1, 0)).sum(axis=1), ())
    inputs = np.float32([[0.5], [0.7], [1.9], [3.0]])
    # One point in the middle: 2 x of x + x - 1 where x/2 > 1, else x.
    (found,) = told(lambda number: jv.integrated_gradients(model, inputs, steps=1))
    assert "of 2 of 4 examples" in found
    assert f"up to {100 * 0.9 / 2.8:.3g}% of that" in found


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_the_share_is_the_one_of_diagnose(share):
    # Of x + a x^3 the middle says x + 3/4 a x^3: a gap of a/4 of 1 + a at x = 1.
    part = 4 * share * TOLERANCE / (1 - 4 * share * TOLERANCE)
    model = jv.Model.from_function(lambda params, x: (x + params * x**3).sum(axis=1), jnp.float32(part))
    inputs = np.ones((2, 1), np.float32)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        attribution = jv.integrated_gradients(model, inputs, steps=1)
    assert len(found) == (share > 1)
    assert ("completeness_gap" in jv.diagnose(model, inputs, attribution, baseline=0).codes) == (share > 1)


def test_a_score_that_is_the_same_at_both_ends():
    model = jv.Model.from_function(lambda params, x: x[:, 0] ** 2 - x[:, 1] ** 3, ())
    inputs = np.ones((1, 2), np.float32)
    assert not told(lambda number: jv.integrated_gradients(model, inputs))  # the gap is of rounding
    (found,) = told(lambda number: jv.integrated_gradients(model, inputs, steps=2, quadrature="riemann_left"))
    assert "the gap is not 0 where the score does not differ" in found


def test_who_does_not_promise_completeness_is_not_blamed():
    key = jax.random.key(0)
    assert not told(lambda number: jv.integrated_gradients(CUBES, X, steps=1, multiply_by_inputs=False))
    noisy = jv.smooth(jv.integrated_gradients, samples=2, noise=0.1)
    assert not told(lambda number: noisy(CUBES, X, steps=1, key=key))
    assert not told(lambda number: jax.jit(lambda x: jv.integrated_gradients(CUBES, x, steps=1))(X))
    assert not told(lambda number: jv.expected_gradients(CUBES, X, baselines=X / 2, samples=2, key=key))


def test_a_gap_at_a_layer_and_of_a_blur():
    model = jv.Model.from_function(lambda params, x: (jv.tag(2 * x, "twice") ** 3).sum(axis=1), ())
    (found,) = told(lambda number: jv.at_layer(jv.integrated_gradients, "twice")(model, X, steps=1))
    assert found.startswith("at_layer(integrated_gradients): the attributions of 3 of 3 examples do not sum")
    # To what the score differs by from that of the blurred image.
    score = jv.Model.from_function(lambda params, x: (x**2).sum(axis=(1, 2)), ())
    image = np.eye(9, dtype=np.float32)[4].reshape(1, 9, 1)
    blur = lambda number, steps: jv.blur_integrated_gradients(score, image, max_sigma=2, steps=steps, sqrt=number > 0)
    assert not told(lambda number: blur(number, 100))
    (found,) = told(lambda number: blur(0, 1))
    kernel = np.exp(-0.5 * (np.arange(-50, 51) / 2) ** 2)
    whole = 1 - ((kernel / kernel.sum())[46:55] ** 2).sum()
    with pytest.warns(jv.AttributionWarning):
        gap = abs(float(blur(0, 1).sum()) - whole) / whole
    assert f"up to {100 * gap:.3g}% of that" in found


def test_looking_at_the_gap_traces_nothing_and_waits_for_no_accelerator(monkeypatch):
    inputs = jnp.asarray(X)
    jv.integrated_gradients(CUBES, inputs)
    before = TRACES
    jv.integrated_gradients(CUBES, inputs * 2)
    assert before == TRACES
    seen = host.sees
    monkeypatch.setattr(host, "is_alone", lambda: False)
    monkeypatch.setattr(host, "sees", lambda array: isinstance(array, np.ndarray) and seen(array))
    assert not told(lambda number: jv.integrated_gradients(CUBES, inputs, steps=1))


WEIGHTS = np.array([[9, -9], [3, -2]], np.float32)


def outputs(function: Callable[[jax.Array], jax.Array]) -> jv.Model:
    return jv.Model.from_function(lambda params, x: function(jv.tag(x @ params, "logits")), WEIGHTS)


SATURATED = np.array([[1.0, 0.5], [-0.1, 0.3]], np.float32)  # the first example, by 18 + 2.5


@pytest.mark.parametrize(
    ("function", "target", "kind", "value"),
    [
        (jax.nn.softmax, 0, "softmax, and at 0 or 1", "logit"),
        (jax.nn.softmax, 1, "softmax, and at 0 or 1", "logit"),
        (lambda x: jax.nn.sigmoid(x[:, :1] * 2), None, "sigmoid, and at 0 or 1", "value before the sigmoid"),
        (lambda x: jnp.tanh(x[:, 1]), None, "tanh, and at -1 or 1", "value before the tanh"),
    ],
)
def test_a_saturated_score(function, target, kind, value):
    model = outputs(function)
    for method in (jv.gradient, jv.input_x_gradient, jv.at_layer(jv.gradient, "logits")):
        (found,) = told(
            lambda number, method=method: method(model, SATURATED * (1 + np.float32(number)), target=target)
        )
        assert f"the score of some example is the result of a {kind} (its derivative there is " in found
        assert f"Explain the {value} instead" in found
        assert not told(lambda number, method=method: method(model, SATURATED[1:], target=target))
    logits = model.until("logits")
    assert not told(lambda number: jv.gradient(logits, SATURATED, target=0))
    if target is not None:  # it goes all the way from the baseline, where the score is not saturated
        assert not told(lambda number: jv.integrated_gradients(model, SATURATED, target=target, steps=300))


def test_a_saturated_score_whose_attribution_is_zero():
    model = outputs(lambda x: jax.nn.softmax(100 * x))
    (found,) = told(lambda number: jv.gradient(model, SATURATED[:1], target=0))
    assert "the score of every example is the result of a softmax" in found
    assert "its derivative there is 0 to rounding" in found


def test_tiny_attributions_of_a_score_that_is_not_saturated():
    runs: list[int] = []

    def score(params: Any, x: jax.Array) -> jax.Array:
        jax.debug.callback(lambda: runs.append(1))
        return 1e-7 * x.sum(axis=1)

    tiny = jv.Model.from_function(score, ())
    assert not told(lambda number: jv.gradient(tiny, X))
    jax.effects_barrier()
    assert len(runs) == 2  # one for each gradient: what the outputs are the result of is known
    assert not told(lambda number: jv.gradient(outputs(jax.nn.softmax), SATURATED[1:] * np.float32(1e-7), target=0))


def test_one_of_several_inputs_without_a_part_in_the_score():
    first = jv.Model.from_function(lambda params, x: x[0].sum(axis=1) + 0.1, ())
    for method in (jv.gradient, jv.integrated_gradients, jv.feature_ablation, jv.deeplift):
        (found,) = told(lambda number, method=method: method(first, (X, X + np.float32(number))))
        assert found == (
            f"{method.__name__}: the attribution of inputs[1] is all zero in every example, since the score is not computed from "
            "it; leave it out, or explain another target"
        )
    both = jv.Model.from_function(lambda params, x: (x[0] + x[1]).sum(axis=1), ())
    (found,) = told(lambda number: jv.integrated_gradients(both, (X * 0, X)))
    assert "of inputs[0] is all zero in every example, since it equals the baseline" in found
    assert not told(lambda number: jv.gradient(both, (X * 0, X)))
    some = np.where(np.arange(3)[:, None] == 1, X, 0)  # not in every example
    assert not told(lambda number: jv.integrated_gradients(both, (some, X)))
    off = jv.Model.from_function(lambda params, x: x[0].sum(axis=1) + jax.nn.relu(x[1] - 9).sum(axis=1), ())
    (found,) = told(lambda number: jv.gradient(off, (X, X)))
    assert (
        "of inputs[1] is all zero in every example. It may be that the score does not depend on its values, or what"
        in found
    )
    (found,) = told(lambda number: jv.input_x_gradient(both, (X, X * 0)))
    assert "it is 0 itself, which the method multiplies by" in found


def test_a_gap_that_is_nan():
    broken = CUBES.with_params(jnp.eye(4).at[1, 2].set(jnp.nan))
    (found,) = told(lambda number: jv.completeness_gap(broken, X, X))
    assert found == (
        "completeness_gap: the gap is NaN or infinite, since the model's parameters are: params has 1 NaN among its 16 values"
    )
    spoiled = X.copy()
    spoiled[1, 1] = np.nan
    (found,) = told(lambda number: jv.completeness_gap(CUBES, X, spoiled))
    assert "the gap is NaN or infinite, since the attribution is" in found
    (found,) = told(lambda number: jv.completeness_gap(CUBES, X * np.float32(1e20), X))
    assert "since the score is, or overflows" in found
    assert not told(lambda number: jv.completeness_gap(CUBES, X, X))
    assert not told(lambda number: jax.jit(lambda x: jv.completeness_gap(broken, x, x))(X))
