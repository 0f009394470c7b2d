"""What models are called with: wrong inputs, layers, values and keywords are named before anything is traced."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxviz as jv
from jaxviz import Model

X = np.ones((4, 2), np.float32)
MODULE = nn.Sequential([nn.Dense(3), nn.relu, nn.Dense(2)])
VARIABLES = MODULE.init(jax.random.key(0), X)


class Masked(nn.Module):
    @nn.compact
    def __call__(self, x, mask, *, scale, train: bool):
        return nn.Dense(2)(x) * mask * scale


class MaskedNnx(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(2, 2, rngs=rngs)

    def __call__(self, x, mask, *, scale=1.0):
        return self.linear(x) * mask * scale


class Silent(nnx.Module):
    pass


MASKED = Masked().init(jax.random.key(0), X, jnp.ones((4, 1)), scale=1.0, train=False)

ARRAYS = "inputs must be an array, or a tuple of arrays for several inputs; got"
LAYERS = "layers must be one path or pattern, or several of them, got"
HINT = "what else the module's call takes is given by name, to Model.from_linen or Model.from_nnx"
CASES = {
    "call": (lambda m: m(None), TypeError, f"^Model: {ARRAYS} None"),
    "no inputs": (lambda m: m(()), TypeError, rf"^Model: {ARRAYS} \(\)"),
    "list": (lambda m: m(X.tolist()), TypeError, f"^Model: {ARRAYS} list with a float in it"),
    "layers": (lambda m: m.layers(None), TypeError, f"^layers: {ARRAYS} None"),
    "summary": (lambda m: jv.summary(m, "a"), TypeError, f"^summary: {ARRAYS} str$"),
    "capture": (lambda m: m.capture([1.0]), TypeError, f"^capture: {ARRAYS} list with a float in it"),
    "since": (lambda m: m.since("layers_0", None), TypeError, f"^since: {ARRAYS} None"),
    "number for layers": (lambda m: m.capture(X, 3), TypeError, f"^capture: {LAYERS} 3"),
    "numbers for layers": (lambda m: m.capture(X, [3]), TypeError, f"^capture: {LAYERS} 3"),
    "lists for layers": (lambda m: m.capture(X, [["a"]]), TypeError, rf"^capture: {LAYERS} \['a'\]"),
    "layer of until": (lambda m: m.until(["layers_0"]), TypeError, "^until: layer must be a path string, got list"),
    "order of since": (lambda m: m.since(X, "layers_0"), TypeError, "^since: layer must be a path string, got ndarray"),
    "side of capture": (lambda m: m.capture(X, side=["in"]), ValueError, r"^capture: side must be one .* got \['in'\]"),
    "side of until": (lambda m: m.until("layers_0", side="in"), ValueError, "^until: side must be one of .* got 'in'"),
    "side of since": (
        lambda m: m.since("layers_0", X, side="in"),
        ValueError,
        "^since: side must be one of .* got 'in'",
    ),
    "side of replace": (lambda m: m.replace({"layers_0": 0}, side="in"), ValueError, "^replace: side must be one of"),
    "key of replace": (
        lambda m: m.replace({3: 0.0}),
        TypeError,
        "^replace: the layers in values must be paths .* got 3",
    ),
    "word": (
        lambda m: m.replace({"layers_0": "a"}),
        TypeError,
        "^replace: the value of layer 'layers_0' must be .* got 'a'",
    ),
    "nothing": (
        lambda m: m.add({"layers_0": None}),
        TypeError,
        "^add: the value of layer 'layers_0' must be .* got None",
    ),
    "too many inputs": (lambda m: m((X, X)), TypeError, f"^Model: .*__call__.. takes 2 positional arguments .*{HINT}"),
    "unknown keyword": (
        lambda m: Model.from_linen(Masked(), MASKED, scale=1.0, mask=X, size=3),
        TypeError,
        "^Model.from_linen: Masked.__call__ takes no keyword 'size'; it takes x, mask, scale, train",
    ),
    "missing keyword": (
        lambda m: Model.from_linen(Masked(), MASKED),
        TypeError,
        r"^Model.from_linen: Masked.__call__ needs 'scale'; give Model.from_linen\(\.\.\., scale=\.\.\.\)",
    ),
    "missing input": (
        lambda m: Model.from_linen(Masked(), MASKED, scale=1.0).layers(X),
        TypeError,
        f"^layers: Masked.__call__.. missing 1 required positional argument: 'mask'.*{HINT}",
    ),
    "unknown keyword of NNX": (
        lambda m: Model.from_nnx(MaskedNnx(nnx.Rngs(0)), size=3),
        TypeError,
        "^Model.from_nnx: MaskedNnx.__call__ takes no keyword 'size'; it takes x, mask, scale",
    ),
    "missing input of NNX": (
        lambda m: Model.from_nnx(MaskedNnx(nnx.Rngs(0)))(X),
        TypeError,
        f"^Model: MaskedNnx.__call__.. missing 1 required positional argument: 'mask'.*{HINT}",
    ),
    "no call": (lambda m: Model.from_nnx(Silent()), TypeError, "^Model.from_nnx: Silent has no __call__"),
    "function": (
        lambda m: type(m).from_function(lambda inputs: inputs, {}),
        TypeError,
        r"^Model.from_function: apply must be apply\(params, inputs\): too many positional arguments",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_errors(name):
    call, error, message = CASES[name]
    with pytest.raises(error, match=message):
        call(Model.from_linen(MODULE, VARIABLES))


def test_errors_of_the_model_itself_stay():
    def broken(params, inputs):
        raise TypeError("something else")

    with pytest.raises(TypeError, match="something else"):
        Model.from_function(broken, {})(X)


def test_what_passes():
    mask = jnp.ones((4, 1))
    expected = Masked().apply(MASKED, X, mask, scale=2.0, train=False)
    settings = {"rngs": {"dropout": jax.random.key(0)}, "mutable": ["batch_stats"], "capture_intermediates": False}
    by_name = Model.from_linen(Masked(), MASKED, scale=2.0, mask=mask, **settings)
    several = Model.from_linen(Masked(), MASKED, scale=2.0)
    np.testing.assert_array_equal(by_name(X), expected)
    np.testing.assert_array_equal(several((X, mask)), expected)
    assert Model.from_function(lambda params, inputs, scale=1.0: inputs["x"] * scale, {})({"x": X}).shape == (4, 2)
