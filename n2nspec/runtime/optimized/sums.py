"""Sums of neighbouring pixels, which serve every window that would read those pixels one by one.

In: a picture, and maps whose taps each read a few neighbours (`AxisMap.summed`), as the adjoint of a nearest
upsampling does: the upsampling gave them one value. Out: a picture of sums, and maps that read it once a tap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.compiler.correlation import AxisMap
from n2nspec.runtime.optimized.buffers import Buffers, Picture
from n2nspec.runtime.optimized.correlate import Call

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Sums"]


class Sums:
    """The sums that make `out` pixels of `picture` by `maps`, first down, then across.

    Attributes:
        picture: the sums; its first pixel is the first that a window reads.
        maps: those of `picture`.
    """

    def __init__(
        self, buffers: Buffers, given: Picture, maps: tuple[AxisMap, AxisMap], widths: tuple[int, int],
        out: tuple[int, int], when: int,
    ) -> None:  # fmt: skip
        n, channels, height, width = given.shape
        self._given, self._widths = given, widths
        grids = [m.grid(size, o) for m, size, o in zip(maps, (height, width), out, strict=True)]
        self._first = grids[0].first + given.pads[0], grids[1].first + given.pads[2]
        rows, columns = (
            m.stride * (grid.windows - 1) + m.dilation * (m.length - 1) + 1
            for m, grid in zip(maps, grids, strict=True)
        )
        self.maps = replace(maps[0], starts=(0,)), replace(maps[1], starts=(0,))
        self.picture = buffers.picture((n, channels, rows, columns), (0, 0, 0, 0), when, when)
        self._down = None
        if widths[0] > 1 and widths[1] > 1:
            self._down = buffers.scratch((n, rows, columns + widths[1] - 1, given.stored), when, when)

    def calls(self) -> Iterator[Call]:
        """What fills the picture."""
        (top, left), (_, rows, columns, _) = self._first, self.picture.storage_shape
        down, across = self._widths
        part = self._given.padded[:, :, left : left + columns + across - 1]
        if down > 1:
            to = self.picture.padded if self._down is None else self._down.tensor
            yield from _added([part[:, top + i : top + i + rows] for i in range(down)], to)
            part = to
        else:
            part = part[:, top : top + rows]
        if across > 1:
            yield from _added([part[:, :, j : j + columns] for j in range(across)], self.picture.padded)


def _added(parts: list[Tensor], to: Tensor) -> Iterator[Call]:
    yield partial(torch.add, parts[0], parts[1], out=to)
    for part in parts[2:]:
        yield partial(to.add_, part)
