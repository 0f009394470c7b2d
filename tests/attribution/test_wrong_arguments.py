"""Wrong arguments, for every method: refused by a message that names the method, the argument and what is allowed."""

import functools
import inspect
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz import meanwhile

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*no ReLU was found:jaxviz.AttributionWarning"
)  # some networks have none

KEY = jax.random.key(0)
RANDOM = np.random.default_rng(0)  # by NumPy: nothing is compiled
X = jnp.asarray(RANDOM.normal(size=(2, 4, 4, 2)), jnp.float32)
SET = np.zeros((3, 4, 4, 2), np.float32)
TILES = np.arange(4).reshape(2, 1, 2, 1, 1).repeat(2, 1).repeat(2, 3).reshape(4, 4, 1)


def apply(params: Any, x: jax.Array) -> jax.Array:
    x = jv.tag(jnp.tanh(jnp.einsum("bhwc,cd->bhwd", x, params[0])), "conv")
    return x.mean((1, 2)) @ params[1]


PARAMS = tuple(jnp.asarray(RANDOM.normal(size=shape), jnp.float32) for shape in ((2, 3), (3, 3)))
MODEL = jv.Model.from_function(apply, PARAMS)


def attend(params: Any, x: jax.Array) -> jax.Array:
    tokens = jnp.einsum("bhwc,cd->bhwd", x, params[0]).reshape(x.shape[0], -1, 3)
    return (jax.nn.softmax(tokens @ tokens.mT) @ tokens).mean(1)


ATTENDING = jv.Model.from_function(attend, PARAMS[:1])
ATTENTION = ("attention_maps", "attention_rollout", "attention_x_gradient")
CAMS = (
    "grad_cam",
    "grad_cam_pp",
    "xgrad_cam",
    "hires_cam",
    "layer_cam",
    "eigen_cam",
    "eigen_grad_cam",
    "seg_eigen_cam",
    "kpca_cam",
    "fem_cam",
    "shapley_cam",
    "score_cam",
    "ablation_cam",
    "guided_grad_cam",
)
METHODS: dict[str, dict[str, Any]] = {
    **{
        name: {} for name in ("gradient", "saliency", "input_x_gradient", "guided_backprop", "deconvnet", "beta_smooth")
    },
    "integrated_gradients": {"steps": 2},
    "expected_gradients": {"baselines": SET, "samples": 2, "key": KEY},
    "guided_integrated_gradients": {"steps": 2},
    "blur_integrated_gradients": {"steps": 2},
    "xrai": {"steps": 2, "segments": TILES},
    "deeplift": {},
    "deep_shap": {"baselines": SET},
    "lrp": {},
    "relevance_report": {},
    **{name: {"layer": "conv"} for name in CAMS},
    "random_cam": {"layer": "conv", "key": KEY},
    "feature_factorization": {"layer": "conv", "components": 2},
    "full_grad": {},
    "occlusion": {"window": 2},
    "feature_ablation": {"mask": TILES},
    "feature_permutation": {"mask": TILES, "key": KEY},
    "shapley_values": {"mask": TILES},
    "shapley_sampling": {"mask": TILES, "samples": 2, "key": KEY},
    "kernel_shap": {"mask": TILES, "samples": 14, "key": KEY},
    "lime": {"mask": TILES, "samples": 9, "key": KEY},
    "rise": {"samples": 4, "grid": 2, "key": KEY},
    "conductance": {"layer": "conv", "steps": 2},
    "internal_influence": {"layer": "conv", "steps": 2},
    "neuron_conductance": {"layer": "conv", "unit": (0, 0, 0), "steps": 2},
    **{name: {} for name in ATTENTION},
    "diagnose": {},
    "completeness_gap": {"attribution": X},
}
WRONG: dict[str, Any] = {
    "channels": (
        {"inputs": jnp.ones((2, 4, 4, 5), jnp.float32)},
        ValueError,
        r"the model cannot be applied to inputs, float32\[2, 4, 4, 5\]: ",
    ),
    "no inputs": (
        {"inputs": ()},
        TypeError,
        r"inputs must be an array, or a tuple of arrays for several inputs, got \(\)",
    ),
    "masked": (
        {"inputs": np.ma.masked_array(np.asarray(X))},
        TypeError,
        r"inputs is a masked array; say what .*filled",
    ),
    "objects": (
        {"inputs": np.asarray(X).astype(object)},
        TypeError,
        "inputs must be an array of numbers, got dtype object",
    ),
    "strings": ({"inputs": np.full((2, 4), "a")}, TypeError, "inputs must be an array of numbers, got dtype <U1"),
    "scalar score": (
        {"target": jnp.sum},
        ValueError,
        r"target, a callable, must map outputs to one score per example, .* \(\)",
    ),
    "no score": ({"target": lambda outputs: None}, ValueError, "target, a callable, must map .*; it returned NoneType"),
    "failing": (
        {"target": lambda outputs: outputs["a"]},
        TypeError,
        r"target, a callable, cannot be applied .*\(2, 3\): JAX",
    ),
    "integers": (
        {"target": lambda outputs: outputs.argmax(1)},
        TypeError,
        "the score must be floating point to be explained, got int",
    ),
}


def test_every_method_is_in_the_table():
    methods = set()
    for name in dir(jv.attribution):
        method = getattr(jv.attribution, name)
        parameters = list(inspect.signature(method).parameters) if inspect.isfunction(method) else []
        if parameters[:2] == ["model", "inputs"]:
            methods.add(name)
    assert methods == set(METHODS)


CALLS = [
    (name, wrong) for name in METHODS for wrong in WRONG if name != "attention_maps" or "inputs" in WRONG[wrong][0]
]


@pytest.mark.parametrize(("name", "wrong"), CALLS)
def test_inputs_and_targets(name, wrong):
    given, error, words = WRONG[wrong]
    given = {"inputs": X} | ({} if name == "attention_maps" else {"target": 1}) | given
    model = ATTENDING if name in ATTENTION else MODEL
    with pytest.raises(error, match=f"^{name}: {words}"):
        getattr(jv, name)(model, given.pop("inputs"), **given, **METHODS[name])


WITH_BASELINE = (
    "integrated_gradients",
    "guided_integrated_gradients",
    "deeplift",
    "score_cam",
    "occlusion",
    "feature_ablation",
    "rise",
    "conductance",
    "diagnose",
    "completeness_gap",
)


@pytest.mark.parametrize("name", WITH_BASELINE)
@pytest.mark.parametrize(
    ("baseline", "error", "words"),
    [
        (1e300, ValueError, "baseline has values that are infinite as the inputs' float32, whose largest is 3.4"),
        (np.full((4, 4, 2), -1e39), ValueError, "baseline has values that are infinite as the inputs' float32"),
        (np.zeros((4, 4, 2), complex), TypeError, "baseline must be numbers, got dtype complex128"),
        (np.full((4, 4, 2), None), TypeError, "baseline must be numbers, got dtype object"),
    ],
)
def test_baselines(name, baseline, error, words):
    with pytest.raises(error, match=f"^{name}: {words}"):
        getattr(jv, name)(MODEL, X, target=1, baseline=baseline, **METHODS[name])


@pytest.mark.parametrize("baseline", [300, -1, np.array([[0, 256]])])
def test_a_baseline_that_integer_inputs_cannot_have(baseline):
    model = jv.Model.from_function(lambda params, x: x.astype(jnp.float32).sum(1), ())
    words = "baseline must be in the range of the inputs' uint8, 0 to 255, got"
    with pytest.raises(ValueError, match=f"^feature_ablation: {words}"):
        jv.feature_ablation(model, np.array([[1, 2]], np.uint8), baseline=baseline)
    found = jv.feature_ablation(model, np.array([[1, 2]], np.uint8), baseline=255)
    assert found.tolist() == [[-254, -253]]


FLAGS = [
    *(("multiply_by_inputs", name) for name in ("integrated_gradients", "expected_gradients", "deeplift", "deep_shap")),
    ("multiply_by_inputs", "neuron_conductance"),
    ("antithetic", "shapley_sampling"),
    ("sqrt", "blur_integrated_gradients"),
    *(("relu", name) for name in CAMS),
]


@pytest.mark.parametrize(("flag", "name"), FLAGS)
@pytest.mark.parametrize("value", ["no", None, np.array([1, 2])], ids=str)
def test_flags_are_true_or_false_and_nothing_else(flag, name, value):
    with pytest.raises(TypeError, match=f"^{name}: {flag} must be True or False, got "):
        getattr(jv, name)(MODEL, X, target=1, **METHODS[name], **{flag: value})


PROGRESSING = (
    "integrated_gradients",
    "guided_integrated_gradients",
    "blur_integrated_gradients",
    "xrai",
    "occlusion",
    "deep_shap",
    "ablation_cam",
)


@pytest.mark.parametrize("name", PROGRESSING)
def test_progress_is_a_flag(name):
    with pytest.raises(TypeError, match="progress must be True or False, got 'no'"):
        getattr(jv, name)(MODEL, X, target=1, progress="no", **METHODS[name])


@pytest.mark.parametrize("name", ["lrp", "conductance", "internal_influence", "neuron_conductance"])
@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"layer": "cnv"}, ValueError, "layer 'cnv' not found; layers: conv"),
        ({"layer": 3}, TypeError, "layer must be a path string, got int"),
        ({"side": "middle"}, ValueError, "side must be one of 'output', 'input', got 'middle'"),
    ],
)
def test_layers(name, settings, error, words):
    with pytest.raises(error, match=f"^{name}: {words}"):
        getattr(jv, name)(MODEL, X, target=1, **METHODS[name] | settings)


@pytest.mark.parametrize(
    ("name", "layer", "words"),
    [
        *((name, layer, "a path string") for name in ("lrp", "neuron_conductance") for layer in (["conv"], ())),
        *((name, (), "the path of a layer, or a tuple of paths") for name in ("conductance", "internal_influence")),
        *((name, ["conv", 3], "a path string, got int") for name in ("conductance", "internal_influence")),
    ],
)
def test_several_layers(name, layer, words):
    with pytest.raises(TypeError, match=f"^{name}: layer must be {words}"):
        getattr(jv, name)(MODEL, X, target=1, **METHODS[name] | {"layer": layer})


def test_a_side_is_checked_without_a_layer():
    with pytest.raises(ValueError, match="lrp: side must be one of 'output', 'input', got 'middle'"):
        jv.lrp(MODEL, X, target=1, side="middle")


@pytest.mark.parametrize("name", CAMS[:-1])
def test_a_size_is_of_ints(name):
    with pytest.raises(TypeError, match=f"^{name}: upsample must be True, False or the size wanted"):
        getattr(jv, name)(MODEL, X, target=1, layer="conv", upsample=(True, True))


def test_layers_are_named_once():
    module = nn.Sequential([nn.Conv(2, (1, 1)), lambda x: x.mean((1, 2))])
    model = jv.Model.from_linen(module, module.init(KEY, X))
    with pytest.raises(ValueError, match=r"full_grad: layer 'x' not found; layers: layers_0\s"):
        jv.full_grad(model, X, target=1, layer="x")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"surrogate": lambda members, scores, weights: None}, r"surrogate must give .* of shape \(4,\), got None"),
        ({"sampler": lambda key, samples, groups: None}, r"sampler must give an array of shape .*\(9, 4\), got None"),
        ({"kernel_width": jnp.float32(np.nan)}, r"kernel_width must be in \[0, inf\), got .*nan"),
        ({"strength": jnp.float32(-1.0)}, r"strength must be in \[0, inf\), got .*-1"),
    ],
)
def test_lime(settings, words):
    with pytest.raises(ValueError, match=f"^lime: {words}"):
        jv.lime(MODEL, X, target=1, **METHODS["lime"] | settings)


def test_a_probability_may_be_a_jax_scalar():
    keep = jnp.float32(0.25)
    found = [jv.rise(MODEL, X, target=1, keep=one, **METHODS["rise"]) for one in (keep, 0.25)]
    assert np.array_equal(*found)
    with pytest.raises(ValueError, match="rise: keep is a probability between 0 and 1, got 1"):
        jv.rise(MODEL, X, target=1, keep=jnp.float32(1), **METHODS["rise"])


@pytest.mark.parametrize(
    "name", [name for name in METHODS if name not in (*ATTENTION, "relevance_report", "diagnose", "completeness_gap")]
)
def test_parameters_that_are_nan_are_an_error_where_the_attribution_is(name):
    broken = MODEL.with_params((MODEL.params[0].at[0, 0].set(jnp.nan), MODEL.params[1]))
    method = functools.partial(getattr(jv, name), broken, X, target=1, **METHODS[name])
    if name == "internal_influence":  # of a layer behind which all is well
        assert np.isfinite(method()).all()
        return
    words = rf"^{name}: the attribution is NaN, since the model's parameters are: params\[0\] has 1 NaN among its 6"
    with pytest.raises(ValueError, match=words):
        method()


@pytest.mark.filterwarnings("ignore:fem_cam. the attribution")  # of a layer without strong places
@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("diagnose", "completeness_gap")])
def test_values_are_looked_at_in_later_calls_too(name, monkeypatch):
    monkeypatch.setattr(
        meanwhile, "QUICK", 60.0
    )  # so that the second call is a quick one, and the third puts off checks
    model = ATTENDING if name in ATTENTION else MODEL
    method = functools.partial(getattr(jv, name), model, **METHODS[name])
    takes_target = "target" in inspect.signature(getattr(jv, name)).parameters
    target = {"target": jnp.array([0, 1], jnp.int32)} if takes_target else {}
    for _ in range(2):
        method(X, **target)
    with pytest.raises(
        ValueError, match=f"^{name}: inputs must be finite, but 1 of the values of inputs is NaN or infinite"
    ):
        method(X.at[0, 0, 0, 0].set(jnp.nan), **target)
    if takes_target:
        with pytest.raises(ValueError, match=f"^{name}: target 7 is out of range"):
            method(X, target=jnp.array([0, 7], jnp.int32))


def test_parameters_that_are_nan_are_told_where_a_layer_is_explained():
    broken = MODEL.with_params((MODEL.params[0].at[0, 0].set(jnp.nan), MODEL.params[1]))
    words = r"^at_layer\(gradient\): the activation of 'conv' has NaN or infinite values, though the inputs have none"
    with pytest.raises(ValueError, match=words):
        jv.at_layer(jv.gradient, "conv")(broken, X, target=1)


def test_a_report_has_numbers():
    def total(x: jax.Array) -> Any:
        return jv.relevance_report(MODEL, x, target=1).score

    for transformed in (jax.grad(total), jax.jit(total), jax.vmap(lambda x: total(x[None]))):
        with pytest.raises(
            TypeError, match=r"relevance_report: a report cannot be made inside of jax.jit, jax.vmap or"
        ):
            transformed(X)


@pytest.mark.parametrize("name", ["integrated_gradients", "expected_gradients", "deep_shap", "neuron_conductance"])
def test_mapped_over_examples_without_a_warning(name):
    # Warnings are errors here: what is donated inside `jax.vmap` cannot be used, of which JAX warned.
    one = lambda x: getattr(jv, name)(MODEL, x[None], target=1, **METHODS[name])[0]
    found = jax.vmap(one)(X)
    assert np.allclose(found, jnp.stack([one(x) for x in X]), atol=1e-6)


@pytest.mark.parametrize("name", ["gradient", "integrated_gradients", "occlusion", "score_cam", "ablation_cam", "lime"])
def test_a_target_out_of_range_inside_jit_gives_nan(name):
    explain = jax.jit(lambda x, target: getattr(jv, name)(MODEL, x, target=target, **METHODS[name]))
    assert np.isfinite(explain(X, 1)).all()
    assert np.isnan(explain(X, 9)).any()


def test_a_score_made_by_numpy_is_a_score():
    target = lambda outputs: np.zeros(2)
    with pytest.warns(jv.AttributionWarning, match="all zero"):
        assert not jv.gradient(MODEL, X, target=target).any()
    with pytest.warns(jv.AttributionWarning, match="all zero"):
        assert not jv.lime(MODEL, X, target=target, **METHODS["lime"]).any()
