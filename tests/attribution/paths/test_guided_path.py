"""Guided integrated gradients against `saliency`, by hand, and how completely they share the score out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {"steps": 40},
    "free": {"steps": 20, "fraction": 0.1, "max_distance": 1.0},
    "one by one": {"steps": 10, "fraction": 0, "max_distance": 0.3},
    "all": {"steps": 10, "fraction": 1, "max_distance": 0.3},
    "straight": {"steps": 10, "fraction": 0.5, "max_distance": 0},
}
FREE: dict[str, Any] = {"fraction": 0.0, "max_distance": 1.0}


def close(ours: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def miss(case: Any, **settings: Any) -> float:
    """By how much the sum misses, as a share of the largest difference of the score."""
    given = {"target": case.target, "baseline": case.baseline}
    found = jv.guided_integrated_gradients(case.model, case.inputs, **given, **settings)
    gap = jv.completeness_gap(case.model, case.inputs, found, **given)
    whole = jv.completeness_gap(case.model, case.inputs, jnp.zeros_like(found), **given)
    return float(jnp.abs(gap).max() / jnp.abs(whole).max())


@pytest.mark.parametrize("reference", ["mlp", "cnn"], indirect=True)
def test_against_saliency(double):
    for kind, settings in SETTINGS.items():
        ours = jv.guided_integrated_gradients(
            double.model,
            double.inputs,
            target=double.target,
            baseline=double.baseline,
            quadrature="riemann_left",
            **settings,
        )
        close(ours, double.figures[f"guided/{kind}"], 1e-6)


@pytest.mark.parametrize("reference", ["cnn"], indirect=True)
def test_how_much_the_sum_misses_where_the_gradient_jumps(double):
    """The figures of the docstring."""
    for distance, left, trapezoid in ((0.02, (0.03, 0.03), (0.008, 0.009)), (1.0, (0.42, 0.33), (0.10, 0.09))):
        for quadrature, figures in (("riemann_left", left), ("trapezoid", trapezoid)):
            for steps, figure in zip((200, 800), figures, strict=True):
                found = miss(double, steps=steps, max_distance=distance, quadrature=quadrature)
                assert found == pytest.approx(figure, rel=0.2)


def test_the_sum_comes_out_for_a_smooth_network():
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        first, second, inputs = (jnp.asarray(random.normal(size=shape)) for shape in ((6, 9), (9,), (4, 6)))
        model = jv.Model.from_function(lambda params, x: jnp.tanh(x @ params[0]) @ params[1], (first, second))
        for quadrature in ("riemann_left", "trapezoid"):
            gaps = [
                np.abs(
                    jv.completeness_gap(
                        model,
                        inputs,
                        jv.guided_integrated_gradients(
                            model, inputs, steps=steps, max_distance=1, quadrature=quadrature
                        ),
                    )
                ).max()
                for steps in (40, 400)
            ]
            assert gaps[1] < gaps[0] / 8


def test_what_matters_less_goes_first():
    model = jv.Model.from_function(lambda params, x: 2 * x[:, 0] + x[:, 1] + x[:, 0] * x[:, 1], ())
    inputs = jnp.ones((1, 2))
    # First the second input, while the first is 0, then the first.
    np.testing.assert_allclose(jv.guided_integrated_gradients(model, inputs, steps=4, **FREE), [[3.0, 1.0]], rtol=1e-6)
    straight = jv.guided_integrated_gradients(model, inputs, steps=4, max_distance=0)
    np.testing.assert_allclose(straight, [[2.5, 1.5]], rtol=1e-6)
    half = jv.guided_integrated_gradients(model, inputs, steps=100, fraction=0, max_distance=0.25)
    assert 2.5 < half[0, 0] < 3.0


def test_equal_gradients_go_together():
    model = jv.Model.from_function(lambda params, x: x.sum(axis=1) ** 2, ())
    found = jv.guided_integrated_gradients(model, jnp.ones((2, 7)), steps=5, **FREE)
    np.testing.assert_allclose(found, np.full((2, 7), 7.0), rtol=1e-5)


def test_features_of_several_inputs_are_ranked_together():
    def joint(params: Any, x: jax.Array) -> jax.Array:
        return jnp.tanh(x @ params).sum(axis=1)

    random = np.random.default_rng(0)
    weights, inputs = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((5, 4), (3, 5)))
    whole = jv.guided_integrated_gradients(jv.Model.from_function(joint, weights), inputs, steps=10, **FREE)

    def apart(params: Any, inputs: Any) -> jax.Array:
        return joint(params, jnp.concatenate([inputs[0], inputs[1][:, :, 0].astype(jnp.float32)], axis=1))

    parts = (inputs[:, :2], inputs[:, 2:, None])
    found = jv.guided_integrated_gradients(jv.Model.from_function(apart, weights), parts, steps=10, **FREE)
    close(jnp.concatenate([found[0], found[1][:, :, 0]], axis=1), whole, 1e-5)
    narrow = (parts[0], parts[1].astype(jnp.bfloat16))
    found = jv.guided_integrated_gradients(jv.Model.from_function(apart, weights), narrow, steps=10, **FREE)
    assert [leaf.dtype for leaf in found] == [jnp.float32, jnp.bfloat16]
    close(found[0], whole[:, :2], 0.1)


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # which is what it says
def test_what_is_at_the_baseline_gets_nothing():
    model = jv.Model.from_function(lambda params, x: (x**2).sum(axis=1), ())
    inputs = jnp.array([[1.0, 1.0, 1.0], [1.0, 2.0, 1.0]])
    found = jv.guided_integrated_gradients(model, inputs, baseline=1.0, steps=3)
    np.testing.assert_allclose(found, [[0.0, 0.0, 0.0], [0.0, 3.0, 0.0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"fraction": 1.5}, ValueError, r"fraction must be in \[0, 1\], got 1.5"),
        ({"max_distance": -0.1}, ValueError, r"max_distance must be in \[0, 1\], got -0.1"),
        ({"max_distance": "far"}, TypeError, "max_distance must be a number, got 'far'"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"quadrature": "gauss_legendre"}, ValueError, "quadrature must be one of 'riemann_left', 'trapezoid'"),
        ({"baseline": np.zeros(3)}, ValueError, "baseline of shape"),
    ],
)
def test_errors(settings, error, words):
    model = jv.Model.from_function(lambda params, x: x.sum(axis=1), ())
    with pytest.raises(error, match=f"guided_integrated_gradients: {words}"):
        jv.guided_integrated_gradients(model, jnp.ones((2, 4)), **settings)
