"""Parts of a batch so small that what one operator writes is in the cache when the next one reads it.

In: the size of a batch and the bytes that its rows take. Out: tiles, which are rows of one picture, or whole
pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TILE", "Tile", "tiles"]

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


def tiles(n: int, height: int, row_bytes: int, *, whole: bool = False) -> list[Tile]:
    """Those of `n` pictures of `height` rows, in order; a single one if `whole`.

    Args:
        row_bytes: of all that is read and written for a row.
    """
    rows = max(1, TILE // max(1, row_bytes))
    if whole or rows >= n * height:
        return [Tile(0, n, 0, height)]
    if rows >= height:
        step = rows // height
        return [Tile(i, min(i + step, n), 0, height) for i in range(0, n, step)]
    return [Tile(i, i + 1, j, min(j + rows, height)) for i in range(n) for j in range(0, height, rows)]
