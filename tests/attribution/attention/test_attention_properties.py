"""What the attention methods have in common with all others: batches, jit, tracing, checked arguments; and a figure."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

METHODS = {
    "maps": jv.attention_maps,
    "rollout": jv.attention_rollout,
    "rollout settings": functools.partial(jv.attention_rollout, heads="max", discard=0.4, token=0),
    "x gradient": jv.attention_x_gradient,
}
TARGET = np.array([2, 0])


def targets(name, target=TARGET):
    return {} if name == "maps" else {"target": target}


def close(one, other):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6), one, other)


@pytest.mark.parametrize("name", ["maps", "rollout settings", "x gradient"])
def test_a_batch_is_its_examples(name, cases):
    case = cases("bert")
    whole = METHODS[name](case.model, case.inputs, **targets(name))
    for i in range(2):
        one = METHODS[name](case.model, case.inputs[i : i + 1], **targets(name, int(TARGET[i])))
        close(one, jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], whole))


@pytest.mark.parametrize("name", ["maps", "rollout", "x gradient"])
def test_jit_changes_nothing(name, cases):
    case = cases("nnx")
    jitted = jax.jit(lambda model, inputs, target: METHODS[name](model, inputs, **targets(name, target)))
    close(jitted(case.model, case.inputs, TARGET), METHODS[name](case.model, case.inputs, **targets(name)))


def test_settings_may_be_traced(cases):
    case = cases("function")
    settings = {"residual": 0.3, "discard": 0.2, "token": 3}
    jitted = jax.jit(functools.partial(jv.attention_rollout, case.model, case.inputs))
    close(jitted(**settings), jv.attention_rollout(case.model, case.inputs, **settings))
    close(jitted(**settings | {"token": -2}), jv.attention_rollout(case.model, case.inputs, **settings | {"token": 3}))


@pytest.mark.parametrize("name", ["maps", "rollout", "x gradient"])
def test_a_second_call_traces_nothing(name, case, traces):
    METHODS[name](case.model, case.inputs, **targets(name))
    before = traces[0]
    double = lambda leaf: leaf * 2 if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
    model = case.model.with_params(jax.tree.map(double, case.model.params))
    for target in (1, TARGET[::-1], np.int64(0)):
        METHODS[name](model, case.inputs[::-1], **targets(name, target))
    assert before == traces[0]


def test_other_settings_trace_nothing(cases, traces):
    case, method = cases("bert"), METHODS["rollout settings"]
    method(case.model, case.inputs)
    before = traces[0]
    for settings in ({"residual": 0.1}, {"discard": 0.7, "token": np.array([1, 2])}, {"target": 1, "layers": None}):
        method(case.model, case.inputs[::-1], **settings)
    assert before == traces[0]


def score(outputs):
    return outputs[:, 1] - outputs[:, 0]


def test_targets(cases):
    case = cases("bert")
    explain = functools.partial(jv.attention_x_gradient, case.model, case.inputs)
    assert np.abs(np.asarray(explain(target=0) - explain(target=1))).max() > 1e-3
    assert np.abs(np.asarray(explain(target=score) - explain(target=1))).max() > 1e-3
    for target in (None, 0, score):  # rollout does not depend on it
        close(
            jv.attention_rollout(case.model, case.inputs, target=target), jv.attention_rollout(case.model, case.inputs)
        )


def test_noise_is_averaged_over(cases):
    case = cases("function")
    method = jv.smooth(jv.attention_rollout, samples=2, noise=0.1)
    row = method(case.model, case.inputs, target=1, key=jax.random.key(0), token=0)
    plain = jv.attention_rollout(case.model, case.inputs, token=0)
    assert row.shape == plain.shape == (2, 5)
    assert 0 < np.abs(np.asarray(row - plain)).max() < 0.1


def test_data_sets_of_rows(cases):
    case = cases("vit")
    found = jv.explain_dataset(
        jv.attention_rollout, case.model, np.asarray(case.inputs), token=0, batch_size=2, progress=False
    )
    rows = np.asarray(jv.attention_rollout(case.model, case.inputs, token=0))
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-5)


WRONG = {
    "layers": (3, TypeError, "layers must be one path or pattern"),
    "empty layers": ((), ValueError, "layers must name at least one layer"),
    "a layer": (
        "block_7",
        ValueError,
        "layer 'block_7' not found; layers: block_0/attention/attention_weights, block_1",
    ),
    "residual": (1.5, ValueError, r"residual must be in \[0, 1\], got 1.5"),
    "discard": ("much", TypeError, "discard must be a number"),
    "heads": ("median", ValueError, "heads must be one of 'mean', 'min', 'max', got 'median'"),
    "token": (0.5, TypeError, "token must be None, an int"),
    "token in": ([0, 1], TypeError, "token must be None, an int"),
    "token of the range": (7, ValueError, "token must be -7 to 6, one of 7, got 7"),
    "token of the shape": (np.array([1, 2, 3]), ValueError, r"token has shape \(3,\)"),
    "upsample": ("yes", TypeError, "upsample must be None, True, False or the size"),
    "upsample alone": (True, ValueError, "upsample=True lays out the row of one token"),
    "upsample with": ((4,), ValueError, "upsample must be one positive int for each of the grid's 2 axes"),
    "upsample to": ((4, 0), ValueError, "upsample must be at least 1"),
    "target": ("cat", TypeError, "target must be None"),
}


@pytest.mark.parametrize("setting", WRONG)
def test_wrong_settings(setting, cases):
    case = cases("vit")
    value, error, match = WRONG[setting]
    words = setting.split()
    more = {"token": 0} if words[-1] in ("with", "to") else {}
    method = jv.attention_rollout
    argument = {"empty": "layers", "a": "layers"}.get(words[0], words[0])
    with pytest.raises(error, match=f"attention_rollout: {match}"):
        method(case.model, case.inputs, **{argument: value}, **more)
    if argument not in ("residual", "discard", "heads"):
        with pytest.raises(error, match=f"attention_x_gradient: {match}"):
            jv.attention_x_gradient(case.model, case.inputs, **{"target": 0, argument: value}, **more)


def test_wrong_models_and_inputs(cases):
    case = cases("vit")
    for method in (jv.attention_maps, jv.attention_rollout, jv.attention_x_gradient, jv.tag_attention):
        with pytest.raises(TypeError, match=f"{method.__name__}: model must be a jaxviz.Model"):
            method(abs, *[] if method is jv.tag_attention else [case.inputs])
    for method in (jv.attention_maps, jv.attention_rollout, jv.attention_x_gradient):
        with pytest.raises(ValueError, match=f"{method.__name__}: inputs must be finite"):
            method(case.model, case.inputs * np.nan)
    with pytest.raises(ValueError, match="attention_x_gradient: target is None"):
        jv.attention_x_gradient(case.model, case.inputs)


def test_tokens_that_make_no_grid(cases):
    case = cases("bert")
    with pytest.raises(ValueError, match=r"the inputs, of shape \(2, 5\), have no two or three spatial axes"):
        jv.attention_rollout(case.model, case.inputs, token=0, upsample=True)

    def apply(params, images):
        x = images.reshape(images.shape[0], -1, 8)[:, :7]
        return (jax.nn.softmax(x @ x.mT) @ x).sum(axis=(1, 2))

    with pytest.raises(ValueError, match=r"the 7 tokens .* make no grid of the aspect ratio .* \(8, 8\)"):
        jv.attention_rollout(jv.Model.from_function(apply, ()), jnp.ones((1, 8, 8, 2)), token=0, upsample=True)


def test_maps_are_drawn(cases):
    case = cases("vit")
    maps = jv.attention_maps(case.model, case.inputs)
    weights = np.concatenate([each[0] for each in maps.values()])
    figure = jv.figures.heatmaps(
        weights, titles=[f"layer {i}, head {j}" for i in range(2) for j in range(2)], columns=2
    )
    drawn = [axes for axes in figure.axes if axes.images and axes.get_title()]
    assert [axes.get_title() for axes in drawn] == [
        "layer 0, head 0",
        "layer 0, head 1",
        "layer 1, head 0",
        "layer 1, head 1",
    ]
    np.testing.assert_allclose(drawn[3].images[0].get_array(), weights[3])
