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
from n2nspec.runtime.compiled import tiles
from n2nspec.runtime.compiled.layout import NARROW, interleave, padded, settled
from n2nspec.runtime.compiled.precision import Precision
from n2nspec.runtime.compiled.tiles import Window, large

if TYPE_CHECKING:
    from torch import Tensor, device

__all__ = ["Correlation"]

TILING = ("cpu", "meta")
"""Where large pictures are multiplied in tiles (memory is predicted on the meta device). A GPU has no use for
many small calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """A correlation of `channels` channels on pictures of one size.

    `out` is the size of the result, `grids` are the windows for that size rounded up to whole groups of
    phases. `spread`, (rH·kH'·rW·kW', kH·kW), tells which kernel positions each place of each small kernel
    sums; None where the kernel is the layer's own, or that `turned` round. Where the windows are those of an
    upsampling's adjoint, `widths` neighbouring pixels are added first, and the kernel is the layer's own.
    """

    maps: tuple[AxisMap, AxisMap]
    size: tuple[int, int]
    out: tuple[int, int]
    channels: int
    kernel: tuple[int, int]
    grids: tuple[Grid, Grid]
    widths: tuple[int, int]
    spread: Tensor | None
    pictures: int
    tiled: bool
    precision: Precision

    @classmethod
    def make(
        cls, maps: tuple[AxisMap, AxisMap], size: tuple[int, int], out: tuple[int, int], pictures: int,
        channels: int, kernel: tuple[int, int], precision: Precision, place: device,
    ) -> Correlation:  # fmt: skip
        sums = maps[0].summed(), maps[1].summed()
        widths = 1, 1
        if sums[0] is not None and sums[1] is not None:
            widths, maps = (sums[0][0], sums[1][0]), (sums[0][1], sums[1][1])
        rows, columns = (
            m.grid(n, -(-o // m.scale) * m.scale) for m, n, o in zip(maps, size, out, strict=True)
        )
        own = all(axis.plain or axis.turned for axis in maps)
        depth = maps[0].length * maps[1].length
        windows = pictures * rows.windows * columns.windows * depth * channels * precision.low.itemsize
        return cls(
            maps=maps, size=size, out=out, channels=channels, kernel=kernel, grids=(rows, columns),
            widths=widths, pictures=pictures, precision=precision,
            tiled=place.type in TILING and depth > 1 and windows > large(precision.low),
            spread=None if own else torch.tensor(spread(maps, kernel), dtype=precision.full, device=place),
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

    @property
    def _window(self) -> Window:
        """Where windows are in what `padded` gives."""
        (m_h, m_w), (g_h, g_w) = self.maps, self.grids
        begin = max(0, g_h.first), max(0, g_w.first)
        return Window(
            count=(g_h.windows, g_w.windows), lengths=self.lengths, stride=(m_h.stride, m_w.stride),
            dilation=(m_h.dilation, m_w.dilation), begin=begin if self.widths == (1, 1) else (0, 0),
        )  # fmt: skip

    def columns(self, x: Tensor) -> Tensor:
        """What is multiplied: the windows as a matrix, (N·windows, kH'·kW'·C); in tiles, padded pictures."""
        n, height, width, channels = x.shape
        rows, across = self.grids
        single = all(
            m.length == 1 and m.stride == 1 and g.first == 0 and g.windows == size
            for m, g, size in zip(self.maps, self.grids, (height, width), strict=True)
        )
        low = self.precision.low
        if self.widths != (1, 1):
            laid = self._sums(x)
        elif single:  # a window is a pixel
            return x.to(low).reshape(n * height * width, channels)
        else:
            pads = across.before, across.after, rows.before, rows.after
            laid = padded(x, pads).to(low).contiguous()
        if self.tiled:
            return settled(laid)
        if laid.storage_offset():  # the input itself, as a part of something else
            laid = laid.clone()
        windows = self._window.view(laid)
        # settled before the reshape: a compiler that sees one index takes it apart again for every number
        return settled(windows.contiguous()).view(
            n * rows.windows * across.windows, prod(self.lengths) * channels
        )

    def product(self, columns: Tensor, weights: Tensor) -> Tensor:
        """Of `columns` and the small kernels; see `matrix` and `pixels`."""
        matrix = self.matrix(weights).to(columns.dtype)
        if self.tiled:
            return tiles.product(columns, matrix.contiguous(), self._window)
        return columns @ matrix

    def gradient(self, columns: Tensor, pixels: Tensor) -> Tensor:
        """Of the weights, (kH, kW, C, O), from `pixels` (N·windows, O), the gradient of the product."""
        if self.tiled:
            return self.collect(tiles.gradient(columns, pixels.contiguous(), self._window))
        return self.collect((columns.t() @ pixels).to(self.precision.full))

    def product_and_gradient(self, columns: Tensor, weights: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Both. The weights of the two may differ in how many outputs they have."""
        matrix = self.matrix(weights).to(columns.dtype)
        if not self.tiled:
            return columns @ matrix, self.collect((columns.t() @ pixels).to(self.precision.full))
        matrix = matrix.contiguous()
        product, gradient = tiles.product_and_gradient(columns, matrix, pixels.contiguous(), self._window)
        return product, self.collect(gradient)

    def _sums(self, x: Tensor) -> Tensor:
        """For each pixel that a window has, the sum of as many pixels from there on as `widths` tell."""
        pads: list[int] = []  # as `padded` takes them
        spans: list[int] = []
        starts: list[int] = []
        for m, g, width, size in zip(self.maps, self.grids, self.widths, x.shape[1:3], strict=True):
            span = m.stride * (g.windows - 1) + m.dilation * (m.length - 1) + 1
            pads = [max(0, -g.first), max(0, g.first + span + width - 1 - size), *pads]
            spans.append(span)
            starts.append(max(0, g.first))
        laid = padded(x, pads).to(self.precision.full)
        n, height, _, channels = laid.shape
        step = channels if channels < NARROW else 1  # lines of pixels are taken for lines of numbers
        lines = laid.view(n, height, -1, channels // step)
        found: Tensor | None = None
        for i in range(starts[0], starts[0] + self.widths[0]):
            for j in range(starts[1], starts[1] + self.widths[1]):
                part = lines[:, i : i + spans[0], j * step : (j + spans[1]) * step]
                found = part if found is None else found + part
        assert found is not None
        return settled(found.to(self.precision.low).contiguous()).view(n, *spans, channels)

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

    def pixels(self, product: Tensor) -> Tensor:
        """The product of windows and small kernels as pictures (N, H, W, O)."""
        pictures, (rows, across) = self.pictures, self.grids
        height, width = self._pitch(product)
        outputs = product.shape[1] // prod(self.scales)
        s_h, s_w = self.scales
        if (s_h, s_w) == (1, 1):
            return product.view(pictures, height, width, outputs)[:, : rows.windows, : across.windows]
        if _rises(rows.delays) and _rises(across.delays):  # one view finds each pixel in its place
            window = product.shape[1]
            row = width * window
            woven = product.as_strided(
                (pictures, rows.counts[0], s_h, across.counts[0], s_w, outputs),
                (
                    height * row,
                    row, rows.delays[-1] // (s_h - 1 or 1) * row + s_w * outputs,
                    window, across.delays[-1] // (s_w - 1 or 1) * window + outputs,
                    1,
                ),
            )  # fmt: skip
            shape = pictures, rows.counts[0] * s_h, across.counts[0] * s_w, outputs
            return woven.reshape(shape)[:, : self.out[0], : self.out[1]]
        view = product.view(pictures, height, width, s_h, s_w, outputs)
        parts = [
            [
                view[:, down : down + rows.counts[0], along : along + across.counts[0], r, q]
                for q, along in enumerate(across.delays)
            ]
            for r, down in enumerate(rows.delays)
        ]
        return interleave(parts)[:, : self.out[0], : self.out[1]]

    def _pitch(self, product: Tensor) -> tuple[int, int]:
        """The rows and columns that a product has of a picture: its windows, or all of its padded pixels."""
        count = self.grids[0].windows, self.grids[1].windows
        if product.shape[0] == self.pictures * prod(count):
            return count
        height, width = (n + g.before + g.after for n, g in zip(self.size, self.grids, strict=True))
        return height, width


def _rises(delays: tuple[int, ...]) -> bool:
    """Evenly: 0, 0, 0 … or 0, 1, 2 …"""
    return delays in ((0,) * len(delays), tuple(range(len(delays))))
