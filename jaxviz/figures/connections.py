"""The connections of a layer diagram: which of its nodes are connected, and the arrows between them.

The nodes are the boxes of the diagram, and the ends of its open modules where several values come together: there a residual
connection arrives.
"""

import itertools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Circle

from jaxviz.figures import palette

ABOVE = -1  # stands for the model's inputs among the nodes
JOINT, LANE = 0.05, 0.11  # inches: the radius of a joint, the distance of lanes
MOST_LANES = 10


class Lane(NamedTuple):
    """The connections from one node past others to later ones.

    Attributes:
        source: the node that they begin at, or `ABOVE`.
        targets: the nodes that they end at, increasing.
        number: the lane that they run in; 0 is next to the boxes.
    """

    source: int
    targets: tuple[int, ...]
    number: int


class Edges(NamedTuple):
    """What is connected.

    Attributes:
        box_nodes: the node of each box.
        joint_nodes: path of an open module -> its node, where several values come together at its end.
        origins: what `connected` returns.
        past: the connections past other nodes.
    """

    box_nodes: list[int]
    joint_nodes: dict[str, int]
    origins: dict[int, set[int]]
    past: list[Lane]


class Spot(NamedTuple):
    """Where a node is: the height of its middle, half of its height, and its right side."""

    middle: float
    half: float
    side: float


def by_call(items: list[Any]) -> list[Any]:
    """The records with the inner layers of a module's further call under that call: `block/conv#1` as `block#1/conv#1`."""
    if not all(hasattr(item, "depth") for item in items):
        return items
    names: dict[str, str] = {}
    holders: list[Any] = []  # a module stands after what it holds, so it is met before it from the end
    for item in reversed(items):
        while holders and holders[-1].depth >= item.depth:
            holders.pop()
        holder = holders[-1].path if holders else ""
        inner = holder.rsplit("#", 1)[0] + "/"
        within = bool(holder) and item.path.startswith(inner)
        names[item.path] = f"{names[holder]}/{item.path[len(inner) :]}" if within else item.path
        holders.append(item)
    kept = ("kind", "shape", "parameters", "flops")
    return [
        SimpleNamespace(
            path=names[item.path],
            **({"sources": [names.get(source, source) for source in item.sources]} if hasattr(item, "sources") else {}),
            **{name: getattr(item, name, "") for name in kept},
        )
        for item in items
    ]


def edges_of(items: list[Any], rows: Sequence[Any], frames: Sequence[Any]) -> tuple[Edges, int]:
    """The connections, and how many are left out since there are too many to be drawn.

    Args:
        items: the records of all layers, as `connected` takes them.
        rows: the boxes, with the `path` of each.
        frames: the open modules, with `path`, `depth` and the number of the `last` row that is inside.
    """
    if not all(hasattr(item, "sources") for item in items):
        return Edges(list(range(len(rows))), {}, {row: {row - 1} for row in range(len(rows))}, []), 0
    paths: list[str] = []
    for number, row in enumerate(rows):
        ending = [frame for frame in frames if frame.last == number]
        paths += [row.path, *(frame.path for frame in sorted(ending, key=lambda frame: -frame.depth))]
    opened = {frame.path for frame in frames}
    origins = connected(items, paths, opened)
    found = lanes(origins)
    past = [lane for lane in found if lane.number < MOST_LANES]
    nodes = {path: node for node, path in enumerate(paths)}
    joints = {path: nodes[path] for path in opened if nodes[path] in origins}
    left_out = sum(len(lane.targets) for lane in found) - sum(len(lane.targets) for lane in past)
    return Edges([nodes[row.path] for row in rows], joints, origins, past), left_out


def connected(items: Sequence[Any], paths: Sequence[str], opened: set[str]) -> dict[int, set[int]]:
    """For each node the earlier nodes that it is computed from.

    Args:
        items: the records of all layers, drawn or not, with `path` and `sources` (see `jaxviz.layers.Layer`).
        paths: the paths of the nodes: of the boxes, and of the open modules, each after its last box.
        opened: those of open modules.

    Returns:
        Number of a node -> numbers of nodes and `ABOVE`. An open module whose value is one box's, or one other module's, is
        no node.
    """
    numbers = {path: number for number, path in enumerate(paths)}
    sources = {item.path: item.sources for item in items}

    def drawn(path: str) -> int | None:
        """The node that shows a layer: its own, or that of a closed module that it is inside of."""
        if path in numbers:
            return numbers[path]
        parts = path.split("/")
        above = ("/".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
        return next((numbers[name] for name in above if name in numbers and name not in opened), None)

    found: dict[int, set[int]] = {}
    same: dict[int, int] = {}  # open modules that are no nodes, and the node whose value is theirs
    for node, path in enumerate(paths):
        pending, seen, origins = list(sources[path]), set(), set()
        while pending:
            source = pending.pop()
            if source in seen:
                continue
            seen.add(source)
            origin = drawn(source) if source else ABOVE  # "" stands for the model's inputs
            # Inside of a closed module, or of an open one that is called again later: where that comes from.
            if origin is None or origin == node or (origin > node and paths[origin] in opened):
                pending.extend(sources.get(source, ()))
            elif origin < node:  # not what a loop brings back
                origins.add(same.get(origin, origin))
        if path in opened and len(origins) == 1:
            same[node] = origins.pop()
        else:
            found[node] = origins
    return found


def lanes(origins: dict[int, set[int]]) -> list[Lane]:
    """The connections that pass nodes, those from one node together, the shorter ones nearer to the boxes."""
    order = [ABOVE, *origins]
    before = dict(zip(order[1:], order, strict=False))
    targets: dict[int, list[int]] = {}
    for node, sources in origins.items():
        for source in sources - {before[node]}:
            targets.setdefault(source, []).append(node)
    taken: list[list[tuple[int, int]]] = []
    found = []
    for source in sorted(targets, key=lambda source: (targets[source][-1] - source, source)):
        end = targets[source][-1]
        number = 0
        while number < len(taken) and any(first <= end and source <= last for first, last in taken[number]):
            number += 1
        if number == len(taken):
            taken.append([])
        taken[number].append((source, end))
        found.append(Lane(source, tuple(targets[source]), number))
    return found


def connect(axes: Axes, spots: dict[int, Spot], edges: Edges, line: float, lane_at: float, top: float) -> None:
    """Draws the arrows from node to node at `line`, and those past other nodes in lanes from `lane_at` on."""
    order = sorted(spots)
    for above, node in itertools.pairwise(order):
        if above in edges.origins[node]:
            begin, end = spots[above].middle - spots[above].half, spots[node].middle + spots[node].half
            _arrow(axes, (line, begin), (line, end))
    style: dict[str, Any] = {"color": palette.MUTED, "linewidth": 0.9, "zorder": 2.5}
    for lane in edges.past:
        x = lane_at + LANE * (lane.number + 0.7)
        ends = [(spots[node].side, spots[node].middle + 0.5 * spots[node].half) for node in lane.targets]
        if lane.source == ABOVE:
            begin = top
            axes.plot([x], [begin], marker="o", markersize=3.5, **style)
        else:  # leaves below the middle and enters above it, so that a node may have both
            begin = spots[lane.source].middle - 0.5 * spots[lane.source].half
            axes.plot([spots[lane.source].side, x], [begin, begin], marker="None", **style)
        axes.plot([x, x], [begin, ends[-1][1]], marker="None", **style)
        for side, y in ends:
            _arrow(axes, (x, y), (side, y))
    for node in edges.joint_nodes.values():
        joint = {"facecolor": palette.PAPER, "edgecolor": palette.MUTED, "linewidth": 0.9, "zorder": 3}
        axes.add_patch(Circle((line, spots[node].middle), JOINT, **joint))


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {
        "arrowstyle": "-|>",
        "color": palette.MUTED,
        "linewidth": 0.9,
        "mutation_scale": 6,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    axes.annotate("", xy=end, xytext=start, arrowprops=style, zorder=2.5)
