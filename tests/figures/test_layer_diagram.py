from types import SimpleNamespace

import pytest

from jaxviz.figures import layer_diagram
from jaxviz.figures.connections import ABOVE, connected, lanes


def record(path, parameters=0, shape=(1, 8), kind="Dense", flops: int | None = 10, **more):
    return SimpleNamespace(path=path, kind=kind, shape=shape, parameters=parameters, flops=flops, **more)


# in order of execution: a module comes after what it holds, and counts its inner layers' parameters
NESTED = [
    record("stem", 100),
    record("block_0/Dense_0", 40),
    record("block_0/inner/Dense_0", 30),
    record("block_0/inner", 30, kind="Inner"),
    record("block_0", 75, kind="Block"),
    record("relu", 0, kind="tag", flops=None),
    record("head", 25, shape=((1, 4), (1, 2))),
]


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_rows_frames_and_totals():
    figure = layer_diagram(NESTED)
    said = texts(figure)
    assert "200 parameters in 5 layers" in said  # 100 + 75 + 25: nothing twice
    assert [text for text in said if text in ("stem  Dense", "Dense_0  Dense", "relu  tag", "head  Dense")].count(
        "Dense_0  Dense"
    ) == 2
    assert "block_0  Block  (+5 parameters of its own)" in said
    assert "inner  Inner" in said
    assert "1 × 4, 1 × 2" in said
    boxes = [patch for patch in figure.axes[0].patches if type(patch).__name__ == "FancyBboxPatch"]
    assert len(boxes) == 5


def test_boxes_lie_inside_their_frames_in_order():
    figure = layer_diagram(NESTED)
    boxes = [patch.get_extents() for patch in figure.axes[0].patches if type(patch).__name__ == "FancyBboxPatch"]
    middles = [(box.y0 + box.y1) / 2 for box in boxes]
    assert middles == sorted(middles, reverse=True)
    # frames are the rectangles wider than a box; the outer one holds rows 1 and 2, the inner one row 2
    wide = [
        patch.get_extents()
        for patch in figure.axes[0].patches
        if type(patch).__name__ == "Rectangle" and patch.get_extents().width > boxes[0].width
    ]
    outer, inner = sorted(wide, key=lambda box: -box.width)
    assert [outer.y0 < box.y0 and box.y1 < outer.y1 for box in boxes] == [False, True, True, False, False]
    assert [inner.y0 < box.y0 and box.y1 < inner.y1 for box in boxes] == [False, False, True, False, False]


def test_depth_closes_modules():
    said = texts(layer_diagram(NESTED, depth=1))
    assert "block_0  Block" in said
    assert "200 parameters in 4 layers" in said
    assert any("below level 1 are drawn closed" in text for text in said)


def test_deep_networks_are_closed_until_they_fit():
    records = [record(f"block_{i}/Dense_{j}", 1) for i in range(20) for j in range(5)]
    for i in range(20):
        records.insert(6 * i + 5, record(f"block_{i}", 5, kind="Block"))
    said = texts(layer_diagram(records))
    assert "100 parameters in 20 layers" in said


def test_no_parameters_at_all():
    assert "0 parameters in 1 layers" in texts(layer_diagram([record("relu")]))


def test_scalars_and_missing_kind():
    item = record("loss", shape=())
    del item.kind
    assert {"scalar", "loss"} <= set(texts(layer_diagram([item])))


@pytest.mark.parametrize(
    ("records", "settings", "error", "words"),
    [
        ([], {}, ValueError, "records is empty"),
        (
            [SimpleNamespace(path="a", shape=())],
            {},
            TypeError,
            r"records\[0\] \(SimpleNamespace\) lacks parameters, flops",
        ),
        ([record("a")], {"depth": 0}, ValueError, "depth must be at least 1"),
        ([record(f"Dense_{i}") for i in range(401)], {}, ValueError, "401 layers at depth 1 are too many"),
    ],
)
def test_bad_input_is_named(records, settings, error, words):
    with pytest.raises(error, match=words):
        layer_diagram(records, **settings)


def linked(*records):
    return [record(path, sources=sources, depth=path.count("/")) for path, *sources in records]


RESIDUAL = linked(
    ("stem", ""),
    ("block/a", "stem"),
    ("block/b", "block/a"),
    ("block", "stem", "block/b"),
    ("block/a#1", "block"),
    ("block/b#1", "block/a#1"),
    ("block#1", "block", "block/b#1"),
    ("head", "block#1"),
)


def joints(figure):
    return [patch for patch in figure.axes[0].patches if type(patch).__name__ == "Circle"]


def arrows(figure):
    """Start and end of each arrow."""
    return [(text.xyann, text.xy) for text in figure.axes[0].texts if type(text).__name__ == "Annotation"]


def test_a_residual_connection_ends_at_a_joint_of_its_block():
    figure = layer_diagram(RESIDUAL)
    assert "b#1  Dense" in texts(figure)
    assert "block#1  Dense" in texts(figure)  # a further call is a frame of its own
    first, second = sorted(joints(figure), key=lambda joint: -joint.center[1])
    down = [(start, end) for start, end in arrows(figure) if start[0] == end[0]]
    # stem > a > b > joint > a#1 > b#1 > joint > head, without a gap
    assert len(down) == 7
    aside = [(start, end) for start, end in arrows(figure) if start[0] != end[0]]
    assert len(aside) == 2
    for joint, (start, end) in zip((first, second), sorted(aside, key=lambda arrow: -arrow[1][1]), strict=True):
        assert start[0] > end[0] == joint.center[0] + joint.radius  # from a lane at the right, into the circle
        assert abs(end[1] - joint.center[1]) < joint.radius
    begins = sorted(line.get_xydata()[0][1] for line in figure.axes[0].lines if len(set(line.get_ydata())) == 1)
    assert begins[0] < first.center[1] < begins[1]  # the second leaves the first joint, below where the first enters


def test_closed_blocks_follow_each_other():
    figure = layer_diagram(RESIDUAL, depth=1)
    assert not joints(figure)
    assert [start[0] == end[0] for start, end in arrows(figure)] == [True] * 3


def test_branches_are_not_drawn_as_a_chain():
    figure = layer_diagram(linked(("a", ""), ("b", ""), ("out", "a", "b")))
    boxes = [patch for patch in figure.axes[0].patches if type(patch).__name__ == "FancyBboxPatch"]

    def touched(at):
        """The box that an arrow's end is at; a lane where it is at none."""
        near = lambda value, low, size: low - 1e-9 <= value <= low + size + 1e-9
        return next(
            (
                name
                for name, box in zip(("a", "b", "out"), boxes, strict=True)
                if near(at[0], box.get_x(), box.get_width()) and near(at[1], box.get_y(), box.get_height())
            ),
            "lane",
        )

    ends = sorted((touched(start), touched(end)) for start, end in arrows(figure))
    assert ends == [("b", "out"), ("lane", "b"), ("lane", "out")]  # inputs > b, past a; a > out, past b; b > out
    assert any("From the dot come the inputs" in text for text in texts(figure))


def test_too_many_connections_are_told():
    records = linked(*((f"d{i}", *(f"d{j}" for j in range(i))) for i in range(15)))
    figure = layer_diagram(records)
    assert any("more connections are left out" in text for text in texts(figure))


def test_connected():
    paths = ["stem", "block/a", "block/b", "block", "head"]
    items = [*RESIDUAL[:4], *linked(("head", "block"))]
    assert connected(items, paths, {"block"}) == {0: {ABOVE}, 1: {0}, 2: {1}, 3: {0, 2}, 4: {3}}
    # A module that only hands on what its last layer gives is no node; in a loop, what is brought back is not drawn.
    items = linked(("stem", ""), ("block/a", "stem", "block/a"), ("block", "block/a"), ("head", "block", "head"))
    assert connected(items, ["stem", "block/a", "block", "head"], {"block"}) == {0: {ABOVE}, 1: {0}, 3: {1}}


def test_lanes_do_not_overlap():
    assert lanes({0: {ABOVE}, 1: {0}, 3: {1}, 4: {3}}) == []
    found = lanes({0: {ABOVE}, 1: {0}, 2: {0, 1}, 3: {0, 2}, 4: {2, 3}, 5: {3, 4}})
    assert [(lane.source, lane.targets, lane.number) for lane in found] == [(2, (4,), 0), (3, (5,), 1), (0, (2, 3), 2)]
