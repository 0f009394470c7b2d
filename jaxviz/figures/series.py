"""Time series with their attribution: behind the curves, in them, or as strips below them, one for each method."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from jaxviz.figures import canvas, checks, palette, traces
from jaxviz.figures.panels import LABELS
from jaxviz.figures.scale import PERCENTILE, Scale, Sign, notes_of_limits, reduce_channels, shared_scale

MOST_CHANNELS, MOST_METHODS = 12, 6
LEGEND = 4  # names in a line of the legend


def time_series(
    series: npt.ArrayLike,
    attribution: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    *,
    mode: Literal["background", "combined", "curve"] = "background",
    times: npt.ArrayLike | None = None,
    channel_names: Sequence[str] | None = None,
    scale: Literal["shared", "method"] = "shared",
    sign: Sign = "all",
    percentile: float = PERCENTILE,
    limit: float | None = None,
    x_label: str = "time",
    title: str | None = None,
) -> canvas.Figure:
    """Draws the curve of each channel with the colors of its attribution; several methods as strips of color under the curve.

    All channels have one scale of colors, so that they compare. What is NaN in the series is a gap in the curve; NaN and inf in
    the attribution are yellow.

    Args:
        series: `(time,)` or `(time, channels)`, at most 12 channels, in their own units.
        attribution: `(time,)`, the same for all channels, or `(time, channels)`; or for each method's name one of these, 1 to 6
            methods.
        mode: "background" (each channel in a panel of its own, on the colors of its attribution), "combined" (all channels in one
            panel, on the colors of their attributions' sum: for channels of one unit) or "curve" (each channel in a panel of its
            own, the curve itself in the colors of its attribution; of one method).
        times: `(time,)`, when the values were measured, increasing; by default 0, 1, ...
        channel_names: one name for each channel; by default "channel 0", "channel 1", ...
        scale: "shared" (all methods on one scale, for those that explain the score in its own unit) or "method" (each on its own;
            colors then show shares of the method's limit).
        sign: "all", "positive", "negative" or "absolute"; see `normalize`.
        percentile: the share of the non-zero magnitudes within a scale, in %, within the colors' range; see `normalize`.
        limit: the magnitude at which the colors saturate, for one scale over several figures; with `scale="shared"`.
        x_label: what the times are, and in what unit.
        title: a title.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: a bad shape, too many channels or methods, counts that differ, times that do not increase, a bad mode, scale,
            sign, percentile or limit; several methods in the mode "curve"; a limit with `scale="method"`.
        TypeError: something is not made of real numbers.

    Example:
        >>> figure = time_series([1.0, 3.0, 2.0], [0.0, 2.0, -1.0], channel_names=["speed"])
        >>> figure.axes[0].get_ylabel(), figure.axes[0].images[0].get_clim()
        ('speed', (-2.0, 2.0))

    Note:
        Captum's `overlay_individual`, `overlay_combined` and `colored_graph`. Its colored graph has the color of a time from
        there to the next one, so that the last is not seen, and cuts off curves whose values are all positive; its overlays
        take uneven times for even ones.
    """
    where = "time_series"
    checks.check_choice(where, "mode", mode, ("background", "combined", "curve"))
    checks.check_choice(where, "scale", scale, ("shared", "method"))
    if limit is not None and scale != "shared":
        raise ValueError(f"{where}: limit is of one scale for all methods: give scale='shared' with it, got {scale!r}")
    curves = _curves(where, series)
    steps, channels = curves.shape
    names = checks.check_names(where, "channel_names", channel_names, channels, "channel")
    names = names or ([f"channel {i}" for i in range(channels)] if channels > 1 else [""])
    at = checks.as_positions(where, "times", times, steps)
    alone = not isinstance(attribution, Mapping)
    given: Mapping[str, Any] = attribution if isinstance(attribution, Mapping) else {"": attribution}
    if not 1 <= len(given) <= MOST_METHODS:
        raise ValueError(f"{where}: attribution must hold 1 to {MOST_METHODS} methods, got {len(given)}")
    if mode == "curve" and not alone:
        raise ValueError(
            f"{where}: mode 'curve' shows one attribution, got a mapping of {len(given)}; give attribution[name]"
        )
    together = mode == "combined"
    heats = {
        name: _heat(where, "attribution" if alone else f"attribution[{name!r}]", heat, steps, channels, together)
        for name, heat in given.items()
    }
    summed = together and any(np.ndim(heat) == 2 for heat in given.values())
    settings: dict[str, Any] = {"sign": sign, "percentile": percentile, "limit": limit}
    common = shared_scale(where, list(heats.values()), **settings)
    scales = {
        name: common if scale == "shared" else shared_scale(where, [heat], **settings) for name, heat in heats.items()
    }

    members = [list(range(channels))] if together else [[i] for i in range(channels)]  # the channels of each panel
    figure, rows = _sheet(members, together, 0 if alone else len(heats), title)
    edges = traces.edges(at)
    for i, those in enumerate(members):
        axes = rows[i if alone else 2 * i]
        last = i == len(members) - 1
        below = x_label if last else None
        if mode == "curve":
            traces.colored_curve(axes, at, curves[:, i], heats[""][:, i], scales[""])
        else:
            _draw_curves(axes, at, curves, names, those)
        traces.frame(axes, curves[:, those])
        y_label = names[i] if len(those) == 1 else None
        canvas.panel(axes, y_label=y_label, x_label=below if alone else None, frame=("left", "bottom"))
        if alone and mode != "curve":
            traces.strip(axes, edges, heats[""][:, i], scales[""], axes.get_ylim())
        axes.tick_params(labelbottom=last and alone)
        if not alone:
            strips = {name: heat[:, i] for name, heat in heats.items()}
            _draw_strips(rows[2 * i + 1], edges, strips, scales)
            canvas.panel(rows[2 * i + 1], x_label=below, frame=("bottom",))
            rows[2 * i + 1].tick_params(labelbottom=last, bottom=last)
    for axes in rows:
        axes.set_xlim(edges[0], edges[-1])

    shares = scale == "method" and len(heats) > 1
    clipped = sum(part.clipped for part in scales.values())
    shown = Scale.of_shares(sign, clipped) if shares else common
    canvas.color_bar(
        figure,
        list(rows),
        map=shown.map,
        low=shown.low,
        high=shown.high,
        label="share of the method's limit" if shares else LABELS[sign] + (", summed" if summed else ""),
        clipped=clipped > 0,
    )
    own = [f"{name}: {note}" for name, part in scales.items() for note in part.notes(beyond=None)]
    notes = notes_of_limits("method", percentile, clipped) + own if shares else common.notes()
    if not np.isfinite(curves).all():
        notes.append(
            f"Gaps in the curves: {int((~np.isfinite(curves)).sum()):,} of {curves.size:,} values are NaN or inf."
        )
    canvas.add_notes(figure, notes)
    return figure


def _curves(where: str, series: Any) -> np.ndarray:
    """The series as `(time, channels)`."""
    curves = checks.as_numbers(where, "series", series)
    curves = curves[:, None] if curves.ndim == 1 else curves
    if curves.ndim != 2 or curves.size == 0 or curves.shape[1] > MOST_CHANNELS:
        hint = "; for one example of a batch give series[i]" if curves.ndim == 3 else ""
        raise ValueError(
            f"{where}: series must have shape (time,) or (time, channels), with at most {MOST_CHANNELS} channels, got "
            f"{np.shape(series)}{hint}"
        )
    return curves


def _heat(where: str, name: str, attribution: Any, steps: int, channels: int, together: bool) -> np.ndarray:
    """One attribution, with an axis of panels behind that of time: of each channel, or of all together, summed."""
    heat = checks.as_numbers(where, name, attribution)
    if heat.shape == (steps,):
        return np.repeat(heat[:, None], 1 if together else channels, axis=1)
    if heat.shape != (steps, channels):
        raise ValueError(f"{where}: {name} must have shape ({steps},) or ({steps}, {channels}), got {heat.shape}")
    return reduce_channels(heat[:, None]) if together else heat


def _sheet(members: list[list[int]], together: bool, strips: int, title: str | None) -> tuple[canvas.Figure, Any]:
    """The empty figure, and its panels from the top: for each list of channels one, and one for strips below it, if there are."""
    channels = sum(map(len, members))
    curve = 2.3 if together else 1.15 if channels <= 4 else 0.8
    legend = 0.3 * -(-channels // LEGEND) if together and channels > 1 else 0.0
    strip = 0.2 * strips
    height = len(members) * (curve + strip + 0.12) + 0.65 + (0.3 if title else 0.0) + legend
    figure = canvas.sheet(canvas.WIDTH, height, title=title)
    heights = ([curve, strip] if strips else [curve]) * len(members)
    rows = figure.subplots(len(heights), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights})[:, 0]
    canvas.space(figure, w_pad=0.06, h_pad=0.05, wspace=0.0, hspace=0.0)
    return figure, rows


def _draw_curves(axes: Axes, at: np.ndarray, curves: np.ndarray, names: Sequence[str], channels: list[int]) -> None:
    """The curves of the channels that share a panel, with their names above it where they are several."""
    lines = []
    for k, channel in enumerate(channels):
        color, dashes = traces.COLORS[k % len(traces.COLORS)], traces.DASHES[k // len(traces.COLORS)]
        lines.append(traces.curve(axes, at, curves[:, channel], color, dashes))
    if len(channels) > 1:
        canvas.add_legend(
            axes,
            lines,
            [canvas.wrap(names[channel], 1.4, canvas.TICK, 1) for channel in channels],
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            borderaxespad=0.2,
            ncols=min(len(channels), LEGEND),
            handlelength=2.6,
        )


def _draw_strips(axes: Axes, edges: np.ndarray, heats: dict[str, np.ndarray], scales: dict[str, Scale]) -> None:
    """A strip of color for each method, the first at the top, with their names."""
    count = len(heats)
    for k, (name, heat) in enumerate(heats.items()):
        traces.strip(axes, edges, heat, scales[name], (count - k - 1, count - k))
    axes.set(ylim=(0, count))
    labels = [canvas.wrap(name, 1.6, canvas.TICK, 1) for name in heats]
    canvas.name_ticks(axes.yaxis, [count - k - 0.5 for k in range(count)], labels)
    axes.tick_params(left=False)
    for line in range(1, count):
        axes.axhline(line, color=palette.PAPER, linewidth=1.5, linestyle="-", marker="None")
