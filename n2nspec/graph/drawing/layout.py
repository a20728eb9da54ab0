"""Diagram → Layout: pixels.

In: a diagram. Out: the places of blocks, lines and words of size, all deterministic. Columns are as wide as
what stands in them, gutters and channels as the lines that run along them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from n2nspec.graph.drawing.blocks import Diagram
from n2nspec.graph.drawing.boxes import Box, Piece, box, size_lines, text_width
from n2nspec.graph.drawing.cells import Cell, cells, folded
from n2nspec.graph.drawing.routes import (
    MARGIN,
    Bundle,
    Place,
    Route,
    Span,
    Way,
    bundle,
    places,
    routes,
    tracks,
    widened,
)

__all__ = ["Layout", "Placed", "Point", "Size", "layout"]

Point = tuple[float, float]

GAP = 26.0
"""Pixels between blocks, for an arrow."""
SPACE = 8.0
"""Pixels between the words below them."""
RISE = 24.0
"""Pixels between rows, for an upright one."""
TRACK = 7.0
EDGE = 12.0
"""Pixels from a line in a gutter to the blocks beside it."""
WIDEST = 1800.0
"""Pixels in one band; a README shows some 900."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A box with the middle of its body."""

    x: float
    y: float
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The picture size of a row, with its left end and middle."""

    x: float
    y: float
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All places, from (0, 0) on; `lines` in the order of the arrows, each a polyline to its arrowhead."""

    width: float
    height: float
    blocks: tuple[Placed, ...]
    lines: tuple[tuple[Point, ...], ...]
    sizes: tuple[Size, ...]


def layout(diagram: Diagram) -> Layout:
    """The places of a whole diagram."""
    table = cells(diagram)
    boxes, sizes = _boxes(diagram, table)
    columns = _columns(table, boxes)
    widths = [max(c.left + c.right + GAP, c.left_text + c.right_text + SPACE) for c in columns]
    bands = folded(widths, WIDEST)
    where, rows = places(table, bands)
    found = routes(diagram, table, where, boxes, rows)
    return _Sheet(diagram, where, boxes, columns, bands, rows, found, sizes).drawn()


def _boxes(diagram: Diagram, table: Sequence[Cell]) -> tuple[list[Box], dict[int, tuple[str, ...]]]:
    """The box of each block, and the picture size that each level is labelled with: its first block's."""
    sizes: dict[int, tuple[str, ...]] = {}
    for block, cell in zip(diagram.blocks, table, strict=True):
        sizes.setdefault(cell.level, block.size)
    largest = max((block.side for block in diagram.blocks if block.side), default=1.0)
    boxes = []
    for block, cell in zip(diagram.blocks, table, strict=True):
        elsewhere = cell.own is not None and table[diagram.arrows[cell.own].source].level != cell.level
        other = block.size != sizes[cell.level]
        boxes.append(box(block, largest=largest, copies_first=elsewhere, size=other))
    return boxes, sizes


@dataclass(slots=True)
class _Column:
    """How far blocks reach to either side of the axis, without and with their words."""

    left: float = 0.0
    right: float = 0.0
    left_text: float = 0.0
    right_text: float = 0.0


def _columns(table: Sequence[Cell], boxes: Sequence[Box]) -> list[_Column]:
    columns = [_Column() for _ in range(1 + max(cell.column for cell in table))]
    for cell, found in zip(table, boxes, strict=True):
        column = columns[cell.column]
        column.left, column.right = max(column.left, found.left), max(column.right, found.right)
        column.left_text = max(column.left_text, found.left_text)
        column.right_text = max(column.right_text, found.right_text)
    return columns


class _Sheet:
    """Turns gutters into pixels first, then channels, whose lines end where those of gutters are."""

    def __init__(
        self, diagram: Diagram, where: Sequence[Place], boxes: Sequence[Box], columns: Sequence[_Column],
        bands: Sequence[int], rows: Sequence[tuple[int, int]], found: Sequence[Route],
        sizes: Mapping[int, tuple[str, ...]],
    ) -> None:  # fmt: skip
        self.diagram, self.where, self.boxes, self.found = diagram, where, boxes, found
        self.columns, self.bands, self.rows = columns, bands, rows
        self.sizes = {level: tuple(size_lines(size)) for level, size in sizes.items()}
        self.ports = Counter(
            arrow.target for arrow, route in zip(diagram.arrows, found, strict=True) if route.end == "left"
        )
        self.place: dict[Way, float] = {}  # of the first track
        self.track: dict[Bundle, int] = {}
        self.axes: list[float] = []
        self.middles: list[float] = []

    def drawn(self) -> Layout:
        width = self._gutters()
        height = self._channels()
        blocks = [
            Placed(x=self.axes[place.column], y=self.middles[place.row], box=box)
            for place, box in zip(self.where, self.boxes, strict=True)
        ]
        lines = [tuple(self._points(number, blocks)) for number in range(len(self.diagram.arrows))]
        labels = []
        for row, (band, level) in enumerate(self.rows):
            if self.sizes[level] and (row == 0 or self.rows[row - 1] != (band, level)):
                labels.append(Size(x=self.size_x, y=self.middles[row], lines=self.sizes[level]))
        return Layout(
            width=width, height=height, blocks=tuple(blocks), lines=tuple(lines), sizes=tuple(labels)
        )

    def _along(self, way: Way, number: int) -> float:
        """Where the line of an arrow runs in a way: x in a gutter, y in a channel."""
        offset = TRACK * self.track[bundle(self.diagram.arrows[number], way)]
        return self.place[way] + (offset if way[0] == "gutter" else -offset)

    def _tracks(self, spans: dict[Bundle, Span]) -> dict[Way, int]:
        numbers, counts = tracks(spans)
        self.track |= numbers
        return counts

    def _gutters(self) -> float:
        """Places columns and the lines between them; returns the width."""
        spans: dict[Bundle, Span] = {}
        for arrow, route in zip(self.diagram.arrows, self.found, strict=True):
            source, target = self.where[arrow.source].row, self.where[arrow.target].row
            # a row's middle is at 2r + 1, the channel above it at 2r
            stops = [2 * source + 1, *(2 * way[2] for way in route.ways), 2 * target + 1]
            for index, way in enumerate(route.ways):
                if way[0] == "gutter":
                    widened(spans, bundle(arrow, way), stops[index], stops[index + 2])
        counts = self._tracks(spans)
        self.place[MARGIN] = EDGE
        self.size_x = EDGE + TRACK * counts.get(MARGIN, 0)
        wide = max((text_width(text, 11) for lines in self.sizes.values() for text in lines), default=0.0)
        start = self.size_x + (wide + EDGE if wide else 0)
        width = start
        before = _Column()
        x = start  # the last axis
        for column, (band, extent) in enumerate(zip(self.bands, self.columns, strict=True)):
            count = counts.get(("gutter", band, column), 0)
            if column == 0 or self.bands[column - 1] != band:
                x, before = start, _Column()
                edge = x + (2 * EDGE + TRACK * (count - 1) if count else 0)
            elif count:
                edge = x + before.right_text + 2 * EDGE + TRACK * (count - 1)
            else:
                edge = x + before.right_text + SPACE
            self.place["gutter", band, column] = x + before.right_text + EDGE
            x = max(edge + extent.left_text, x + before.right + GAP + extent.left if before.right else 0)
            self.axes.append(x)
            before = extent
            count = counts.get(("gutter", band, column + 1), 0)
            self.place["gutter", band, column + 1] = x + extent.right_text + EDGE
            last = column + 1 == len(self.columns) or self.bands[column + 1] != band
            width = max(width, x + extent.right_text + (EDGE + TRACK * count if last else 0))
        return width + EDGE

    def _channels(self) -> float:
        """Places rows and the lines between them; returns the height."""
        spans: dict[Bundle, Span] = {}
        for number, (arrow, route) in enumerate(zip(self.diagram.arrows, self.found, strict=True)):
            for index, way in enumerate(route.ways):
                if way[0] == "channel":
                    last = index + 1 == len(route.ways)
                    end = self._entry(number) if last else self._along(route.ways[index + 1], number)
                    start = self._along(route.ways[index - 1], number)
                    widened(spans, bundle(arrow, way), start, end)
        counts = self._tracks(spans)
        ups, downs = [0.0] * len(self.rows), [0.0] * len(self.rows)
        for place, found in zip(self.where, self.boxes, strict=True):
            ups[place.row] = max(ups[place.row], found.up)
            downs[place.row] = max(downs[place.row], found.down)
        y = 0.0
        for row in range(len(self.rows) + 1):
            count = counts.get(("channel", 0, row), 0)
            if count or 0 < row < len(self.rows):
                y += RISE + TRACK * max(0, count - 1)
            self.place["channel", 0, row] = y - EDGE
            if row < len(self.rows):
                y += ups[row]
                self.middles.append(y)
                y += downs[row]
        return y

    def _entry(self, number: int) -> float:
        """The x at which an arrow comes down or up into its target."""
        arrow = self.diagram.arrows[number]
        return self.axes[self.where[arrow.target].column] + self._piece(number).middle

    def _piece(self, number: int) -> Piece:
        """The piece of the target that an arrow leads to."""
        arrow = self.diagram.arrows[number]
        box = self.boxes[arrow.target]
        if arrow.segment is None:
            return box.body
        return box.piece(self.diagram.blocks[arrow.target].segments[arrow.segment])

    def _points(self, number: int, blocks: Sequence[Placed]) -> list[Point]:
        arrow, route = self.diagram.arrows[number], self.found[number]
        source, target = blocks[arrow.source], blocks[arrow.target]
        if route.end == "upright":
            down = source.y < target.y
            start = source.y + (source.box.down if down else -source.box.up)
            end = target.y + (-target.box.up if down else target.box.down)
            return [(source.x, start), (target.x, end)]
        last = source.box.pieces[-1]
        x, y = source.x + last.left + last.width, source.y
        points = [(x, y)]
        for way in route.ways:
            if way[0] == "gutter":
                x = self._along(way, number)
            else:
                y = self._along(way, number)
            points.append((x, y))
        if route.end == "left":
            step = min(8.0, (target.box.height / 2 - 2) / max(1, self.ports[arrow.target] // 2))
            y = target.y + step * ((route.port + 1) // 2) * (1 if route.port % 2 == 0 else -1)
            return [*points, (x, y), (target.x + target.box.pieces[0].left, y)]
        x, box = self._entry(number), target.box
        roof = box.up if self._piece(number).channels else box.height / 2  # numbers stay free
        y = target.y + (target.box.down if route.end == "bottom" else -roof)
        return [*points, (x, points[-1][1]), (x, y)]
