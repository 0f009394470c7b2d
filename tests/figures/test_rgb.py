import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz.figures import heatmap_rgb, overlay_rgb

NEUTRAL, POSITIVE_END, NEGATIVE_END, YELLOW = [247, 247, 247], [134, 55, 0], [0, 70, 117], [255, 240, 0]


def test_heatmap_pixels_by_hand():
    picture = heatmap_rgb([[0.0, 3.0], [-3.0, np.nan]])
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[NEUTRAL, POSITIVE_END], [NEGATIVE_END, YELLOW]]


def test_heatmap_two_thirds_of_the_way_is_vermilion():
    # position 1/2 + 1/3 in a map of seven anchors is the sixth, up to the table's steps of 1/256
    assert np.abs(heatmap_rgb([[2.0]], limit=3.0)[0, 0].astype(int) - [0xD5, 0x5E, 0x00]).max() <= 1


@pytest.mark.parametrize(
    ("sign", "expected"),
    [
        ("positive", [NEUTRAL, POSITIVE_END]),
        ("negative", [NEGATIVE_END, NEUTRAL]),
        ("absolute", [[0x33, 0x09, 0x4F], [0x33, 0x09, 0x4F]]),
    ],
)
def test_heatmap_signs(sign, expected):
    assert heatmap_rgb([[-2.0, 2.0]], sign=sign)[0].tolist() == expected


def test_channels_are_summed():
    pixels = np.array([[1.0, 2.0, -3.0], [1.0, 0.0, 0.0]])
    assert heatmap_rgb(np.stack([pixels, pixels])).tolist() == [[NEUTRAL, POSITIVE_END]] * 2
    # of one row the image tells that it is no batch of one map
    np.testing.assert_array_equal(overlay_rgb(np.ones((1, 2)), pixels[None])[0], [NEUTRAL, POSITIVE_END])


def test_overlay_without_attribution_is_the_faded_gray_image():
    image = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0]]], np.uint8)
    picture = overlay_rgb(image, np.zeros((1, 3)))
    faded = [247 * (0.45 + 0.55 * gray) for gray in (1.0, 0.0, 0.299)]
    np.testing.assert_array_equal(picture, np.rint(faded).astype(int)[None, :, None] * np.ones((1, 1, 3), int))


def test_overlay_pixels_by_hand():
    picture = overlay_rgb([[0.0, 1.0]], [[-1.0, 1.0]])
    assert picture[0].tolist() == [[0, 32, 53], POSITIVE_END]  # 0.45 * (0, 70, 117), half to even


def test_overlay_marks_lost_pixels_of_image_and_attribution():
    assert overlay_rgb([[np.nan, 1.0, 0.5]], [[1.0, np.inf, 0.0]])[0, :2].tolist() == [YELLOW, YELLOW]


def test_small_maps_become_blocks():
    picture = overlay_rgb(np.ones((4, 6)), [[0.0, 1.0], [-1.0, 0.0]])
    assert picture.shape == (4, 6, 3)
    assert picture[1, 2].tolist() == NEUTRAL
    assert picture[1, 3].tolist() == POSITIVE_END
    assert picture[2, 2].tolist() == NEGATIVE_END


def test_standardized_images_are_stretched():
    np.testing.assert_array_equal(overlay_rgb([[-2.0, 2.0]], [[0, 0]]), overlay_rgb([[0.0, 1.0]], [[0, 0]]))


def test_alpha_is_not_stretched_with_the_colors():
    colors = np.random.default_rng(0).normal(size=(4, 5, 3))
    flat = np.zeros((4, 5))
    opaque = overlay_rgb(colors, flat)
    for alpha in (np.ones((4, 5, 1)), np.full((4, 5, 1), 1 + 1e-6)):
        np.testing.assert_array_equal(overlay_rgb(np.concatenate([colors, alpha], axis=-1), flat), opaque)
    half = np.concatenate([colors, np.full((4, 5, 1), 0.5)], axis=-1)
    shares = (colors - colors.min()) / np.ptp(colors)
    np.testing.assert_array_equal(overlay_rgb(half, flat), overlay_rgb((shares + 1) / 2, flat))
    integers = np.random.default_rng(0).integers(256, size=(4, 5, 4))
    integers[0, 0], integers[0, 1] = 0, 255  # so that stretching changes nothing
    np.testing.assert_array_equal(overlay_rgb(integers, flat), overlay_rgb(integers.astype(np.uint8), flat))
    with pytest.raises(ValueError, match=r"the fourth channel of image, alpha, must be in \[0, 1\], got 128 to 128"):
        overlay_rgb(np.concatenate([colors, np.full((4, 5, 1), 128.0)], axis=-1), flat)


def test_kinds_of_images_agree():
    heat = np.array([[0.5, -1.0]])
    image = np.array([[0.0, 1.0]])
    expected = overlay_rgb(image, heat)
    for same in (
        jnp.asarray(image, jnp.bfloat16),
        image[..., None],
        np.repeat(image[..., None], 3, -1),
        (image * 255).astype(np.uint8),
        image.astype(bool),
        np.concatenate([np.repeat(image[..., None], 3, -1), np.ones((1, 2, 1))], -1),
    ):
        np.testing.assert_array_equal(overlay_rgb(same, jnp.asarray(heat)), expected)


@pytest.mark.parametrize(
    ("image", "attribution", "error", "words"),
    [
        (np.ones((2, 2, 2)), np.ones((2, 2)), ValueError, r"overlay_rgb: image must have shape .* got \(2, 2, 2\)"),
        (np.ones((4, 4)), np.ones((3, 4)), ValueError, r"image's, \(4, 4\), or divide them, got \(3, 4\)"),
        (np.ones((4, 4)), np.ones((1, 4, 4, 1)), ValueError, r"give attribution\[i\]"),
        (
            np.ones((4, 4, 3)),
            np.ones((1, 4, 4)),
            ValueError,
            r"overlay_rgb: .* got \(1, 4, 4\), .* give attribution\[0\]",
        ),
        (np.ones((8, 8)), np.ones((1, 4, 4)), ValueError, r"a batch of one map: give attribution\[0\]"),
        (
            np.ones((8, 8)),
            np.ones((4, 8, 8)),
            ValueError,
            r"those of the image: for one map of a batch give attribution\[i\]",
        ),
        (np.ones((4, 4)), np.ones((0, 4)), ValueError, "attribution must have shape"),
        (np.ones((4, 4)), np.full((4, 4), "a"), TypeError, "attribution must be an array of real numbers"),
    ],
)
def test_bad_input_is_named(image, attribution, error, words):
    with pytest.raises(error, match=words):
        overlay_rgb(image, attribution)


def test_pictures_as_arrays_need_no_matplotlib():
    code = "import sys, jaxviz.figures as f; f.overlay_rgb([[1.0]], [[1.0]]); f.normalize([1.0])"
    code += "; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def shown(mode, image, heat, sign, covered=0.99):
    """Masked and transparent pictures by their formula, `(H, W, 3)` bytes as floats."""
    part = {"positive": np.maximum(heat, 0), "negative": np.maximum(-heat, 0), "absolute": np.abs(heat)}[sign]
    magnitudes = np.sort(part[part > 0])
    limit = magnitudes[int(np.ceil(covered * len(magnitudes))) - 1]
    share = np.minimum(part / limit, 1)[..., None]
    return 255 * (share * image + (0 if mode == "mask" else 1 - share))


@pytest.mark.parametrize("mode", ["mask", "alpha"])
@pytest.mark.parametrize("sign", ["positive", "negative", "absolute"])
def test_an_image_is_seen_as_much_as_its_attribution_says(mode, sign):
    random = np.random.default_rng(0)
    image, heat = random.uniform(size=(24, 20, 3)), random.normal(size=(24, 20)) ** 3
    picture = overlay_rgb(image, heat, mode=mode, sign=sign)
    assert picture.dtype == np.uint8
    np.testing.assert_allclose(picture, shown(mode, image, heat, sign), atol=0.5 + 1e-9)
    half = overlay_rgb(image, heat, mode=mode, sign=sign, percentile=50)
    np.testing.assert_allclose(half, shown(mode, image, heat, sign, 0.5), atol=0.5 + 1e-9)


@pytest.mark.parametrize(("mode", "ground"), [("mask", 0), ("alpha", 255)])
def test_modes_by_hand(mode, ground):
    picture = overlay_rgb([[0.2, 0.2, 0.2]], [[1.0, -9.0, 0.5]], mode=mode, sign="positive")
    assert picture[0, :, 0].tolist() == [51, ground, round((51 + ground) / 2)]
    assert (overlay_rgb(np.ones((2, 2)) / 2, np.zeros((2, 2)), mode=mode, sign="absolute") == ground).all()
    image = np.array([[np.nan, np.inf, 0.5, 0.5, -np.inf, 1.0, 0.0]])
    heat = np.array([[1.0, 0.0, np.nan, np.inf, 1.0, 1.0, 0.0]])
    lost = overlay_rgb(image, heat, mode=mode, sign="positive")[0]
    assert lost.tolist() == [YELLOW] * 5 + [[255] * 3, [ground] * 3]


def test_modes_take_small_maps_and_a_limit():
    picture = overlay_rgb(np.ones((4, 6)), [[0.0, 1.0], [-1.0, 0.0]], mode="mask", sign="absolute", limit=2.0)
    assert picture[..., 0].tolist() == [[0, 0, 0, 128, 128, 128]] * 2 + [[128, 128, 128, 0, 0, 0]] * 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "masked"}, "overlay_rgb: mode must be one of 'blend', 'mask', 'alpha'"),
        ({"mode": "mask"}, "overlay_rgb: sign must be 'positive', 'negative' or 'absolute' where mode is 'mask'"),
        ({"mode": "alpha", "sign": "all"}, "where mode is 'alpha', which cannot tell signs apart, got 'all'"),
        ({"mode": "alpha", "sign": "absolute_value"}, "sign must be one of"),
    ],
)
def test_bad_modes_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        overlay_rgb([[1.0]], [[1.0]], **settings)
