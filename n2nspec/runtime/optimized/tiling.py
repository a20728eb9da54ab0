"""Parts of a batch so small that what one operator writes is in the cache when the next one reads it.

In: the size of a batch and the bytes that its rows take. Out: tiles, which are rows of one picture, or whole
pictures.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TILE", "Tile", "evenly", "tiles"]

TILE = 3 * 2**20
"""Bytes of a tile; more does not stay in a core's cache, much less pays for too many calls."""


class Tile(NamedTuple):
    """Pictures `first` to `last`, and of those rows `top` to `bottom`: all, where there are several."""

    first: int
    last: int
    top: int
    bottom: int

    @property
    def rows(self) -> int:
        return (self.last - self.first) * (self.bottom - self.top)

    def of(self, x: Tensor) -> Tensor:
        """A view of that part of pictures (N, H, …)."""
        return x[self.first : self.last, self.top : self.bottom]


def tiles(n: int, height: int, row_bytes: int, *, slack: float = 0.0) -> list[Tile]:
    """Those of `n` pictures of `height` rows, in order.

    Args:
        row_bytes: of all that is read and written for a row.
        slack: the part of a tile's bytes by which one may be larger.
    """
    rows = max(1, TILE // max(1, row_bytes))
    if rows >= n * height:
        return [Tile(0, n, 0, height)]
    if rows >= height:
        return [Tile(first, last, 0, height) for first, last in evenly(n, rows // height)]
    parts = evenly(height, rows, slack)
    return [Tile(i, i + 1, top, bottom) for i in range(n) for top, bottom in parts]


def evenly(count: int, most: int, slack: float = 0.0) -> list[tuple[int, int]]:
    """Ranges of at most `most`, or `slack` more, as equal as can be: a short one costs as many calls."""
    parts = max(1, ceil(count / most - slack))
    step = max(1, -(-count // parts))
    return [(start, min(start + step, count)) for start in range(0, count, step)]
