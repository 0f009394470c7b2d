"""Figures: arrays in, matplotlib figures (or RGB arrays) out. The same colors everywhere, readable by color-blind readers.

matplotlib loads with the first figure; the functions on plain arrays do without it. `README.md` beside this file tells which
function does what Captum's visualizations do.
"""

from typing import TYPE_CHECKING

from jaxviz._lazy import lazy

if TYPE_CHECKING:
    from jaxviz.figures.bars import attribution_bars as attribution_bars
    from jaxviz.figures.comparison import explanations as explanations
    from jaxviz.figures.confusion import confusion_counts as confusion_counts
    from jaxviz.figures.confusion import confusion_matrix as confusion_matrix
    from jaxviz.figures.curves import learning_curves as learning_curves
    from jaxviz.figures.distributions import histograms_over_steps as histograms_over_steps
    from jaxviz.figures.grid import answers as answers
    from jaxviz.figures.grid import image_grid as image_grid
    from jaxviz.figures.layers import layer_diagram as layer_diagram
    from jaxviz.figures.lines import line_chart as line_chart
    from jaxviz.figures.maps import heatmap as heatmap
    from jaxviz.figures.maps import heatmaps as heatmaps
    from jaxviz.figures.maps import overlay as overlay
    from jaxviz.figures.network import network_diagram as network_diagram
    from jaxviz.figures.rgb import heatmap_rgb as heatmap_rgb
    from jaxviz.figures.rgb import overlay_rgb as overlay_rgb
    from jaxviz.figures.scale import normalize as normalize
    from jaxviz.figures.scale import reduce_channels as reduce_channels
    from jaxviz.figures.series import time_series as time_series
    from jaxviz.figures.surface import decision_surface as decision_surface
    from jaxviz.figures.surface import decision_surfaces as decision_surfaces
    from jaxviz.figures.swarm import beeswarm as beeswarm
    from jaxviz.figures.tokens import token_html as token_html
    from jaxviz.figures.tokens import token_text as token_text
else:  # hidden from type checkers, for which a module with `__getattr__` has every name
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "answers": ".grid",
            "attribution_bars": ".bars",
            "beeswarm": ".swarm",
            "confusion_counts": ".confusion",
            "confusion_matrix": ".confusion",
            "decision_surface": ".surface",
            "decision_surfaces": ".surface",
            "explanations": ".comparison",
            "heatmap": ".maps",
            "heatmap_rgb": ".rgb",
            "heatmaps": ".maps",
            "histograms_over_steps": ".distributions",
            "image_grid": ".grid",
            "layer_diagram": ".layers",
            "learning_curves": ".curves",
            "line_chart": ".lines",
            "network_diagram": ".network",
            "normalize": ".scale",
            "overlay": ".maps",
            "overlay_rgb": ".rgb",
            "reduce_channels": ".scale",
            "time_series": ".series",
            "token_html": ".tokens",
            "token_text": ".tokens",
        },
    )
