"""Diagram → cells: the column and the row of every block.

In: blocks and arrows. Out: for each block a column (left to right, as the values flow) and a row. Pictures of
one scale share a level, the larger above; blocks of one level and column lie in lanes, those of the longest
path in the first. Wide drawings go on below, in bands of columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from n2nspec.graph.drawing.blocks import Diagram

__all__ = ["Cell", "cells", "folded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Where a block is in the table. `own` is the number of the arrow of its layer, where there is one."""

    column: int
    level: int
    lane: int
    own: int | None
    upright: bool
    """Whether that arrow stays in the column."""


def cells(diagram: Diagram) -> list[Cell]:
    """The place of every block."""
    entering: list[list[int]] = [[] for _ in diagram.blocks]
    for number, arrow in enumerate(diagram.arrows):
        entering[arrow.target].append(number)
    scales = sorted({block.scale for block in diagram.blocks}, reverse=True)
    level_of: dict[Fraction, int] = {scale: level for level, scale in enumerate(scales)}
    levels = [level_of[block.scale] for block in diagram.blocks]
    longest = _longest(diagram, entering)

    columns: list[int] = []
    owns: list[int | None] = []
    uprights: list[bool] = []
    across: list[bool] = []  # reached along its own level: then it goes straight down or up from there
    for index, numbers in enumerate(entering):
        arrows = [diagram.arrows[number] for number in numbers]
        whole = [number for number in numbers if diagram.arrows[number].segment is None]
        own = whole[0] if len(whole) == 1 else None
        column = max((columns[arrow.source] + 1 for arrow in arrows), default=0)
        upright = False
        if own is not None:
            source = diagram.arrows[own].source
            others = [columns[arrow.source] for arrow in arrows if arrow is not diagram.arrows[own]]
            upright = (
                levels[source] != levels[index]
                and across[source]
                and all(other < columns[source] for other in others)
            )
            column -= upright
        columns.append(column)
        owns.append(own)
        uprights.append(upright)
        across.append(any(levels[arrow.source] == levels[index] for arrow in arrows))

    lanes: dict[int, int] = {}
    taken: set[tuple[int, int, int]] = set()
    first = [index in longest for index in range(len(columns))]
    for index in sorted(range(len(columns)), key=lambda i: (not diagram.blocks[i].live, not first[i], i)):
        lane = 0 if diagram.blocks[index].live else 1
        own = owns[index]
        if own is not None and not first[index]:
            source = diagram.arrows[own].source
            if levels[source] == levels[index]:
                lane = max(lane, lanes.get(source, 0))
        while (columns[index], levels[index], lane) in taken:
            lane += 1
        taken.add((columns[index], levels[index], lane))
        lanes[index] = lane
    return [
        Cell(column=columns[i], level=levels[i], lane=lanes[i], own=owns[i], upright=uprights[i])
        for i in range(len(columns))
    ]


def _longest(diagram: Diagram, entering: Sequence[Sequence[int]]) -> set[int]:
    """The blocks on the longest path to the output."""
    lengths: list[int] = []
    before: list[int | None] = []
    for numbers in entering:
        sources = [diagram.arrows[number].source for number in numbers]
        source = max(sources, key=lengths.__getitem__, default=None)
        lengths.append(0 if source is None else lengths[source] + 1)
        before.append(source)
    path = set()
    index = next((i for i, block in enumerate(diagram.blocks) if "output" in block.roles), None)
    while index is not None:
        path.add(index)
        index = before[index]
    return path


def folded(widths: Sequence[float], widest: float) -> list[int]:
    """The band of each column: about equally wide bands, none much wider than asked."""
    total = sum(widths)
    bands = max(1, -(-int(total) // int(widest)))
    result, band, used = [], 0, 0.0
    for width in widths:
        if used and used + width / 2 > total / bands * (band + 1):
            band += 1
        used += width
        result.append(band)
    return result
