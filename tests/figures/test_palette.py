import numpy as np
import pytest

from jaxviz.figures import palette


def lightness(colors):
    light = palette.luminance(colors)
    return np.where(light > 0.008856, 116 * np.cbrt(light) - 16, 903.3 * light)  # CIE L*


def deuteranope(colors):
    """Viénot, Brettel, Mollon 1999: what is left of a color without the green-sensitive cones."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    without = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
    seen = np.clip(linear @ (np.linalg.inv(to_lms) @ without @ to_lms).T, 0, 1)
    return np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("name", ["positive", "sequential", "negative", "value"])
def test_one_sided_maps_change_in_lightness_in_one_direction(name):
    steps = np.diff(lightness(palette.table(name)))
    assert (steps > 0).all() if name == "negative" else (steps < 0).all()


def test_the_diverging_map_is_neutral_at_zero_and_darkens_to_both_sides():
    table = palette.table("diverging")
    np.testing.assert_array_equal(table[128], palette.rgb(palette.NEUTRAL))
    light = lightness(table)
    assert (np.diff(light[:129]) > 0).all()
    assert (np.diff(light[128:]) < 0).all()
    assert np.abs(light - light[::-1]).max() < 9  # neither sign looks stronger


@pytest.mark.parametrize("see", [lambda colors: colors, deuteranope])
def test_the_two_signs_and_nan_are_told_apart(see):
    for name in palette.MAPS:
        distance = np.abs(see(palette.table(name)) - see(palette.rgb(palette.NAN))).max(axis=-1)
        assert distance.min() > 0.25, name
    table = see(palette.table("diverging"))
    assert np.abs(table[:64] - table[::-1][:64]).max(axis=-1).min() > 0.3


def test_paint_by_hand():
    painted = palette.paint(np.array([0.0, 0.5, 1.0, np.nan, 2.0]), "diverging")
    expected = ["#004675", palette.NEUTRAL, "#863700", palette.NAN, "#863700"]
    np.testing.assert_allclose(painted, [palette.rgb(color) for color in expected], atol=1e-12)


def test_paint_takes_a_scalar():
    np.testing.assert_array_equal(palette.paint(np.asarray(np.nan), "sequential"), palette.rgb(palette.NAN))


def test_ink_has_contrast():
    assert palette.ink_on(palette.rgb("#FFFFFF")) == palette.INK
    assert palette.ink_on(palette.rgb("#004675")) == palette.PAPER
