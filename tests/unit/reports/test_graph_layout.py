"""Where boxes stand: below what feeds them, never upon one another, taller for more."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.reports.graph_layout import BOX_WIDTH, IMAGE, Layout, lay_out


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[int, ...]], list[int]]:
    num_calls = draw(st.integers(1, 14))
    inputs = [tuple(draw(st.lists(st.integers(IMAGE, call - 1), max_size=3, unique=True))) for call in range(num_calls)]
    return inputs, draw(st.lists(st.integers(0, 1000), min_size=num_calls, max_size=num_calls))


def ends(path: str) -> tuple[tuple[float, float], float]:
    """Where a path begins, and how far down it ends."""
    start, _, rest = path[1:].partition("C" if "C" in path else "V")
    x, y = map(float, start.partition("V")[0].split())
    last = path.replace("C", " ").replace("V", " ").split()[-1]
    return (x, y), float(last) if rest else y


@given(graphs())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_boxes_and_lines(graph: tuple[list[tuple[int, ...]], list[int]]) -> None:
    inputs, costs = graph
    layout = lay_out(inputs, costs)
    assert layout.boxes.keys() == {IMAGE, *range(len(inputs))}
    for call, sources in enumerate(inputs):
        assert all(layout.boxes[source].bottom < layout.boxes[call].y for source in sources)
    boxes = list(layout.boxes.values())
    for place, one in enumerate(boxes):
        assert one.x >= 0
        assert one.x + BOX_WIDTH <= layout.width
        assert one.bottom <= layout.height
        for other in boxes[place + 1 :]:
            is_beside = abs(one.x - other.x) >= BOX_WIDTH
            assert is_beside or one.bottom <= other.y or other.bottom <= one.y
    assert len(layout.paths) == sum(map(len, inputs))
    edges = [(source, call) for call, sources in enumerate(inputs) for source in sources]
    for (source, call), path in zip(edges, layout.paths, strict=True):
        start, bottom = ends(path)
        assert start == pytest.approx((layout.boxes[source].middle, layout.boxes[source].bottom), abs=0.06)
        assert bottom == pytest.approx(layout.boxes[call].y, abs=0.06)


def columns(layout: Layout) -> list[float]:
    return [layout.boxes[call].x for call in range(len(layout.boxes) - 1)]


def test_a_chain_is_one_column_and_costs_make_heights() -> None:
    layout = lay_out([(-1,), (0,), (1,)], [0, 10, 20])
    assert len(set(columns(layout))) == 1
    heights = [layout.boxes[call].height for call in range(3)]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.2)
    assert heights[1] - heights[0] > 100


def test_branches_stand_side_by_side_and_come_back() -> None:
    """Three ways from the first box, two of them with a box or two, put together below."""
    layout = lay_out([(-1,), (0,), (0,), (2,), (0, 1, 3)], [1, 1, 1, 1, 1])
    first, second, third, fourth, last = columns(layout)
    assert first == second == last
    assert third == fourth > first
    assert layout.boxes[1].y == layout.boxes[2].y
    skip = layout.paths[4]  # from the first to the last, past the second: left of the column
    assert f" {first - 6:g} " in skip


def test_costs_of_nothing() -> None:
    layout = lay_out([(-1,), ()], [0, 0])
    assert layout.boxes[0].height == layout.boxes[1].height
    assert layout.boxes[0].y == layout.boxes[1].y
    assert layout.boxes[0].x != layout.boxes[1].x
