import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz.figures import normalize, reduce_channels
from jaxviz.figures.scale import shared_scale


def test_percentile_counts_only_values_that_are_not_zero():
    values = np.concatenate([np.zeros(10_000), np.arange(1, 201)])
    scale = shared_scale("test", [values], percentile=99)
    assert (scale.limit, scale.largest, scale.clipped) == (198.0, 200.0, 2)  # ceil(0.99 * 200) = the 198th magnitude
    assert (scale.low, scale.high) == (-198.0, 198.0)


def test_few_values_are_never_clipped_by_the_default():
    scale = shared_scale("test", [np.array([1e-9] * 50 + [1.0])])
    assert (scale.limit, scale.clipped) == (1.0, 0)


def test_one_scale_for_several_maps_of_different_sizes():
    scale = shared_scale("test", [np.array([[1.0, -5.0]]), np.array([[3.0]])])
    assert (scale.low, scale.high) == (-5.0, 5.0)


@pytest.mark.parametrize(
    ("sign", "low", "high", "expected"),
    [
        ("all", -4, 4, [-0.5, 0.25, 1.0, 0.0]),
        ("positive", 0, 4, [0.0, 0.25, 1.0, 0.0]),
        ("negative", -2, 0, [-1.0, 0.0, 0.0, 0.0]),
        ("absolute", 0, 4, [0.5, 0.25, 1.0, 0.0]),
    ],
)
def test_signs_by_hand(sign, low, high, expected):
    values = np.array([-2.0, 1.0, 4.0, 0.0])
    np.testing.assert_array_equal(normalize(values, sign=sign), expected)
    scale = shared_scale("test", [np.abs(values) if sign == "absolute" else values], sign=sign)
    assert (scale.low, scale.high) == (low, high)


def test_normalize_clips_at_the_limit():
    np.testing.assert_array_equal(normalize([-3.0, 1.0, 8.0], limit=2.0), [-1.0, 0.5, 1.0])


def test_nan_and_inf_are_counted_and_do_not_set_the_scale():
    values = np.array([np.nan, np.inf, -np.inf, 2.0, -1.0])
    for sign in ("all", "positive", "negative", "absolute"):
        scale = shared_scale("test", [values], sign=sign)
        assert (scale.nan, scale.inf) == (1, 2)
        assert scale.limit == (1.0 if sign == "negative" else 2.0)
        assert "1 NaN and 2 inf of 5 values, shown in yellow." in scale.notes()
    np.testing.assert_array_equal(normalize(values), [np.nan, np.nan, np.nan, 1.0, -0.5])


@pytest.mark.parametrize(
    ("values", "sign", "note"),
    [
        ([0.0, 0.0], "all", "All values are 0."),
        ([0.0, np.nan, np.inf], "all", "All finite values are 0."),
        ([-1.0, 0.0], "positive", "No positive value."),
        ([1.0, 0.0], "negative", "No negative value."),
        ([np.nan, np.inf], "all", "No finite value to show."),
    ],
)
def test_nothing_to_show_is_said(values, sign, note):
    scale = shared_scale("test", [np.array(values)], sign=sign)
    assert note in scale.notes()
    assert scale.high > scale.low


def test_clipping_is_said_with_numbers():
    notes = shared_scale("test", [np.arange(1.0, 201.0)]).notes()
    assert notes == [
        "Colors saturate at 198, the 99th percentile of non-zero magnitudes; the largest magnitude is 200."
    ]
    assert shared_scale("test", [np.array([1.0, 3.0])], limit=2.0).notes() == [
        "Colors saturate at 2; the largest magnitude is 3."
    ]
    assert shared_scale("test", [np.array([1.0, 3.0])]).notes() == []


def test_notes_in_the_words_of_a_figure():
    scale = shared_scale("test", [np.array([1.0, 3.0, np.nan])], limit=2.0)
    assert scale.notes(beyond="The axis ends at", shown="") == [
        "1 NaN of 3 values.",
        "The axis ends at 2; the largest magnitude is 3.",
    ]
    assert scale.notes(beyond=None) == ["1 NaN of 3 values, shown in yellow."]


def test_unit_positions():
    scale = shared_scale("test", [np.array([-2.0, 4.0])])
    np.testing.assert_array_equal(scale.unit(np.array([-4.0, 0.0, 2.0, np.inf])), [0.0, 0.5, 0.75, np.nan])


@pytest.mark.parametrize(
    ("how", "expected"), [("sum", -1.0), ("mean", -1 / 3), ("norm", np.sqrt(14)), ("largest", -3.0)]
)
def test_reductions_by_hand(how, expected):
    np.testing.assert_allclose(
        reduce_channels(np.array([[[2.0, 0.0, -3.0], [1.0, 3.0, 2.0]]])[:, :1], how),
        [[expected]] if how != "norm" else [[np.sqrt(13)]],
    )


def test_a_nan_channel_makes_the_pixel_nan():
    for how in ("sum", "mean", "norm", "largest"):
        assert np.isnan(reduce_channels([[[np.nan, 5.0]]], how)).all()
    assert np.isnan(reduce_channels([[[np.inf, -np.inf]]])).all()


def test_jax_arrays_and_bfloat16():
    values = jnp.array([-2.0, 1.0, 4.0], jnp.bfloat16)
    result = normalize(values)
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, [-0.5, 0.25, 1.0])


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        (
            {"sign": "both"},
            ValueError,
            "normalize: sign must be one of 'all', 'positive', 'negative', 'absolute', got 'both'",
        ),
        ({"percentile": 0}, ValueError, "percentile must be above 0"),
        ({"percentile": 101}, ValueError, r"percentile must be in \[0, 100\], got 101"),
        ({"percentile": "99"}, TypeError, "percentile must be a number"),
        ({"limit": 0.0}, ValueError, "limit must be positive, got 0.0"),
        ({"limit": np.inf}, ValueError, r"limit must be in \[0, inf\), got inf"),
        ({"limit": -1}, ValueError, "limit must be in"),
    ],
)
def test_bad_settings_are_named(settings, error, words):
    with pytest.raises(error, match=words):
        normalize([1.0], **settings)


@pytest.mark.parametrize("values", [[1j], ["a"], [[1.0], [1.0, 2.0]], [object()]])
def test_values_that_are_no_real_numbers(values):
    with pytest.raises(TypeError, match="normalize: values must be an array of"):
        normalize(values)


def test_bad_reductions():
    with pytest.raises(ValueError, match="how must be one of 'sum'"):
        reduce_channels(np.ones((1, 1, 1)), "max")
    with pytest.raises(ValueError, match=r"shape \(..., H, W, C\), got \(2, 2\)"):
        reduce_channels(np.ones((2, 2)))
