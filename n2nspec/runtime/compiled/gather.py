"""A correlation with phases the other way round: one product of the pixels themselves, then sums of shifts.

In: pictures (N, H, W, C), and an `AxisMap` of stride 1 for each axis (`compiler.correlation`). Out: new
tensors. Every pixel is multiplied by the layer's own kernel, which gives a number for each tap and output;
each pixel of the result adds those of its taps. Of an upsampling by 2 and a 3 × 3 kernel that is 9 products a
pixel, where the windows of all phases take 16, and no window is copied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.compiler.correlation import AxisMap
from n2nspec.runtime.compiled.layout import NARROW, interleave, settled
from n2nspec.runtime.compiled.tiles import large

if TYPE_CHECKING:
    from torch import Tensor, dtype

__all__ = ["MOST_TAPS", "Gathering"]

MOST_TAPS = 16
"""Of larger kernels the sums would be longer than what they save."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathering:
    """A correlation of pictures of `size` whose result is `out`; it has the methods of `Correlation`."""

    maps: tuple[AxisMap, AxisMap]
    size: tuple[int, int]
    out: tuple[int, int]
    pictures: int
    kernel: tuple[int, int]
    low: dtype

    @staticmethod
    def suits(maps: tuple[AxisMap, AxisMap], kernel: tuple[int, int], numbers: int, kind: dtype) -> bool:
        """Whether it is worth while: there are phases, not too many taps, and the product is not too large.

        `numbers`: pixels times outputs.
        """
        phases, taps = maps[0].scale * maps[1].scale, kernel[0] * kernel[1]
        if not maps[0].stride == maps[1].stride == 1 < phases:
            return False
        return taps <= MOST_TAPS and numbers * taps * kind.itemsize <= large(kind)

    def columns(self, x: Tensor) -> Tensor:
        """The pixels as a matrix, (N·H·W, C)."""
        return x.to(self.low).reshape(-1, x.shape[3])

    def product(self, columns: Tensor, weights: Tensor) -> Tensor:
        """(N·H·W, kH·kW·O), from weights (kH, kW, C, O)."""
        matrix = weights.permute(2, 0, 1, 3).reshape(weights.shape[2], -1)
        return columns @ matrix.to(self.low)

    def pixels(self, product: Tensor, finish: Callable[[Tensor], Tensor] = lambda part: part) -> Tensor:
        """The product as pictures (N, H, W, O); `finish` is done to each number."""
        taps = product.view(self.pictures, *self.size, self.kernel[0], -1)
        (rows, columns), (height, width) = self.maps, self.out
        parts = [
            [finish(self._column_sums(lines, q)) for q in range(columns.scale)]
            for lines in (self._row_sums(taps, r) for r in range(rows.scale))
        ]
        return interleave(parts)[:, :height, :width]

    def _row_sums(self, taps: Tensor, r: int) -> Tensor:
        """Lines i·rH + r of the result before taps of a row are added: (N, h, W, kW, O).

        `taps` are (N, H, W, kH, kW·O). Few channels are written to memory here: those of all taps of a row
        together fill a vector unit better than each alone.
        """
        count = -(-self.out[0] // self.maps[0].scale), taps.shape[2]
        parts = [_shifted(taps[:, :, :, t], (down, 0), count) for down, t in _offsets(self.maps[0], r)]
        found = _sum(parts, taps[:, :, :, 0], count)
        outputs = taps.shape[4] // self.kernel[1]
        if outputs < NARROW:
            found = settled(found.contiguous())
        return found.view(*found.shape[:3], self.kernel[1], outputs)

    def _column_sums(self, lines: Tensor, q: int) -> Tensor:
        """Columns j·rW + q of the result: (N, h, w, O)."""
        count = lines.shape[1], -(-self.out[1] // self.maps[1].scale)
        parts = [_shifted(lines[:, :, :, u], (0, along), count) for along, u in _offsets(self.maps[1], q)]
        return _sum(parts, lines[:, :, :, 0], count)


def _sum(parts: list[Tensor], like: Tensor, count: tuple[int, int]) -> Tensor:
    """Of pictures of `count` pixels; zeros where there are none, as with a scale wider than the kernel."""
    if not parts:
        return like.new_zeros((like.shape[0], *count, like.shape[3]))
    found = parts[0]
    for part in parts[1:]:
        found = found + part
    return found


def _offsets(axis: AxisMap, phase: int) -> list[tuple[int, int]]:
    """Which pixel, counted from its own, a phase reads of which tap."""
    return [
        (axis.starts[phase] + axis.dilation * u, t)
        for u, taps in enumerate(axis.taps[phase])
        for t in taps
    ]  # fmt: skip


def _shifted(x: Tensor, offset: tuple[int, int], count: tuple[int, int]) -> Tensor:
    """Pixels offset to offset + count of pictures (N, H, W, C), zero where there are none."""
    (down, along), (height, width) = offset, x.shape[1:3]
    pads = (
        max(0, -along), max(0, along + count[1] - width), max(0, -down), max(0, down + count[0] - height),
    )  # fmt: skip
    if any(pads):
        x = torch.nn.functional.pad(x, (0, 0, *pads))
    top, left = max(0, down), max(0, along)
    return x[:, top : top + count[0], left : left + count[1]]
