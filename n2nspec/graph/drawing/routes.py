"""Arrows → routes: how lines run between blocks without crossing any.

In: the cells of blocks, in bands and rows. Out: for each arrow where it ends and which lanes it takes: the
gutters between columns and the channels between rows, where no block is. Lines in one gutter or channel get
tracks of their own; those of one source share theirs and fork, as one value does.

The space that a gutter or channel needs is known once its tracks are counted, so nothing has pixels here.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from n2nspec.graph.drawing.blocks import Arrow, Diagram
from n2nspec.graph.drawing.boxes import Box
from n2nspec.graph.drawing.cells import Cell

__all__ = [
    "MARGIN", "Bundle", "Place", "Route", "Span", "Way", "bundle", "places", "routes", "tracks", "widened",
]  # fmt: skip

Way = tuple[Literal["gutter", "channel"], int, int]
"""A gutter with its band and column, or a channel with 0 and its number."""
MARGIN: Way = ("gutter", -1, -1)
"""Left of everything, from band to band."""
Bundle = tuple[Way, int, str, bool]
"""Way, source, kind and liveness of lines that share a track."""
Span = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A cell of the folded table: rows are numbered through all bands."""

    band: int
    row: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How an arrow runs.

    Attributes:
        end: the side of the target where it arrives; "upright" is straight up or down.
        port: which of the places on the left side; 0 is the middle, then by turns above and below it.
        ways: what it runs along, crosswise by turns.
    """

    end: Literal["left", "top", "bottom", "upright"]
    port: int = 0
    ways: tuple[Way, ...] = ()


def places(table: Sequence[Cell], bands: Sequence[int]) -> tuple[list[Place], list[tuple[int, int]]]:
    """Where each cell comes to lie, and the (band, level) of each row."""
    used = sorted({(bands[cell.column], cell.level, cell.lane) for cell in table})
    row = {key: number for number, key in enumerate(used)}
    found = [
        Place(band=bands[cell.column], row=row[bands[cell.column], cell.level, cell.lane], column=cell.column)
        for cell in table
    ]
    return found, [(band, level) for band, level, _ in used]


def routes(
    diagram: Diagram,
    table: Sequence[Cell],
    where: Sequence[Place],
    boxes: Sequence[Box],
    rows: Sequence[tuple[int, int]],
) -> list[Route]:
    """A route for each arrow."""
    after = _next(where, lambda place: (place.row,), lambda place: place.column)
    under = _next(where, lambda place: (place.band, place.column), lambda place: place.row)
    below = {band: number + 1 for number, (band, _) in enumerate(rows)}  # the channel below each band
    found: list[Route | None] = [None] * len(diagram.arrows)
    ports = [0] * len(diagram.blocks)  # taken on the left side
    for number, arrow in enumerate(diagram.arrows):  # the direct ones first: the others make way
        entered = boxes[arrow.target].pieces[0].segment.form
        if arrow.segment is None:
            cell = table[arrow.target]
            beside = under.get(arrow.source) == arrow.target or under.get(arrow.target) == arrow.source
            if cell.own == number and cell.upright and beside:
                found[number] = Route(end="upright")
                continue
            direct = entered == "body"
        else:
            segment = diagram.blocks[arrow.target].segments[arrow.segment]
            direct = entered == "copy" and boxes[arrow.target].pieces[0].segment is segment
        if direct and not ports[arrow.target] and after.get(arrow.source) == arrow.target:
            ports[arrow.target] = 1
            found[number] = Route(end="left")
    for number, arrow in enumerate(diagram.arrows):
        if found[number] is not None:
            continue
        source, target = where[arrow.source], where[arrow.target]
        end: Literal["left", "top", "bottom"] = "top"
        port = 0
        if arrow.segment is None and boxes[arrow.target].pieces[0].segment.form == "body":
            end, port = "left", ports[arrow.target]
            ports[arrow.target] += 1
        elif arrow.segment is None and source.row > target.row:
            end = "bottom"
        found[number] = Route(end=end, port=port, ways=tuple(_ways(source, target, end, below)))
    return [route for route in found if route is not None]


def _next(
    where: Sequence[Place], group: Callable[[Place], tuple[int, ...]], rank: Callable[[Place], int]
) -> dict[int, int]:
    """For each block the one that follows it in its row or column."""
    order = sorted(range(len(where)), key=lambda index: (group(where[index]), rank(where[index])))
    return {a: b for a, b in pairwise(order) if group(where[a]) == group(where[b])}


def _ways(
    source: Place, target: Place, end: Literal["left", "top", "bottom"], below: Mapping[int, int]
) -> Iterator[Way]:
    """From the right side of the source into the gutter beside it, and on."""
    yield "gutter", source.band, source.column + 1
    if end == "left" and source.band == target.band and target.column == source.column + 1:
        return
    last = target.row + (end == "bottom" or (end == "left" and source.row > target.row))
    if source.band != target.band and below[source.band] != last:
        yield "channel", 0, below[source.band]
        yield MARGIN
    yield "channel", 0, last
    if end == "left":
        yield "gutter", target.band, target.column


def tracks(spans: Mapping[Bundle, Span]) -> tuple[dict[Bundle, int], dict[Way, int]]:
    """For lines that run along ways, each on a stretch of its way: their tracks, and how many there are.

    Lines on one track do not touch. The shortest come first, so that arcs lie in each other.
    """
    numbers: dict[Bundle, int] = {}
    taken: dict[Way, list[list[Span]]] = {}
    for key in sorted(spans, key=lambda key: (spans[key][1] - spans[key][0], key)):
        lanes = taken.setdefault(key[0], [])
        number = next((n for n, lane in enumerate(lanes) if _fits(spans[key], lane)), len(lanes))
        if number == len(lanes):
            lanes.append([])
        insort(lanes[number], spans[key])
        numbers[key] = number
    return numbers, {way: len(lanes) for way, lanes in taken.items()}


def _fits(span: Span, lane: Sequence[Span]) -> bool:
    """Whether a stretch touches none of a track's, which are sorted."""
    place = bisect_left(lane, span)
    before, after = lane[place - 1 : place] if place else (), lane[place : place + 1]
    return all(other[1] < span[0] for other in before) and all(other[0] > span[1] for other in after)


def bundle(arrow: Arrow, way: Way) -> Bundle:
    """Lines of one value and kind along one way are drawn as one."""
    return way, arrow.source, arrow.kind, arrow.live


def widened(spans: dict[Bundle, Span], key: Bundle, one: float, other: float) -> None:
    """Adds a stretch to what a bundle takes of its way."""
    low, high = spans.get(key, (one, one))
    spans[key] = min(low, one, other), max(high, one, other)
