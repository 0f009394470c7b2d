"""Decision surfaces: what a network with two inputs answers everywhere, and the lines at which its hidden units turn."""

from collections.abc import Sequence

import numpy.typing as npt
from matplotlib.axes import Axes

from jaxviz.figures import canvas, checks, palette, plane, terrain
from jaxviz.figures.plane import Bounds, Hidden, Predict

LINES = "Dashed: where a hidden unit turns (w·x + b = 0); arrow: its active side."
CROSSES = "Crossed out: wrong answers."


def decision_surface(
    predict: Predict,
    points: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    hidden: Hidden | None = None,
    bounds: Bounds | None = None,
    resolution: int = 200,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] = ("x₁", "x₂"),
    hidden_names: Sequence[str] | None = None,
    title: str | None = None,
) -> canvas.Figure:
    """Draws the answers of a network with two inputs over the plane, its training points, and its hidden units' lines.

    For two classes the colors run from blue (class 0) over white (0.5) to orange (class 1), with a black line at 0.5; for more,
    each place has its class's color, paler where the answer is less sure. A hidden unit turns at the line `w·x + b = 0`, dashed;
    its arrow points to the side where the unit is active. Points have their class's color and shape; a cross marks a wrong
    answer.

    Args:
        predict: maps points `(n, 2)` float32 to probabilities: of class 1, `(n,)` or `(n, 1)`, or of all classes, `(n, classes)`.
        points: `(n, 2)`, the examples to draw.
        labels: `(n,)` integer classes.
        hidden: the first layer's weights `(2, units)` and biases `(units,)`.
        bounds: x from, x to, y from, y to; by default the points and a margin.
        resolution: how many places are evaluated along each axis, 2 to 2000.
        class_names: names of the classes, for the legend.
        feature_names: names of the two inputs.
        hidden_names: names of the hidden units; by default h1, h2, ...
        title: a title.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: a bad shape, bounds or resolution; answers that are no probabilities; a label without a probability or name.
        TypeError: predict is not callable, or something is not made of numbers.

    Example:
        >>> points = [[0.0, 0.0], [1.0, 1.0]]
        >>> figure = decision_surface(lambda x: x.mean(axis=1).clip(0, 1), points, [0, 1], hidden=([[1.0], [1.0]], [-1.0]))
        >>> figure.axes[0].get_xlabel()
        'x₁'
    """
    where = "decision_surface"
    spot, truth = plane.as_points(where, points, labels)
    box = plane.as_bounds(where, spot, bounds)
    resolution = plane.as_resolution(where, resolution)
    features = checks.check_names(where, "feature_names", feature_names, 2, "input") or []
    field = plane.probabilities(where, "predict", predict, plane.places(box, resolution))
    at_points = plane.probabilities(where, "predict", predict, spot)
    names = plane.names_of(where, class_names, field, truth)

    figure = canvas.sheet(6.4, 5.4)
    axes = figure.add_subplot()
    drawn, outside = terrain.draw(
        axes,
        field.reshape(resolution, resolution, -1),
        at_points,
        spot,
        truth,
        box,
        plane.as_hidden(where, hidden),
        hidden_names,
        names=names,
    )
    canvas.panel(axes, title=title, x_label=features[0], y_label=features[1], frame=("left", "bottom", "top", "right"))
    if len(names) == 2:
        _probability_bar(figure, [axes], names)
    canvas.add_legend(
        axes,
        [marks for _, marks in drawn],
        [name for name, _ in drawn],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
        ncols=min(len(names) + 2, 5),
        handletextpad=0.4,
        columnspacing=1.4,
        scatterpoints=1,
    )
    canvas.add_notes(figure, ([] if hidden is None else [LINES]) + _outside_note(outside))
    return figure


def decision_surfaces(
    predicts: Sequence[Predict],
    points: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    hidden: Sequence[Hidden] | None = None,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    bounds: Bounds | None = None,
    resolution: int = 80,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] = ("x₁", "x₂"),
    title: str | None = None,
) -> canvas.Figure:
    """Draws the decision surfaces of several networks on the same points, as small multiples with one scale.

    Args:
        predicts: for each network what `decision_surface` takes as predict; at most 64.
        points: `(n, 2)`.
        labels: `(n,)` integer classes.
        hidden: for each network its first layer's weights `(2, units)` and biases `(units,)`.
        titles: one text for each network.
        columns: how many panels in a row; by default at most 4.
        bounds: x from, x to, y from, y to; by default the points and a margin.
        resolution: how many places are evaluated along each axis, 2 to 2000.
        class_names: names of the classes.
        feature_names: names of the two inputs.
        title: a title of the whole figure.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: no network or more than 64, counts that differ, and as `decision_surface`.
        TypeError: as `decision_surface`.

    Example:
        >>> points = [[0.0, 0.0], [1.0, 1.0]]
        >>> networks = [lambda x: x[:, 0].clip(0, 1), lambda x: x[:, 1].clip(0, 1)]
        >>> figure = decision_surfaces(networks, points, [0, 1], titles=["a", "b"])
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['a', 'b']
    """
    where = "decision_surfaces"
    if callable(predicts):
        raise TypeError(f"{where}: predicts must be a sequence of functions; for one network call decision_surface")
    if not 1 <= len(predicts) <= 64:
        raise ValueError(f"{where}: predicts must hold 1 to 64 networks, got {len(predicts)}")
    spot, truth = plane.as_points(where, points, labels)
    box = plane.as_bounds(where, spot, bounds)
    resolution = plane.as_resolution(where, resolution)
    features = checks.check_names(where, "feature_names", feature_names, 2, "input") or []
    texts = checks.check_names(where, "titles", titles, len(predicts), "network")
    if hidden is not None and len(hidden) != len(predicts):
        raise ValueError(f"{where}: hidden must have one entry per network, {len(predicts)} in all, got {len(hidden)}")
    columns = None if columns is None else checks.check_count(where, "columns", columns)
    everywhere = plane.places(box, resolution)
    fields = [plane.probabilities(where, f"predicts[{i}]", predict, everywhere) for i, predict in enumerate(predicts)]
    names = plane.names_of(where, class_names, max(fields, key=lambda field: field.shape[1]), truth)

    rows, columns = canvas.grid_shape(len(predicts), columns, 4)
    side = min(2.6, (canvas.WIDTH - 0.7) / columns)
    lines = 0 if texts is None else max(canvas.wrap(text, side, canvas.LABEL).count("\n") + 1 for text in texts)
    figure = canvas.sheet(
        side * columns + 1.2,
        rows * (side + 0.17 * lines) + (0.4 if title else 0.0) + 0.5,
        title=title,
        layout="compressed",
    )
    grid = figure.subplots(rows, columns, squeeze=False)
    outside, wrong = 0, False
    for i, axes in enumerate(grid.flat):
        if i >= len(predicts):
            axes.set_axis_off()
            continue
        at_points = plane.probabilities(where, f"predicts[{i}]", predicts[i], spot)
        wrong = wrong or bool((at_points.argmax(axis=1) != truth).any())
        own = None if hidden is None else plane.as_hidden(where, hidden[i])
        outside += len(
            terrain.draw(
                axes,
                fields[i].reshape(resolution, resolution, -1),
                at_points,
                spot,
                truth,
                box,
                own,
                None,
                names=names,
                small=True,
            )[1]
        )
        canvas.picture_panel(
            axes, title=None if texts is None else canvas.wrap(texts[i], side, canvas.LABEL), color=palette.MUTED
        )
        if i % columns == 0:
            axes.set_ylabel(features[1], size=canvas.LABEL, color=palette.INK, parse_math=False)
        if i + columns >= len(predicts):
            axes.set_xlabel(features[0], size=canvas.LABEL, color=palette.INK, parse_math=False)
    if len(names) == 2:
        _probability_bar(figure, list(grid.flat), names)
    notes = [] if hidden is None else [LINES]
    if wrong:  # small multiples have no legend
        notes.append(CROSSES)
    if outside:
        notes.append(f"{outside} hidden units turn outside the pictures.")
    canvas.add_notes(figure, notes)
    return figure


def _outside_note(outside: list[str]) -> list[str]:
    if not outside:
        return []
    listed = ", ".join(outside[:8]) + (" …" if len(outside) > 8 else "")
    return [f"Outside the picture: the line{'s' if len(outside) > 1 else ''} of {listed}."]


def _probability_bar(figure: canvas.Figure, axes: Sequence[Axes], names: Sequence[str]) -> None:
    bar = canvas.color_bar(figure, axes, map="probability", low=0, high=1, label=f"probability of {names[1]}")
    bar.solids.set(alpha=terrain.TINT)  # type: ignore[union-attr]  # there for every bar that is not of contours
