"""Sums of neighbouring pixels, which serve every window that would read those pixels one by one.

In: pictures, and maps whose taps each read a few neighbours (`AxisMap.summed`), as the adjoint of a nearest
upsampling does: the upsampling gave them one value. Out: pictures of sums, and maps that read them once a
tap. Sums of many pictures are made in parts, which take each other's place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.compiler.correlation import AxisMap
from n2nspec.runtime.optimized.buffers import Buffers, Picture
from n2nspec.runtime.optimized.kernels import Call

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Sums"]


PART = 3 * 2**19
"""Bytes of sums at a time."""


class Sums:
    """The sums that make `out` pixels by `maps`, first down, then across; in one part if `whole`.

    Attributes:
        picture: the sums of `pictures` pictures; the first pixel is the first that a window reads.
        maps: those of `picture`.
        pictures: in a part; all parts have as many.
    """

    def __init__(
        self, buffers: Buffers, given: Picture, maps: tuple[AxisMap, AxisMap], widths: tuple[int, int],
        out: tuple[int, int], when: int, *, whole: bool,
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
        each = rows * columns * given.stored * buffers.dtype.itemsize
        divisors = [d for d in range(1, n) if n % d == 0 and (d == 1 or d * each <= PART)]
        fits = whole or n * each <= PART
        self.pictures = n = n if fits else max(divisors, default=n)
        self.picture = buffers.picture((n, channels, rows, columns), (0, 0, 0, 0), when, when)
        self._down = None
        if widths[0] > 1 and widths[1] > 1:
            self._down = buffers.scratch((n, rows, columns + widths[1] - 1, given.stored), when, when)

    def calls(self, first: int) -> Iterator[Call]:
        """What fills `picture`, from the given picture of that number on."""
        (top, left), (_, rows, columns, _) = self._first, self.picture.storage_shape
        down, across = self._widths
        given = self._given.padded[first : first + self.pictures]
        part = given[:, :, left : left + columns + across - 1]
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
