"""One correlation with phases as tensor operations: windows, a matrix product, phases put in their places.

In: pictures (N, H, W, C), and an `AxisMap` for each axis (`compiler.correlation`). Out: new tensors; nothing
is changed in place, so that a compiler may fuse what comes before and after into the copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.compiler.correlation import AxisMap, Grid, spread

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

__all__ = ["Correlation", "interleave", "settled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """A correlation of `channels` channels on pictures of one size.

    `out` is the size of the result, `grids` are the windows for that size rounded up to whole groups of
    phases. `spread`, (rH·kH'·rW·kW', kH·kW), tells which kernel positions each place of each small kernel
    sums; None where the kernel is the layer's own, or that `turned` round. Where the windows are those of an
    upsampling's adjoint, `widths` neighbouring pixels are added first, and the kernel is the layer's own.
    """

    maps: tuple[AxisMap, AxisMap]
    out: tuple[int, int]
    channels: int
    kernel: tuple[int, int]
    grids: tuple[Grid, Grid]
    widths: tuple[int, int]
    spread: Tensor | None

    @classmethod
    def make(
        cls, maps: tuple[AxisMap, AxisMap], size: tuple[int, int], out: tuple[int, int], channels: int,
        kernel: tuple[int, int], kind: dtype, place: device,
    ) -> Correlation:  # fmt: skip
        sums = maps[0].summed(), maps[1].summed()
        widths = 1, 1
        if sums[0] is not None and sums[1] is not None:
            widths, maps = (sums[0][0], sums[1][0]), (sums[0][1], sums[1][1])
        rows, columns = (
            m.grid(n, -(-o // m.scale) * m.scale) for m, n, o in zip(maps, size, out, strict=True)
        )
        own = all(axis.plain or axis.turned for axis in maps)
        return cls(
            maps=maps, out=out, channels=channels, kernel=kernel, grids=(rows, columns), widths=widths,
            spread=None if own else torch.tensor(spread(maps, kernel), dtype=kind, device=place),
        )  # fmt: skip

    @property
    def _turned(self) -> list[int]:
        """The axes of weights (kH, kW, C, O) that are turned round."""
        return [i for i, axis in enumerate(self.maps) if not axis.plain]

    @property
    def lengths(self) -> tuple[int, int]:
        return self.maps[0].length, self.maps[1].length

    @property
    def scales(self) -> tuple[int, int]:
        return self.maps[0].scale, self.maps[1].scale

    def columns(self, x: Tensor) -> Tensor:
        """The windows as a matrix, (N·windows, kH'·kW'·C)."""
        n, height, width, channels = x.shape
        (rows, across), (m_h, m_w) = self.grids, self.maps
        single = all(
            m.length == 1 and m.stride == 1 and g.first == 0 and g.windows == size
            for m, g, size in zip(self.maps, self.grids, (height, width), strict=True)
        )
        if single and self.widths == (1, 1):  # a window is a pixel
            return x.reshape(n * height * width, channels)
        if self.widths == (1, 1):
            pads = (0, 0, across.before, across.after, rows.before, rows.after)
            padded = (torch.nn.functional.pad(x, pads) if any(pads) else x).contiguous()
            begin = rows.first + rows.before, across.first + across.before
        else:
            padded, begin = self._sums(x), (0, 0)
        step, row, column, channel = padded.stride()
        windows = padded.as_strided(
            (n, rows.windows, across.windows, *self.lengths, channels),
            (step, row * m_h.stride, column * m_w.stride, row * m_h.dilation, column * m_w.dilation, channel),
            begin[0] * row + begin[1] * column,
        )
        depth = prod(self.lengths) * channels
        # settled before the reshape: a compiler that sees one index takes it apart again for every number
        return settled(windows.contiguous()).view(n * rows.windows * across.windows, depth)

    def _sums(self, x: Tensor) -> Tensor:
        """For each pixel that a window has, the sum of as many pixels from there on as `widths` tell."""
        pads: list[int] = []
        spans: list[int] = []
        starts: list[int] = []
        for m, g, width, size in zip(self.maps, self.grids, self.widths, x.shape[1:3], strict=True):
            span = m.stride * (g.windows - 1) + m.dilation * (m.length - 1) + 1
            pads = [max(0, -g.first), max(0, g.first + span + width - 1 - size), *pads]
            spans.append(span)
            starts.append(max(0, g.first))
        padded = torch.nn.functional.pad(x, (0, 0, *pads))
        found: Tensor | None = None
        for i in range(starts[0], starts[0] + self.widths[0]):
            for j in range(starts[1], starts[1] + self.widths[1]):
                part = padded[:, i : i + spans[0], j : j + spans[1]]
                found = part if found is None else found + part
        assert found is not None
        return settled(found.contiguous())

    def matrix(self, weights: Tensor) -> Tensor:
        """The small kernels as a matrix (kH'·kW'·C, rH·rW·O), from weights (kH, kW, C, O)."""
        channels, outputs = weights.shape[2:]
        if self.spread is None:
            return weights.flip(self._turned).reshape(-1, outputs)
        (r_h, r_w), (l_h, l_w) = self.scales, self.lengths
        phases = self.spread @ weights.reshape(-1, channels * outputs)
        ordered = phases.view(r_h, l_h, r_w, l_w, channels, outputs).permute(1, 3, 4, 0, 2, 5)
        return ordered.reshape(l_h * l_w * channels, r_h * r_w * outputs)

    def collect(self, gradient: Tensor) -> Tensor:
        """The adjoint of `matrix`: the gradient of the weights, (kH, kW, C, O)."""
        (r_h, r_w), (l_h, l_w) = self.scales, self.lengths
        outputs = gradient.shape[1] // (r_h * r_w)
        if self.spread is not None:
            ordered = gradient.view(l_h, l_w, self.channels, r_h, r_w, outputs).permute(3, 0, 4, 1, 2, 5)
            gradient = self.spread.t() @ ordered.reshape(-1, self.channels * outputs)
        gradient = gradient.view(*self.kernel, self.channels, outputs)
        return gradient if self.spread is not None else gradient.flip(self._turned)

    def pixels(self, product: Tensor, pictures: int) -> Tensor:
        """The product of windows and small kernels as pictures (N, H, W, O)."""
        rows, across = self.grids
        outputs = product.shape[1] // prod(self.scales)
        (s_h, s_w), (height, width) = self.scales, self.out
        if (s_h, s_w) == (1, 1):
            return product.view(pictures, rows.windows, across.windows, outputs)
        if _rises(rows.delays) and _rises(across.delays):  # one view finds each pixel in its place
            window = product.shape[1]
            row = across.windows * window
            woven = product.as_strided(
                (pictures, rows.counts[0], s_h, across.counts[0], s_w, outputs),
                (
                    rows.windows * row,
                    row, rows.delays[-1] // (s_h - 1 or 1) * row + s_w * outputs,
                    window, across.delays[-1] // (s_w - 1 or 1) * window + outputs,
                    1,
                ),
            )  # fmt: skip
            shape = pictures, rows.counts[0] * s_h, across.counts[0] * s_w, outputs
            return woven.reshape(shape)[:, :height, :width]
        view = product.view(pictures, rows.windows, across.windows, s_h, s_w, outputs)
        parts = [
            [
                view[:, down : down + rows.counts[0], along : along + across.counts[0], r, q]
                for q, along in enumerate(across.delays)
            ]
            for r, down in enumerate(rows.delays)
        ]
        return interleave(parts)[:, :height, :width]


def settled(x: Tensor) -> Tensor:
    """`x`, a tensor without gaps, written to memory once and read from there by all that follows.

    A compiler would otherwise keep what `x` is made of and make it again for each reader. What is settled
    decides how much memory a step takes: see `oracle.fusion`. A part of another tensor stays what it is.
    """
    if x.storage_offset():  # before torch 2.13 the compiler would lose it
        return x
    return x.as_strided((x.numel(),), (1,)).as_strided(x.shape, x.stride())


def interleave(parts: list[list[Tensor]]) -> Tensor:
    """Pictures (N, H, W, C) from those of each row and column phase, (N, h, w, C).

    Pixel (i·rows + r, j·columns + q) is pixel (i, j) of parts[r][q].
    """
    n, height, width, channels = parts[0][0].shape
    woven = torch.stack([torch.stack(row, 3) for row in parts], 2)
    return woven.reshape(n, height * len(parts), width * len(parts[0]), channels)


def _rises(delays: tuple[int, ...]) -> bool:
    """Evenly: 0, 0, 0 … or 0, 1, 2 …"""
    return delays in ((0,) * len(delays), tuple(range(len(delays))))
