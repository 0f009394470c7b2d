"""Makes `visualization_figures.npz`: what Captum's visualizations draw, for every sign and method that jaxviz.figures has too.

    python tests/reference/visualization_figures.py     # needs torch and captum; the tests need only the file

Heat maps are in shares of Captum's limit, masked images and alpha channels in bytes.
"""

import numpy as np
from captum.attr import visualization
from files import write
from matplotlib import cm, pyplot
from matplotlib.collections import LineCollection

cm.get_cmap = pyplot.get_cmap  # Captum 0.9 calls for it; matplotlib 3.9 has it no more
SIGNS = {"all": "all", "positive": "positive", "negative": "negative", "absolute": "absolute_value"}


def drawn(method, sign, **settings):
    """The array of the one picture that Captum draws."""
    _, axes = visualization.visualize_image_attr(heat, image, method=method, sign=sign, use_pyplot=False, **settings)
    return np.asarray(axes.images[-1].get_array())


random = np.random.default_rng(0)
heat = random.normal(size=(24, 20, 3)) ** 3  # a few large values, as attributions have
image = random.integers(0, 256, size=(24, 20, 3), dtype=np.uint8)
series, moments = random.normal(size=(30, 3)), random.normal(size=(30, 3)) ** 3
figures = {"heat": heat, "image": image, "series": series, "moments": moments}
for sign, theirs in SIGNS.items():
    for outliers in (2, 10):
        figures[f"heat_map/{sign}/{outliers}"] = drawn("heat_map", theirs, outlier_perc=outliers)
    if sign != "all":
        figures[f"masked_image/{sign}"] = drawn("masked_image", theirs)
        figures[f"alpha_scaling/{sign}"] = drawn("alpha_scaling", theirs)
    settings = {"sign": theirs, "use_pyplot": False}
    _, axes = visualization.visualize_timeseries_attr(moments, series, method="colored_graph", **settings)
    lines = [panel.collections[0] for panel in axes]
    assert all(isinstance(line, LineCollection) for line in lines)
    figures[f"colored_graph/{sign}"] = np.stack([np.asarray(line.get_array()) for line in lines], axis=1)
    names = ["a", "b", "c"]
    _, axes = visualization.visualize_timeseries_attr(
        moments, series, method="overlay_combined", channel_labels=names, cmap="gray", alpha_overlay=1, **settings
    )
    figures[f"overlay_combined/{sign}"] = np.array([span.get_facecolor()[0] for span in axes.patches])
write("visualization_figures.npz", figures)
