from typing import Any

import numpy as np
import pytest

from jaxviz import figures

explanations: Any = figures.explanations  # matplotlib annotates what artists hold too widely to be indexed


def note(figure):
    return " ".join(figure.get_supxlabel().split())


def test_explanations_scale_each_map_or_each_method():
    images = np.random.default_rng(0).uniform(size=(2, 4, 4))
    heats = np.stack([np.eye(4), -10 * np.eye(4)])
    for scale, limits in (("map", [(-1, 1), (-10, 10)]), ("method", [(-10, 10), (-10, 10)])):
        figure = explanations(
            images, {"a": heats, "b": heats}, titles=["7 → 7", "1 → 7"], correct=[True, False], scale=scale
        )
        assert [figure.axes[i].images[0].get_clim() for i in (1, 4)] == limits
        assert [figure.axes[i].get_title() for i in range(3)] == ["input", "a", "b"]
        assert figure.axes[3].get_ylabel() == "1 → 7"
        assert figure.axes[3].spines["left"].get_linewidth() > figure.axes[0].spines["left"].get_linewidth()
        assert scale in figure.axes[-1].get_ylabel()


def test_explanations_on_one_scale_keep_their_unit():
    heats = np.stack([np.eye(4), 3 * np.eye(4)])
    heats[0, 0, 0] = np.nan
    settings: dict[str, Any] = {"scale": "shared", "sign": "positive", "percentile": 60, "label": "share of $attention"}
    figure = explanations(np.zeros((2, 4, 4)), {"a": heats, "b": heats / 2}, **settings)
    maps = [axes.images[0] for axes in figure.axes if axes.get_title() != "input" and axes.images][:5]
    assert {image.get_clim() for image in maps if image.get_array().ndim == 2} == {(0.0, 1.5)}
    bar = figure.axes[-1]
    assert bar.get_ylim() == (0.0, 1.5)
    assert bar.get_ylabel() == "share of $attention"
    assert "Colors saturate at 1.5, the 60th percentile of non-zero magnitudes; the largest magnitude is 3." in note(
        figure
    )
    assert note(figure).count("NaN") == 1
    figure.draw_without_rendering()


def test_a_dozen_methods_take_several_lines_with_a_heading_for_each_map():
    heats = {f"method {i}": np.full((2, 4, 4), i + 1.0) for i in range(12)}
    figure = explanations(np.zeros((2, 4, 4)), heats, titles=["first", "second"])
    shown = [axes for axes in figure.axes if axes.images]
    names = ["input", *heats]
    assert [axes.get_title() for axes in shown] == names * 2
    assert [axes.get_ylabel() for axes in shown if axes.get_ylabel()] == ["first", "second"]
    for name, axes in zip(names * 2, shown, strict=True):
        if name != "input":
            assert axes.images[0].get_clim()[1] == int(name.split()[1]) + 1


@pytest.mark.parametrize("mode", ["blend", "mask", "alpha"])
def test_explanations_show_images_through_their_maps(mode):
    random = np.random.default_rng(0)
    images, heats = random.uniform(size=(2, 4, 4, 3)), random.normal(size=(2, 2, 2))
    settings: dict[str, Any] = {"overlaid": True, "mode": mode, "sign": "positive"}
    figure = explanations(images, {"a": heats, "none": 0 * heats}, scale="shared", limit=0.5, **settings)
    for axes, image, heat in ((figure.axes[1], images[0], heats[0]), (figure.axes[4], images[1], heats[1])):
        expected = figures.overlay_rgb(image, heat, mode=mode, sign="positive", limit=0.5)
        np.testing.assert_array_equal(axes.images[0].get_array(), expected)
    assert figure.axes[-1].get_ylim() == (0, 0.5)
    assert figure.axes[-1].get_ylabel().startswith("positive attribution")
    figure = explanations(images, {"a": heats}, **settings)
    expected = figures.overlay_rgb(images[1], heats[1], mode=mode, sign="positive")
    np.testing.assert_array_equal(figure.axes[3].images[0].get_array(), expected)


def test_explanations_tell_what_is_missing():
    heats = np.stack([np.zeros((4, 4)), np.full((4, 4), np.nan)])
    figure = explanations(np.zeros((2, 4, 4)), {"a": heats})
    assert "16 NaN or inf values" in note(figure)
    assert figure.axes[1].texts[0].get_text() == "All values are 0."
    assert figure.axes[3].texts[0].get_text() == "No finite value to show."


@pytest.mark.parametrize("scale", ["map", "method", "shared"])
def test_a_caption_is_of_its_map_whatever_the_scale(scale):
    heats = np.stack([np.full((4, 4), np.nan), np.zeros((4, 4)), np.eye(4)])
    for many in (heats[:2], heats):
        figure = explanations(np.zeros((len(many), 4, 4)), {"a": many}, scale=scale)
        texts = [[text.get_text() for text in figure.axes[2 * i + 1].texts] for i in range(len(many))]
        assert texts == [["No finite value to show."], ["All values are 0."], []][: len(many)]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: explanations(np.ones((2, 3, 3)), np.ones((2, 3, 3))), TypeError, "must be a mapping"),
        (lambda: explanations(np.ones((2, 3, 3)), {}), ValueError, "1 to 20 methods, got 0"),
        (
            lambda: explanations(np.ones((2, 3, 3)), {"a": np.ones((1, 3, 3))}),
            ValueError,
            r"attributions\['a'\] must hold one map per image",
        ),
        (
            lambda: explanations([np.ones((3, 3))], {"a": [np.ones((1, 3, 3))]}),
            ValueError,
            r"attributions\['a'\]\[0\] must have shape .* give attributions\['a'\]\[0\]\[0\]",
        ),
        (
            lambda: explanations(np.ones((2, 3, 3)), {"a": np.ones((2, 3, 3))}, scale="all"),
            ValueError,
            "scale must be one of 'map', 'method'",
        ),
        (
            lambda: explanations(np.ones((2, 3, 3)), {"a": np.ones((2, 3, 3))}, limit=1.0),
            ValueError,
            "limit is of one scale for all maps: give scale='shared' with it, got 'map'",
        ),
        (
            lambda: explanations(np.ones((2, 3, 3)), {"a": np.ones((2, 3, 3))}, mode="mask", sign="absolute"),
            ValueError,
            "explanations: mode 'mask' shows images through their maps: give overlaid=True",
        ),
        (
            lambda: explanations(np.ones((2, 3, 3)), {"a": np.ones((2, 3, 3))}, mode="alpha", overlaid=True),
            ValueError,
            "explanations: sign must be 'positive', 'negative' or 'absolute' where mode is 'alpha'",
        ),
        (
            lambda: explanations(np.ones((2, 3, 3)), {"a": np.ones((2, 3, 3))}, correct=[True]),
            ValueError,
            "correct must have one entry",
        ),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
