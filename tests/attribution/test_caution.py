"""What methods warn of: once, at the caller's line, without a trace or an evaluation of their own."""

import inspect
import types
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz import host
from jaxviz.attribution.caution import cautious

TRACES = 0
RUNS = 0


def ran(first: Any) -> None:
    global RUNS
    RUNS += 1


def network(params: Any, x: jax.Array) -> jax.Array:
    global TRACES
    TRACES += 1
    return jnp.maximum(jv.tag(x @ params, "grid"), 0).sum(axis=1)


MODEL = jv.Model.from_function(network, jnp.array([[1.0], [2.0]]))


def told(params: Any, x: jax.Array) -> jax.Array:
    jax.debug.callback(ran, x[0, 0])
    return network(params, x)


TOLD = jv.Model.from_function(told, MODEL.params)
OFF = np.array([[-1.0, -1.0], [1.0, 1.0]], np.float32)  # the first has its only unit off
NAN = jv.Model.from_function(lambda params, x: jnp.sqrt(x * params).sum(axis=1), jnp.array([[0.0, 1.0]]))


CURVED = jv.Model.from_function(lambda params, x: (x**3).sum(axis=1), ())


def caught(call: Any) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        call()
    return list(found)


def test_once_at_the_line_of_the_caller():
    def often() -> None:
        for number in range(3):
            jv.gradient(MODEL, OFF * np.float32(number + 1))

    (found,) = caught(often)
    assert found.category is jv.AttributionWarning
    assert found.filename == __file__
    assert found.lineno == inspect.getsourcelines(often)[1] + 2
    assert str(found.message) == (
        "gradient: the attribution of some example is all zero. It may be that the score does not depend on the inputs there, "
        "all units of a layer are off, or a softmax, sigmoid or tanh is saturated (explain what enters it instead); "
        "jaxviz.diagnose(model, inputs, attribution, target=...) tells which"
    )
    assert "of every example" in str(caught(lambda: jv.saliency(MODEL, OFF[:1]))[0].message)
    assert not caught(lambda: jv.gradient(MODEL, OFF[1:]))


def test_a_lone_accelerator_changes_nothing_on_the_host(monkeypatch):
    monkeypatch.setattr(host, "is_alone", lambda: False)
    assert len(caught(lambda: jv.gradient(MODEL, OFF))) == 1


@pytest.mark.parametrize(
    ("method", "settings", "name"),
    [
        (jv.smooth(jv.gradient, samples=2, noise=0.0), {"key": jax.random.key(0)}, "smooth(gradient)"),
        (
            jv.smooth(jv.integrated_gradients, samples=2, noise=0.0),
            {"key": jax.random.key(0)},
            "smooth(integrated_gradients)",
        ),
        (jv.at_layer(jv.gradient, "grid"), {}, "at_layer(gradient)"),
        (
            jv.at_layer(jv.smooth(jv.gradient, samples=2, noise=0.0), "grid"),
            {"key": jax.random.key(0)},
            "at_layer(Smooth)",
        ),
        (lambda *args, **settings: jv.explain_dataset(jv.gradient, *args, progress=False), {}, "explain_dataset"),
    ],
)
def test_a_method_around_a_method_warns_by_itself_alone(method, settings, name):
    (found,) = caught(lambda: method(MODEL, OFF, **settings))
    assert str(found.message).startswith(f"{name}: the attribution")
    assert found.filename == __file__


def test_a_data_set_tells_how_many_also_when_it_goes_on(tmp_path):
    dataset, path = np.repeat(OFF, 3, axis=0), tmp_path / "pass"
    call = lambda: jv.explain_dataset(jv.gradient, MODEL, dataset, batch_size=2, progress=False, path=path)
    for _ in range(2):
        (found,) = caught(call)
        assert "the attributions of 3 of 6 examples are all zero" in str(found.message)


def test_inputs_that_are_the_baseline():
    for method in (jv.integrated_gradients, jv.feature_ablation, jv.deeplift):
        (found,) = caught(lambda method=method: method(MODEL, OFF, baseline=np.float32([1, 1])))
        assert str(found.message).startswith(
            f"{method.__name__}: some example equals the baseline, so that its attribution"
        )
    (found,) = caught(lambda: jv.at_layer(jv.integrated_gradients, "grid")(MODEL, OFF[1:], baseline=1))
    assert str(found.message).startswith("at_layer(integrated_gradients): every example equals the baseline")
    (found,) = caught(lambda: jv.integrated_gradients(MODEL, OFF * 0 - 1, baseline=-2))
    assert "baseline=...) tells which" in str(found.message)
    several = jv.Model.from_function(lambda params, x: (x[0] * x[1]).sum(axis=1), ())
    (found,) = caught(lambda: jv.integrated_gradients(several, (OFF, OFF), baseline=(OFF, OFF[:1])))
    assert "some example equals the baseline" in str(found.message)


def test_a_map_that_relu_took_away():
    grid = jv.Model.from_function(lambda params, x: -jv.tag(x, "grid").sum(axis=(1, 2)), ())
    (found,) = caught(lambda: jv.grad_cam(grid, np.ones((1, 3, 2), np.float32), layer="grid"))
    assert "relu=True took away a map that is negative everywhere" in str(found.message)
    assert not caught(lambda: jv.grad_cam(grid, np.ones((1, 3, 2), np.float32), layer="grid", relu=False))


def test_what_is_not_finite():
    (found,) = caught(lambda: jv.gradient(NAN, np.ones((2, 2), np.float32)))
    assert str(found.message).startswith("gradient: the attribution of every example is NaN or infinite")
    huge = jv.Model.from_function(lambda params, x: (x * jnp.float32(3e38)).sum(axis=1), ())
    assert not caught(lambda: jv.gradient(huge, np.ones((2, 9), np.float32)))  # the sum overflows, no value does
    signs = jv.Model.from_function(lambda params, x: x @ jnp.array([1.0, -1.0]), ())
    assert not caught(lambda: jv.gradient(signs, np.ones((2, 2), np.float32)))  # the sum is 0, no value is


def test_nothing_while_it_is_traced():
    assert not caught(lambda: jax.jit(jv.gradient)(MODEL, OFF))
    assert not caught(lambda: jax.vmap(lambda x: jv.gradient(MODEL, x[None]))(OFF))
    assert not caught(lambda: jax.grad(lambda x: jv.gradient(CURVED, x).sum())(OFF * 0))


class OnAccelerator:
    """What stands for an array on another device: to look at it would wait for it."""

    ndim, is_fully_addressable = 2, True

    def devices(self) -> list[Any]:
        return [types.SimpleNamespace(platform="gpu")]

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise AssertionError("looked at")


def test_nothing_waits_for_an_accelerator(monkeypatch):
    monkeypatch.setattr(host, "is_alone", lambda: False)
    result = OnAccelerator()
    assert cautious(lambda model, inputs: result)(MODEL, OFF) is result


def test_an_error_leaves_the_next_call_as_it_is():
    with pytest.raises(ValueError, match="out of range"):
        jv.gradient(jv.Model.from_function(lambda params, x: x, ()), OFF, target=7)
    assert len(caught(lambda: jv.gradient(MODEL, OFF))) == 1


def test_it_costs_no_trace_and_no_evaluation():
    plain = inspect.unwrap(jv.gradient)
    counts = []
    for method in (plain, jv.gradient):
        caught(lambda method=method: method(TOLD, OFF))
        jax.effects_barrier()
        before = TRACES, RUNS
        caught(lambda method=method: method(TOLD, OFF * 2))
        jax.effects_barrier()
        counts.append((TRACES - before[0], RUNS - before[1]))
    assert counts[0] == counts[1]
    assert counts[0][0] == 0
    assert counts[0][1] > 0


def test_every_method_is_cautious():
    others = {"attention_maps", "completeness_gap", "diagnose", "explain_dataset", "relevance_report"}
    code = cautious(lambda model, inputs: None).__code__
    methods = 0
    for name in dir(jv.attribution):
        method = getattr(jv.attribution, name)
        parameters = list(inspect.signature(method).parameters) if inspect.isfunction(method) else []
        if parameters[:2] == ["model", "inputs"] and name not in others:
            assert method.__code__ is code, f"{name} is not decorated with caution.cautious"
            methods += 1
    assert methods > 30
    for wrapper in (jv.smooth(jv.gradient), jv.at_layer(jv.gradient, "grid")):
        assert type(wrapper).__call__.__code__ is code
