"""The layer diagram: a larger network as a flow of its layers, with shapes, parameters and operations."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from matplotlib.patches import FancyBboxPatch, Rectangle

from jaxviz.figures import canvas, checks, palette
from jaxviz.figures.connections import ABOVE, JOINT, LANE, Edges, Spot, by_call, connect, edges_of

ROW, BOX, INDENT = 0.31, 0.22, 0.13  # inches: height of a row, of a box, and the indentation of a nested module
FOOT = 0.09  # of a frame
MOST_ROWS = 60
SHADES = ("#F4F6F8", "#E9EDF1", "#DEE4EA", "#D3DBE3")  # of nested frames, outer to inner


@dataclasses.dataclass
class _Row:
    """A layer without layers inside, or a module that is drawn closed."""

    path: str
    kind: str
    shape: str
    parameters: int
    flops: int | None


@dataclasses.dataclass
class _Frame:
    """A module drawn as a frame around the rows `first` to `last`."""

    path: str
    kind: str
    depth: int
    first: int
    last: int
    own: int


def layer_diagram(records: Iterable[Any], *, depth: int | None = None, title: str | None = None) -> canvas.Figure:
    """Draws the layers from top to bottom in order of execution, modules that hold others as frames around them.

    Beside each layer stand its output's shape, its parameters (a bar shows its share of the largest) and its operations.
    Arrows lead from a layer to those that are computed from its output, directly; where they pass other layers, as a residual
    connection does, they run beside the boxes. Where several values come together at a module's end, there is a joint, a small
    circle. Without `sources`, arrows lead from each layer to the next.

    Args:
        records: the layers in order of execution, such as `model.layers(inputs)` gives: objects with `path` ("/"-joined),
            `shape`, `parameters` (the inner layers' included), `flops` (or None), and if they have it `kind` (the module's
            class), `depth` (how many layers it runs inside of), and `sources` (the paths of the layers that it comes
            from, `""` for the model's inputs).
        depth: modules this many levels deep are drawn closed, as one layer: 1 shows the outermost only. By default as deep as
            fits 60 rows.
        title: a title; by default the total of the parameters.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: there are no records, or more than 400 rows at the depth asked for.
        TypeError: a record lacks an attribute.

    Example:
        >>> import types
        >>> dense = types.SimpleNamespace(path="Dense_0", kind="Dense", shape=(1, 8), parameters=40, flops=64)
        >>> figure = layer_diagram([dense])
        >>> [text.get_text() for text in figure.axes[0].texts if "Dense" in text.get_text()]
        ['Dense_0  Dense']
    """
    where = "layer_diagram"
    if not isinstance(records, Iterable):
        raise TypeError(
            f"{where}: records must be layers, as model.layers(inputs) gives them, got {type(records).__name__}"
        )
    items = list(records)
    if not items:
        raise ValueError(f"{where}: records is empty")
    for i, item in enumerate(items):
        lacking = [name for name in ("path", "shape", "parameters", "flops") if not hasattr(item, name)]
        if lacking:
            raise TypeError(
                f"{where}: records[{i}] ({type(item).__name__}) lacks {', '.join(lacking)}; "
                "give what model.layers(inputs) returns"
            )
    items = by_call([item for item in items if item.path])  # the model itself, where it is recorded, has no path
    deepest = max(item.path.count("/") + 1 for item in items)
    if depth is None:
        depth = next((level for level in range(deepest, 1, -1) if len(_rows(items, level)[0]) <= MOST_ROWS), 1)
    else:
        depth = checks.check_count(where, "depth", depth)
    rows, frames = _rows(items, depth)
    if len(rows) > 400:
        raise ValueError(
            f"{where}: {len(rows)} layers at depth {depth} are too many to draw (400); give a smaller depth, or fewer records"
        )
    paths = {item.path for item in items}
    outermost = [item for item in items if not _parent(item.path, paths)]
    total = sum(item.parameters for item in outermost)
    operations = [item.flops for item in outermost if item.flops is not None]
    heading = title or f"{total:,} parameters in {len(rows)} layers"
    notes = [] if depth >= deepest else [f"Modules below level {depth} are drawn closed."]
    if title:
        notes.append(f"{total:,} parameters.")
    if operations:
        number = canvas.count(sum(operations))
        unit = "FLOP" if number[-1].isalpha() else " FLOP"  # 3 MFLOP, 90 FLOP
        notes.append(f"{number}{unit} for this input; a multiplication and an addition count as two.")
    edges, left_out = edges_of(items, rows, frames)
    if left_out:
        notes.append(f"{left_out} more connections are left out.")
    if any(lane.source == ABOVE for lane in edges.past):
        notes.append("From the dot come the inputs.")
    return _draw(rows, frames, edges, heading, notes)


def _parent(path: str, paths: set[str]) -> str | None:
    """The nearest recorded module that a layer is inside of."""
    parts = path.split("/")
    return next(("/".join(parts[:i]) for i in range(len(parts) - 1, 0, -1) if "/".join(parts[:i]) in paths), None)


def _rows(items: list[Any], depth: int) -> tuple[list[_Row], list[_Frame]]:
    """What is drawn as a layer, and which modules are frames around which rows."""
    paths = {item.path for item in items}
    holders = {parent for item in items if (parent := _parent(item.path, paths))}
    while above := {parent for path in holders if (parent := _parent(path, paths))} - holders:
        holders |= above
    open_ = {path for path in holders if path.count("/") + 1 < depth}
    shown = [
        item
        for item in items
        if item.path not in open_ and item.path.count("/") + 1 <= depth and _all_open(item.path, paths, open_)
    ]
    rows = [
        _Row(item.path, str(getattr(item, "kind", "") or ""), _shape(item.shape), int(item.parameters), item.flops)
        for item in shown
    ]
    frames = []
    for item in items:
        if item.path in open_:
            inside = [i for i, row in enumerate(rows) if row.path.startswith(item.path + "/")]
            if inside:
                own = int(item.parameters) - sum(
                    int(other.parameters) for other in items if _parent(other.path, paths) == item.path
                )
                level = sum(item.path.startswith(other + "/") for other in open_)
                frames.append(
                    _Frame(item.path, str(getattr(item, "kind", "") or ""), level, inside[0], inside[-1], own)
                )
    return rows, sorted(frames, key=lambda frame: frame.depth)


def _all_open(path: str, paths: set[str], open_: set[str]) -> bool:
    parent = _parent(path, paths)
    return parent is None or (parent in open_ and _all_open(parent, paths, open_))


def _shape(shape: Any) -> str:
    """A shape as text: 1 × 28 × 28 × 8; several outputs are joined by commas."""
    if isinstance(shape, tuple | list) and shape and all(isinstance(part, tuple | list) for part in shape):
        return ", ".join(map(_shape, shape[:2])) + (", …" if len(shape) > 2 else "")
    return " × ".join(str(part) for part in shape) if len(shape) else "scalar"


def _clip(text: str, inches: float, size: float) -> str:
    most = max(4, int(inches * 72 / (size * 0.57)))
    return text if len(text) <= most else text[: most // 2] + "…" + text[len(text) - (most - most // 2 - 1) :]


def _draw(rows: list[_Row], frames: list[_Frame], edges: Edges, title: str, notes: list[str]) -> canvas.Figure:
    deep = 1 + max((frame.depth for frame in frames), default=-1)
    starts = {i: sum(frame.first == i for frame in frames) for i in range(len(rows))}
    feet = {frame.path: FOOT + (2.8 * JOINT if frame.path in edges.joint_nodes else 0.0) for frame in frames}
    ends = {i: sum(feet[frame.path] for frame in frames if frame.last == i) for i in range(len(rows))}
    top_of, y = [], 0.0  # measured downwards from the first row
    for i in range(len(rows)):
        y += 0.24 * starts[i]  # room for the frames' names
        top_of.append(y)
        y += ROW + ends[i]
    widths = {
        "box": 2.9,
        "shape": max(1.3, max(len(row.shape) for row in rows) * 0.072 + 0.15),
        "parameters": 1.55,
        "flops": 0.75,
    }
    inset = INDENT * deep
    beside = LANE * (1 + max(lane.number for lane in edges.past)) if edges.past else 0.0
    width = 0.5 + 2 * inset + widths["box"] + beside + widths["shape"] + widths["parameters"] + widths["flops"]
    note = canvas.wrap(" ".join(notes), width - 0.3, canvas.NOTE) if notes else ""
    head, foot = 0.75, 0.2 + 0.14 * (note.count("\n") + 1) if notes else 0.12
    height = head + y + foot
    figure = canvas.sheet(width, height, layout=None)
    axes = canvas.blank_panel(figure, width, height)
    left = 0.15 + inset
    right = left + widths["box"]
    shape_at = right + inset + beside + 0.2
    bar_at = shape_at + widths["shape"]
    flops_at = width - 0.15
    canvas.write(
        axes,
        0.15,
        height - 0.25,
        _clip(title, width - 0.3, canvas.TITLE + 2),
        size=canvas.TITLE + 1,
        weight="bold",
        ha="left",
    )
    for x, text, side in (
        (left, "layer", "left"),
        (shape_at, "output shape", "left"),
        (bar_at, "parameters", "left"),
        (flops_at, "FLOP", "right"),
    ):
        canvas.write(axes, x, height - head + 0.18, text, size=canvas.NOTE, color=palette.MUTED, ha=side)

    spots: dict[int, Spot] = {}  # of the nodes
    for frame in frames:
        inner = INDENT * (deep - frame.depth)
        above = sum(other.first == frame.first and other.depth > frame.depth for other in frames)
        under = sum(feet[other.path] for other in frames if other.last == frame.last and other.depth > frame.depth)
        high = height - head - top_of[frame.first] + 0.24 * (above + 1) - 0.03
        foot_at = height - head - top_of[frame.last] - ROW - under
        low = foot_at - feet[frame.path] + FOOT - 0.03
        if frame.path in edges.joint_nodes:
            spots[edges.joint_nodes[frame.path]] = Spot(low + 1.8 * JOINT, JOINT, right - 0.3 + JOINT)
        axes.add_patch(
            Rectangle(
                (left - inner, low),
                widths["box"] + 2 * inner,
                high - low,
                facecolor=SHADES[min(frame.depth, len(SHADES) - 1)],
                edgecolor="#B4BEC8",
                linewidth=0.8,
                zorder=1 + 0.01 * frame.depth,
            )
        )
        own = f"  (+{canvas.count(frame.own)} parameters of its own)" if frame.own > 0 else ""
        name = _clip(
            f"{frame.path.rsplit('/', 1)[-1]}  {frame.kind}{own}".rstrip(), widths["box"] + inner - 0.45, canvas.NOTE
        )
        canvas.write(
            axes, left - inner + 0.07, high - 0.12, name, size=canvas.NOTE, color=palette.MUTED, ha="left", zorder=3
        )

    largest = max(row.parameters for row in rows) or 1
    for i, row in enumerate(rows):
        middle = height - head - top_of[i] - ROW / 2
        spots[edges.box_nodes[i]] = Spot(middle, BOX / 2, right)
        has = row.parameters > 0
        axes.add_patch(
            FancyBboxPatch(
                (left, middle - BOX / 2),
                widths["box"],
                BOX,
                boxstyle="round,pad=0,rounding_size=0.05",
                facecolor="#D6E8F4" if has else palette.PAPER,
                edgecolor=palette.BLUE if has else palette.MUTED,
                linewidth=0.9,
                zorder=3,
            )
        )
        holder = max((frame.path for frame in frames if row.path.startswith(frame.path + "/")), key=len, default="")
        name = row.path[len(holder) + 1 :] if holder else row.path
        canvas.write(
            axes,
            left + 0.08,
            middle,
            _clip(f"{name}  {row.kind}".rstrip(), widths["box"] - 0.16, canvas.TICK),
            ha="left",
            zorder=4,
        )
        canvas.write(axes, shape_at, middle, row.shape, ha="left")
        if has:
            length = 0.7 * row.parameters / largest
            axes.add_patch(
                Rectangle(
                    (bar_at, middle - 0.06),
                    max(length, 0.012),
                    0.12,
                    facecolor=palette.BLUE,
                    edgecolor="none",
                    zorder=3,
                )
            )
            canvas.write(axes, bar_at + max(length, 0.012) + 0.06, middle, f"{row.parameters:,}", ha="left")
        else:
            canvas.write(axes, bar_at, middle, "–", color=palette.MUTED, ha="left")
        canvas.write(axes, flops_at, middle, "–" if row.flops is None else canvas.count(row.flops), ha="right")
    connect(axes, spots, edges, right - 0.3, right + inset, height - head)
    if notes:
        canvas.write(axes, 0.15, foot / 2, note, size=canvas.NOTE, color=palette.MUTED, ha="left")
    return figure
