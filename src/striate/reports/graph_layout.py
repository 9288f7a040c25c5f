"""Where the boxes and lines of a network's graph stand: top to bottom as it runs, branches side by side.

All lengths are in pixels. A call is given by its place in the order of execution; -1 is the image, at the top.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

IMAGE = -1
BOX_WIDTH = 160
_MIN_HEIGHT, _IMAGE_HEIGHT = 17, 24
_GAP, _CHAIN_GAP = 18, 3
"""Between boxes: with room for lines where ways part or meet, and none in a plain chain."""
_COLUMN_SPACE, _TRACK, _MAX_TRACKS_WIDTH = 18, 6, 180
_STRETCH_A_BOX, _LEAST_STRETCH = 9, 500
"""What all boxes together are taller for their cost."""


@dataclass(frozen=True)
class Box:
    """A rectangle for one call."""

    x: float
    y: float
    height: float

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> float:
        return self.x + BOX_WIDTH / 2


@dataclass(frozen=True)
class Layout:
    """The boxes by call, the lines as SVG path data, and the size of the whole."""

    boxes: dict[int, Box]
    paths: tuple[str, ...]
    width: float
    height: float


def lay_out(inputs: Sequence[Sequence[int]], costs: Sequence[float]) -> Layout:
    """Place calls, each below all that feed it, with heights that grow with their costs (which are not negative)."""
    consumers: dict[int, list[int]] = defaultdict(list)
    for call, sources in enumerate(inputs):
        for source in sources:
            consumers[source].append(call)
    heights = _heights(costs)
    tops = _tops(inputs, consumers, heights)
    bottoms = {call: tops[call] + heights[call] for call in tops}
    columns = _columns(inputs, consumers, tops, bottoms)
    place = _Placement(tops, bottoms, columns)
    edges = [(source, call) for call, sources in enumerate(inputs) for source in sources]
    tracks = _tracks([edge for edge in edges if place.is_skip(*edge)], place)
    lefts, width = _lefts(columns, tracks)
    boxes = {call: Box(lefts[columns[call]], tops[call], heights[call]) for call in tops}
    num_tracks = _num_tracks(tracks, columns)
    paths = []
    for source, call in edges:
        column = columns[call]
        spacing = min(_TRACK, _MAX_TRACKS_WIDTH / num_tracks.get(column, 1))
        if (source, call) in tracks:
            x = lefts[column] - spacing * (tracks[source, call] + 1)
        else:
            x = boxes[source if place.is_free(columns[source], source, call) else call].middle
        paths.append(_path(boxes[source], boxes[call], x))
    return Layout(boxes, tuple(paths), width, max(bottoms.values()) + 2)


@dataclass(frozen=True)
class _Placement:
    """The upper and lower ends of boxes and their columns."""

    tops: dict[int, float]
    bottoms: dict[int, float]
    columns: dict[int, int]

    def is_free(self, column: int, source: int, call: int) -> bool:
        """Whether no box of a column stands between one box and another below it."""
        low, high = self.bottoms[source], self.tops[call]
        return not any(
            self.columns[other] == column and self.tops[other] < high and self.bottoms[other] > low
            for other in self.tops
        )

    def is_skip(self, source: int, call: int) -> bool:
        """Whether boxes stand in the way in the columns of both ends."""
        return not any(self.is_free(self.columns[end], source, call) for end in (source, call))


def _heights(costs: Sequence[float]) -> dict[int, float]:
    stretch = max(_LEAST_STRETCH, _STRETCH_A_BOX * len(costs)) / (sum(costs) or 1)
    heights = {call: round(_MIN_HEIGHT + stretch * cost, 1) for call, cost in enumerate(costs)}
    return heights | {IMAGE: _IMAGE_HEIGHT}


def _tops(
    inputs: Sequence[Sequence[int]], consumers: dict[int, list[int]], heights: dict[int, float]
) -> dict[int, float]:
    """Each box begins under the lowest that feeds it; one that nothing feeds, beside the call before it."""
    tops: dict[int, float] = {IMAGE: 1}
    for call, sources in enumerate(inputs):
        if not sources:
            tops[call] = tops[call - 1] if call else tops[IMAGE] + heights[IMAGE] + _GAP
            continue
        is_chain = len(sources) == 1 and len(consumers[sources[0]]) == 1 and sources[0] != IMAGE
        gap = _CHAIN_GAP if is_chain else _GAP
        tops[call] = max(tops[source] + heights[source] for source in sources) + gap
    return tops


def _columns(
    inputs: Sequence[Sequence[int]],
    consumers: dict[int, list[int]],
    tops: dict[int, float],
    bottoms: dict[int, float],
) -> dict[int, int]:
    """A call goes on in the column of what feeds it, unless another has; then in the first that is free there."""
    columns = {IMAGE: 0}
    lowest = [IMAGE]  # of each column
    waiting = {source: set(calls) for source, calls in consumers.items()}
    for call, sources in enumerate(inputs):
        for source in sources:
            waiting[source].discard(call)
        own = sorted({columns[source] for source in sources if lowest[columns[source]] == source})
        free = (
            column
            for column, above in enumerate(lowest)
            if bottoms[above] < tops[call] and not (waiting.get(above) and above not in sources)
        )
        column = own[0] if own else next(free, len(lowest))
        if column == len(lowest):
            lowest.append(call)
        lowest[column], columns[call] = call, column
    return columns


def _tracks(skips: Sequence[tuple[int, int]], place: _Placement) -> dict[tuple[int, int], int]:
    """Lines that pass boxes run left of the column that they end in, short ones nearest to it, none upon another."""
    tracks: dict[tuple[int, int], int] = {}
    taken: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for source, call in sorted(skips, key=lambda edge: place.tops[edge[1]] - place.bottoms[edge[0]]):
        low, high, track = place.bottoms[source], place.tops[call], 0
        column = place.columns[call]
        while any(low < end and start < high for start, end in taken[column, track]):
            track += 1
        taken[column, track].append((low, high))
        tracks[source, call] = track
    return tracks


def _lefts(columns: dict[int, int], tracks: dict[tuple[int, int], int]) -> tuple[dict[int, float], float]:
    """The left side of each column, and the width of all."""
    lefts: dict[int, float] = {}
    x = 1.0
    for column in range(max(columns.values()) + 1):
        if num_tracks := _num_tracks(tracks, columns).get(column, 0):
            x += min(num_tracks * _TRACK, _MAX_TRACKS_WIDTH) + _TRACK
        lefts[column] = x
        x += BOX_WIDTH + _COLUMN_SPACE
    return lefts, x - _COLUMN_SPACE + 1


def _num_tracks(tracks: dict[tuple[int, int], int], columns: dict[int, int]) -> dict[int, int]:
    """Number of tracks beside each column that has any."""
    counts: dict[int, int] = {}
    for (_, call), track in tracks.items():
        counts[columns[call]] = max(counts.get(columns[call], 0), track + 1)
    return counts


def _path(source: Box, call: Box, x: float) -> str:
    """A line from the bottom of one box to the top of another that runs down at x."""
    low, high = source.bottom, call.y
    turn = min(_GAP / 2, (high - low) / 2)
    start, end = source.middle, call.middle
    path = f"M{_plain(start, low)}"
    if x != start:
        path += f"C{_plain(start, low + turn, x, low, x, low + turn)}"
    if x == end:
        return f"{path}V{_plain(high)}"
    return f"{path}V{_plain(high - turn)}C{_plain(x, high, end, high - turn, end, high)}"


def _plain(*numbers: float) -> str:
    """Numbers to a tenth of a pixel, which nobody sees."""
    return " ".join(f"{number:.1f}".removesuffix(".0") for number in numbers)
