from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from jaxviz import figures

time_series: Any = figures.time_series  # matplotlib annotates what artists hold too widely to be indexed

SERIES = np.array([[0.0, 10.0], [1.0, 20.0], [2.0, np.nan], [3.0, 40.0]])
HEAT = np.array([[0.0, 1.0], [2.0, -4.0], [0.5, 0.0], [np.nan, 0.0]])


def test_the_background_of_each_channel_is_its_attribution_on_one_scale():
    figure = time_series(SERIES, HEAT, channel_names=["a", "$b$"], x_label="day")
    first, second = figure.axes[:2]
    for axes, column in ((first, 0), (second, 1)):
        np.testing.assert_array_equal(np.ma.filled(axes.images[0].get_array(), np.nan)[0], HEAT[:, column])
        assert axes.images[0].get_clim() == (-4, 4)
        assert axes.images[0].get_extent()[:2] == [-0.5, 3.5]
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), SERIES[:, column])
    assert (first.get_ylabel(), second.get_ylabel(), second.get_xlabel()) == ("a", "$b$", "day")
    assert "1 NaN of 8 values, shown in yellow." in figure.get_supxlabel()
    assert "Gaps in the curves: 1 of 8 values" in figure.get_supxlabel()


def test_one_attribution_for_all_channels():
    figure = time_series(SERIES, [1.0, 2.0, 3.0, 4.0])
    for axes in figure.axes[:2]:
        np.testing.assert_array_equal(axes.images[0].get_array()[0], [1, 2, 3, 4])


def test_methods_are_strips_on_a_shared_scale_or_on_their_own():
    methods = {"a": HEAT[:, 0], "b": 10 * HEAT[:, 1]}
    for scale, limits in (("shared", [(-40, 40), (-40, 40)]), ("method", [(-2, 2), (-40, 40)])):
        strips = time_series(SERIES[:, 0], methods, scale=scale).axes[1]
        assert [image.get_clim() for image in strips.images] == limits
        assert [label.get_text() for label in strips.get_yticklabels()] == ["a", "b"]
        heights = [image.get_extent()[2:] for image in strips.images]
        assert heights == [[1, 2], [0, 1]]  # the first on top
    assert "a: 1 NaN of 4 values" in time_series(SERIES[:, 0], methods, scale="method").get_supxlabel()


def test_uneven_times_have_borders_half_way():
    figure = time_series([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], times=[0.0, 1.0, 4.0])
    axes = figure.axes[0]
    assert axes.get_xlim() == (-0.5, 5.5)
    mesh = (axes.images + list(axes.collections))[0]
    np.testing.assert_array_equal(np.ravel(mesh.get_array()), [1, 2, 3])


@pytest.mark.parametrize("unit", [1e-12, 1e-9, 1.0, 1e9])
def test_uneven_times_are_so_in_any_unit(unit):
    heat = [1.0, -1.0, 2.0, 3.0]

    def colors(times):  # at places along the panel, above the curve
        figure = time_series(np.full(4, 5.0), heat, times=times)
        axes = figure.axes[0]
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())
        box = axes.get_window_extent()
        places = np.rint(box.x0 + np.linspace(0.03, 0.97, 20) * box.width).astype(int)
        return pixels[pixels.shape[0] - round(box.y0 + 0.8 * box.height), places].tolist()

    times = np.array([0.0, 1.0, 5.0, 6.0])
    assert colors(times * unit) == colors(times)
    assert colors(np.arange(4.0) * unit) == colors(np.arange(4.0)) != colors(times)


def test_a_limit_clips_and_says_so():
    figure = time_series([1.0, 2.0], [1.0, 5.0], limit=2.0)
    assert figure.axes[0].images[0].get_clim() == (-2, 2)
    assert figure.get_supxlabel() == "Colors saturate at 2; the largest magnitude is 5."


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        ((np.ones((2, 3, 4)), np.ones((3, 4))), {}, r"got \(2, 3, 4\); for one example of a batch give series\[i\]"),
        ((np.ones((4, 13)), np.ones(4)), {}, "at most 12 channels"),
        ((np.ones(0), np.ones(0)), {}, r"got \(0,\)"),
        ((np.ones(4), np.ones(3)), {}, r"attribution must have shape \(4,\) or \(4, 1\), got \(3,\)"),
        ((np.ones(4), {"a": np.ones(3)}), {}, r"attribution\['a'\] must have shape"),
        ((np.ones(4), {}), {}, "1 to 6 methods, got 0"),
        ((np.ones(2), np.ones(2)), {"times": [1.0, 1.0]}, "finite and increasing"),
        ((np.ones(2), np.ones(2)), {"times": [1.0]}, r"times must have shape \(2,\)"),
        ((np.ones(2), np.ones(2)), {"scale": "own"}, "scale must be one of 'shared', 'method'"),
        ((np.ones(2), np.ones(2)), {"mode": "colored"}, "mode must be one of 'background', 'combined', 'curve'"),
        ((np.ones(2), {"a": np.ones(2)}), {"mode": "curve"}, "mode 'curve' shows one attribution, got a mapping of 1"),
        (
            (np.ones(2), {"a": np.ones(2), "b": np.ones(2)}),
            {"scale": "method", "limit": 0.5},
            "give scale='shared' with it",
        ),
        ((np.ones(2), np.ones(2)), {"channel_names": ["a", "b"]}, "one entry per channel, 1 in all, got 2"),
    ],
)
def test_bad_input_is_named(arguments, settings, words):
    with pytest.raises(ValueError, match=words):
        time_series(*arguments, **settings)


def test_a_curve_has_the_colors_of_its_attribution():
    figure = time_series(SERIES, HEAT, mode="curve", times=[0.0, 1.0, 2.0, 4.0])
    first, second = figure.axes[:2]
    assert not first.images
    line, marks = first.collections
    np.testing.assert_array_equal(np.ma.filled(line.get_array(), np.nan), HEAT[:, 0])
    np.testing.assert_array_equal(np.ma.filled(marks.get_array(), np.nan), HEAT[:, 0])
    assert line.get_clim() == marks.get_clim() == (-4, 4)
    # each time half way to its neighbors
    expected = [[[0, 0], [0, 0], [0.5, 0.5]], [[0.5, 0.5], [1, 1], [1.5, 1.5]]]
    expected += [[[1.5, 1.5], [2, 2], [3, 2.5]], [[3, 2.5], [4, 3], [4, 3]]]
    np.testing.assert_array_equal(line.get_segments(), expected)
    np.testing.assert_array_equal(first.lines[0].get_ydata(), SERIES[:, 0])  # the edge
    line.update_scalarmappable()
    np.testing.assert_allclose(line.get_colors()[3][:3], [1, 240 / 255, 0])  # NaN
    # a gap: no piece in it, none into it
    line, marks = second.collections
    np.testing.assert_array_equal(line.get_array(), [1, -4, 0])
    expected = [[[0, 10], [0, 10], [0.5, 15]], [[0.5, 15], [1, 20], [1, 20]], [[4, 40], [4, 40], [4, 40]]]
    np.testing.assert_array_equal(line.get_segments(), expected)
    np.testing.assert_array_equal(marks.get_offsets(), [[0, 10], [1, 20], [4, 40]])
    assert "Gaps in the curves: 1 of 8 values" in figure.get_supxlabel()


@pytest.mark.parametrize("mode", ["background", "curve"])
def test_of_a_long_series_the_lonely_points_alone_have_marks(mode):
    series = np.arange(100.0)
    series[[40, 42]] = np.nan
    axes = time_series(series, series, mode=mode).axes[0]
    if mode == "curve":
        assert axes.collections[1].get_offsets().tolist() == [[41, 41]]
    else:
        assert axes.lines[1].get_markevery() == [41]


def test_all_channels_in_one_panel_on_their_sum():
    figure = time_series(SERIES, HEAT, mode="combined", channel_names=["_a", "$b$"])
    panel, bar = figure.axes
    expected = [1.0, -2.0, 0.5, np.nan]
    np.testing.assert_array_equal(np.ma.filled(panel.images[0].get_array()[0], np.nan), expected)
    assert panel.images[0].get_clim() == (-2, 2)
    assert bar.get_ylabel() == "attribution, summed"
    assert "1 NaN of 4 values" in figure.get_supxlabel()
    curves = panel.lines[1::2]  # each on a white edge
    assert len({(line.get_color(), line.get_linestyle()) for line in curves}) == 2
    for line, column in zip(curves, SERIES.T, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), column)
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["_a", "$b$"]
    low, high = panel.get_ylim()
    assert low < 0
    assert high > 40


def test_one_attribution_for_all_channels_is_not_counted_for_each():
    figure = time_series(SERIES, [1.0, 2.0, 3.0, 4.0], mode="combined")
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array()[0], [1, 2, 3, 4])
    assert figure.axes[-1].get_ylabel() == "attribution"


def test_methods_are_strips_below_all_channels():
    figure = time_series(SERIES, {"a": HEAT, "b": [0.0, 0.0, 8.0, 0.0]}, mode="combined")
    strips = figure.axes[1]
    rows = [np.ma.filled(image.get_array()[0], np.nan) for image in strips.images]
    np.testing.assert_array_equal(rows, [[1, -2, 0.5, np.nan], [0, 0, 8, 0]])
    assert [image.get_clim() for image in strips.images] == [(-8, 8)] * 2
    assert len(figure.axes) == 3


def test_twelve_channels_in_one_panel_all_look_different():
    panel = time_series(np.eye(12), np.eye(12), mode="combined").axes[0]
    assert len({(line.get_color(), str(line._dash_pattern)) for line in panel.lines[1::2]}) == 12


@pytest.mark.parametrize("mode", ["background", "combined", "curve"])
@pytest.mark.parametrize(
    ("series", "heat"),
    [([2.0], [1.0]), (np.full((4, 2), np.nan), HEAT), (SERIES, np.zeros((4, 2))), (SERIES, np.full(4, np.inf))],
    ids=["one time", "no value", "all 0", "all inf"],
)
def test_little_to_show_is_drawn_and_told(mode, series, heat):
    figure = time_series(series, heat, mode=mode)
    figure.draw_without_rendering()
    said = "" if figure._supxlabel is None else figure.get_supxlabel()
    assert ("All values are 0." in said) == (np.abs(heat).max() == 0)
    assert ("No finite value to show." in said) == np.isinf(heat).all()
    assert ("Gaps in the curves" in said) == (not np.isfinite(series).all())
