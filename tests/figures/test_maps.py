from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz import figures

# Any: matplotlib annotates what artists hold too widely to be indexed
heatmap: Any = figures.heatmap
heatmap_rgb: Any = figures.heatmap_rgb
heatmaps: Any = figures.heatmaps
overlay: Any = figures.overlay
overlay_rgb: Any = figures.overlay_rgb


def note(figure):
    return " ".join(figure.get_supxlabel().split())


def test_heatmap_holds_the_values_on_a_scale_symmetric_about_zero():
    heat = np.array([[1.0, -4.0], [2.0, 0.0]])
    figure = heatmap(heat, title="gradient")
    (picture,) = figure.axes[0].images
    np.testing.assert_array_equal(picture.get_array(), heat)
    assert picture.get_clim() == (-4.0, 4.0)
    assert figure.axes[0].get_title() == "gradient"
    assert figure.axes[1].get_ylabel() == "attribution"
    assert figure.axes[1].get_ylim() == (-4.0, 4.0)
    assert note(figure) == ""


@pytest.mark.parametrize(
    ("sign", "limits", "label"),
    [("positive", (0, 3), "positive"), ("negative", (-4, 0), "negative"), ("absolute", (0, 4), "|attribution|")],
)
def test_heatmap_signs(sign, limits, label):
    figure = heatmap([[3.0, -4.0]], sign=sign)
    assert figure.axes[0].images[0].get_clim() == limits
    assert label in figure.axes[1].get_ylabel()


def test_figures_and_arrays_have_the_same_colors():
    heat = np.random.default_rng(0).normal(size=(5, 7))
    heat[2, 3] = np.nan
    picture = heatmap(heat).axes[0].images[0]
    drawn = picture.to_rgba(picture.get_array())[..., :3] * 255
    assert np.abs(drawn - heatmap_rgb(heat).astype(float)).max() < 6  # half a step of the table


def test_nan_inf_zero_and_clipping_are_told():
    heat = np.arange(1.0, 401.0).reshape(20, 20)
    heat[0, 0], heat[0, 1] = np.nan, np.inf
    figure = heatmap(heat)
    assert "1 NaN and 1 inf of 400 values, shown in yellow." in note(figure)
    assert "99th percentile" in note(figure)
    picture = figure.axes[0].images[0]
    assert picture.get_array().mask.sum() == 2
    np.testing.assert_allclose(picture.get_cmap().get_bad()[:3], [1, 240 / 255, 0])
    assert note(heatmap(np.zeros((3, 3)))) == "All values are 0."


def test_heatmaps_share_one_scale_and_one_bar():
    figure = heatmaps(
        np.array([[[1.0, 2.0]], [[-8.0, 0.0]], [[0.5, 0.5]]]), titles=["a", "b", "c"], columns=2, title="all"
    )
    panels, bar = figure.axes[:-1], figure.axes[-1]
    assert [axes.get_title() for axes in panels] == ["a", "b", "c", ""]
    assert [axes.images[0].get_clim() for axes in panels[:3]] == [(-8.0, 8.0)] * 3
    assert not panels[3].axison
    assert bar.get_ylim() == (-8.0, 8.0)


def test_heatmaps_over_images_are_the_overlays_on_the_shared_scale():
    images, heats = np.array([[[0.0, 1.0]], [[1.0, 0.5]]]), np.array([[[1.0, 2.0]], [[-8.0, 0.0]]])
    figure = heatmaps(heats, images=images)
    for axes, image, heat in zip(figure.axes, images, heats, strict=False):
        np.testing.assert_array_equal(axes.images[0].get_array(), overlay_rgb(image, heat, limit=8.0))


def test_overlay_is_the_array_version_with_a_bar():
    image, heat = np.array([[0.0, 1.0], [0.2, 0.4]]), jnp.array([[1.0, -2.0], [0.0, 0.5]])
    figure = overlay(image, heat, sign="absolute")
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), overlay_rgb(image, heat, sign="absolute"))
    assert figure.axes[1].get_ylim() == (0.0, 2.0)


@pytest.mark.parametrize("mode", ["mask", "alpha"])
@pytest.mark.parametrize(("sign", "shares"), [("positive", [0, 1]), ("absolute", [0, 1]), ("negative", [1, 0])])
def test_modes_are_the_array_version_with_a_bar_of_grays(mode, sign, shares):
    random = np.random.default_rng(0)
    image, heat = random.uniform(size=(4, 4, 3)), random.normal(size=(4, 4))
    figure = overlay(image, heat, mode=mode, sign=sign)
    expected = overlay_rgb(image, heat, mode=mode, sign=sign)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), expected)
    bar = figure.axes[1]
    assert bar.get_ylabel().endswith("(brightness)" if mode == "mask" else "(opacity)")
    # What its two ends show is what a black pixel (white paper shines through) or a white one is at no and at full strength.
    ends = bar.collections[-1].cmap(np.array([0, 256]))[:, 0] if bar.collections else None
    assert ends is not None
    assert ends.tolist() == (shares if mode == "mask" else [1 - share for share in shares])
    several = heatmaps([heat, 2 * heat], images=[image, image], mode=mode, sign=sign, limit=1.0)
    expected = overlay_rgb(image, 2 * heat, mode=mode, sign=sign, limit=1.0)
    np.testing.assert_array_equal(several.axes[1].images[0].get_array(), expected)
    assert several.axes[-1].get_ylabel() == bar.get_ylabel()


def test_borders_of_groups_are_where_groups_meet():
    groups = np.array([[0, 0, 5], [0, 3, 5]])
    for figure in (
        heatmap(np.ones((2, 3)), groups=groups),
        overlay(np.ones((2, 3)), [[1.0]], groups=groups[..., None]),
    ):
        light, dark = figure.axes[0].collections
        expected = {
            ((0.5, 0.5), (1.5, 0.5)),
            ((1.5, -0.5), (1.5, 0.5)),
            ((0.5, 0.5), (0.5, 1.5)),
            ((1.5, 0.5), (1.5, 1.5)),
        }
        for lines in (light, dark):
            found = {tuple(map(tuple, line)) for line in lines.get_segments()}
            assert found == expected
        assert figure.axes[0].get_xlim() == (-0.5, 2.5)  # as without them
    assert len(heatmap(np.ones((2, 3)), groups=np.ones((2, 3), int)).axes[0].collections[0].get_segments()) == 0


def test_pixels_of_images_that_are_not_finite_are_told():
    """Yellow is said of in each figure that shows an image, whether its map is finite or not."""
    image, heat = np.full((8, 8, 3), 0.5), np.eye(8)
    image[:3, :, 1] = np.nan
    said = "24 of the image's 64 pixels are NaN or inf, shown in yellow."
    assert said in note(overlay(image, heat))
    assert said in note(heatmaps([heat], images=[image]))
    assert said in note(figures.explanations([image], {"a": [heat]}))
    assert said in note(figures.explanations([image], {"a": [heat]}, overlaid=True, scale="shared"))
    assert said in note(figures.image_grid([image]))
    both = note(heatmaps([heat, heat], images=[image, 2 + image]))
    assert "48 of the images' 128 pixels are NaN or inf" in both
    assert "each stretched" in both
    assert "NaN" not in note(overlay(np.ones((8, 8)), heat))


def test_overlay_tells_that_it_stretched_the_image():
    assert "Image values -1 to 3 are shown as black to white." in note(overlay([[-1.0, 3.0]], [[1.0, 0.0]]))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: heatmap(np.ones((1, 28, 28, 1))),
            ValueError,
            r"heatmap: attribution must have shape .* give attribution\[i\]",
        ),
        (lambda: heatmap([1.0, 2.0]), ValueError, r"got \(2,\)"),
        (lambda: heatmap(np.ones((1, 4, 4))), ValueError, r"heatmap: .* give attribution\[0\]; .* reduce_channels"),
        (lambda: heatmap_rgb(np.ones((1, 4, 4))), ValueError, r"heatmap_rgb: .* give attribution\[0\]"),
        (lambda: overlay(np.ones((4, 4, 3)), np.ones((1, 4, 4))), ValueError, r"overlay: .* give attribution\[0\]"),
        (lambda: heatmaps([np.ones((1, 4, 4))]), ValueError, r"heatmaps: .* give attributions\[0\]\[0\]"),
        (
            lambda: heatmaps([np.ones((2, 4, 4))], images=[np.ones((4, 4))]),
            ValueError,
            r"heatmaps: attributions\[0\] must .* give attributions\[0\]\[i\]",
        ),
        (lambda: heatmap([[1.0]], channels="max"), ValueError, "channels must be one of"),
        (lambda: heatmaps([]), ValueError, "1 to 100 maps, got 0"),
        (lambda: heatmaps(np.ones((2, 3, 3)), titles=["a"]), ValueError, "one entry per attribution, 2 in all, got 1"),
        (lambda: heatmaps(np.ones((2, 3, 3)), titles="ab"), TypeError, "got the string 'ab'"),
        (
            lambda: heatmaps(np.ones((2, 3, 3)), images=np.ones((1, 3, 3))),
            ValueError,
            "as many as attributions, 2, got 1",
        ),
        (lambda: heatmaps(np.ones((2, 3, 3)), columns=0), ValueError, "columns must be at least 1"),
        (
            lambda: overlay(np.ones((3, 3)), np.ones((3, 3)), mode="mask"),
            ValueError,
            "overlay: sign must be 'positive', 'negative' or 'absolute' where mode is 'mask'",
        ),
        (
            lambda: overlay(np.ones((4, 4)), np.ones((2, 2)), groups=np.ones((2, 2), int)),
            ValueError,
            r"overlay: groups must have shape \(4, 4\) or \(4, 4, 1\), got \(2, 2\)",
        ),
        (
            lambda: heatmap(np.ones((2, 2)), groups=np.ones((2, 2))),
            TypeError,
            "heatmap: groups must be integer groups, got dtype float64",
        ),
        (lambda: overlay([[1.0]], [[1.0]], mode="masked_image"), ValueError, "overlay: mode must be one of 'blend'"),
        (
            lambda: heatmaps(np.ones((2, 3, 3)), mode="alpha", sign="positive"),
            ValueError,
            "heatmaps: mode 'alpha' shows images through their maps: give images",
        ),
        (lambda: overlay(np.ones((3, 3)), np.ones((2, 2))), ValueError, "overlay: the attribution's height and width"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
