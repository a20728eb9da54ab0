"""One correlation with phases on buffers: columns of windows, a matrix product, phases put in their places.

In: a `Picture` and an `AxisMap` for each axis (`compiler.correlation`). Out: the product of every window with
the small kernels, as a matrix of windows by phases and channels. Windows are copied tile by tile, so that a
tile is still in the cache when it is multiplied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.compiler.correlation import AxisMap, spread
from n2nspec.runtime.optimized.buffers import Buffers, Picture
from n2nspec.runtime.optimized.kernels import Call
from n2nspec.runtime.optimized.tiling import TILE, Tile, evenly, tiles

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Correlation", "Finish", "KernelMatrix", "pads_for"]

Finish = Callable[[Tile, "Tensor"], Iterator[Call]]
"""What is done to a tile of a product, (pictures, rows of windows, windows, channels), once it is there."""

SHORT = 64
"""Bytes of a row of a window up to which one call a row of the kernel copies windows up to three times as
fast as one for all: its inner loops go along the picture instead."""
MANY = 512
"""Windows that are worth more calls."""
SLACK = 1 / 4
"""Tiles of shifted pixels take little memory, so may be so much larger to be fewer."""
WOVEN = 32
"""Bytes of a pixel up to which one call that puts all phases in their places beats one a phase."""
WIDEST = 16
"""Bytes that are moved as one number where they can be."""


def pads_for(
    maps: tuple[AxisMap, AxisMap], size: tuple[int, int], out: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The border that a picture needs for its windows."""
    (rows, columns) = (m.grid(n, o) for m, n, o in zip(maps, size, out, strict=True))
    return rows.before, rows.after, columns.before, columns.after


class KernelMatrix:
    """The small kernels as a matrix (windows' numbers, phases · outputs), made from the layer's weights.

    The windows are those of `picture`, of whose channels the first `channels` count; so do the first
    `outputs` of the matrix' `columns` for each phase. What is filled in is a view (kH, kW, channels, outputs)
    of the parameter; `gradient`, to collect from, is the transposed matrix.
    """

    def __init__(
        self, buffers: Buffers, maps: tuple[AxisMap, AxisMap], kernel: tuple[int, int], picture: Picture,
        outputs: int, when: int, *, columns: int | None = None,
    ) -> None:  # fmt: skip
        self.columns = columns or outputs
        self.kernel, self.channels, self.outputs = kernel, picture.shape[1], outputs
        self.stored = picture.stored
        self.lengths = maps[0].length, maps[1].length
        self.scales = maps[0].scale, maps[1].scale
        shape = prod(self.lengths) * self.stored, prod(self.scales) * self.columns
        # rows of a channel that is not there stay zero, so that matrix shares its memory with nothing
        self._own = torch.zeros(shape, dtype=buffers.dtype, device=buffers.device)
        # the other way round: a product of few rows and many columns is twice as fast as its mirror image
        self._gradient = buffers.scratch(shape[::-1], when, when)
        self.plain = maps[0].plain and maps[1].plain
        if not self.plain:
            # (kH·kW, rH·kH'·rW·kW')
            self.spread = torch.tensor(spread(maps, kernel), dtype=buffers.dtype, device=buffers.device).t()
            self.flat = buffers.scratch((self.channels * outputs, prod(kernel)), when, when)
            self.phases = buffers.scratch((self.channels * outputs, self.spread.shape[1]), when, when)

    def bind(self) -> None:
        """Makes the views, once memory is there."""
        self.kernels, self.gradient = self._own, self._gradient.tensor
        if self.plain:
            view = self.gradient.view(self.columns, *self.kernel, self.stored).permute(1, 2, 3, 0)
            self._to = self._own.view(*self.kernel, self.stored, self.columns)
        else:
            view = self.gradient.view(*self.scales, self.columns, *self.lengths, self.stored)
            view = view.permute(3, 4, 5, 0, 1, 2)
            self._to = self._own.view(*self.lengths, self.stored, *self.scales, self.columns)
        # (kH, kW, C, O), or (kH, kW, C, rH, rW, O)
        self._to = self._to[:, :, : self.channels, ..., : self.outputs]
        self._from = view[:, :, : self.channels, ..., : self.outputs]

    def filled(self, weights: Tensor) -> Iterator[Call]:
        """Calls that make the matrix of these weights, in `kernels`."""
        if self.plain:
            yield partial(self._to.copy_, weights)
            return
        flat, channels_first = _as_kept(weights)
        if flat is None:  # some channels of a kernel
            flat, channels_first = self.flat.tensor, True
            yield partial(
                flat.view(self.channels, self.outputs, *self.kernel).permute(2, 3, 0, 1).copy_, weights
            )
        phases = self.phases.tensor
        yield partial(torch.mm, flat, self.spread, out=phases)
        yield partial(self._to.copy_, self._by_phase(phases, channels_first))

    def collected(self, gradient: Tensor) -> Iterator[Call]:
        """The adjoint of `filled`: adds what stands in the matrix' gradient to that of the weights."""
        if self.plain:
            yield partial(gradient.add_, self._from)
            return
        phases = self.phases.tensor
        flat, channels_first = _as_kept(gradient)
        yield partial(self._by_phase(phases, channels_first).copy_, self._from)
        if flat is not None:
            yield partial(flat.addmm_, phases, self.spread.t())
            return
        flat = self.flat.tensor
        yield partial(torch.mm, phases, self.spread.t(), out=flat)
        yield partial(gradient.add_, flat.view(self.channels, self.outputs, *self.kernel).permute(2, 3, 0, 1))

    def _by_phase(self, phases: Tensor, channels_first: bool) -> Tensor:
        """Rows by channels and outputs, or the other way round, seen as (kH, kW, C, rH, rW, O)."""
        (r_h, r_w), (l_h, l_w) = self.scales, self.lengths
        if channels_first:
            return phases.view(self.channels, self.outputs, r_h, l_h, r_w, l_w).permute(3, 5, 0, 2, 4, 1)
        return phases.view(self.outputs, self.channels, r_h, l_h, r_w, l_w).permute(3, 5, 1, 2, 4, 0)


def _as_kept(weights: Tensor) -> tuple[Tensor | None, bool]:
    """A whole kernel (kH, kW, C, O) as a matrix with a row for each channel and output, by views alone.

    And whether channels come first in its memory, not outputs. None where it is part of a kernel.
    """
    for channels_first, order in ((True, (2, 3, 0, 1)), (False, (3, 2, 0, 1))):
        kept = weights.permute(order)
        if kept.is_contiguous():
            return kept.view(-1, weights.shape[0] * weights.shape[1]), channels_first
    return None, True


class Correlation:
    """Windows of a picture, multiplied.

    Either the windows are copied as the rows of a matrix, tile by tile (`shifted` is False), or, at stride 1,
    the pixels themselves are that matrix, once for each place in the window, shifted by so many pixels:
    nothing is copied, and what is computed in the border is never read. The one suits few channels, the other
    many.
    """

    def __init__(
        self, buffers: Buffers, picture: Picture, maps: tuple[AxisMap, AxisMap], out: tuple[int, int],
        outputs: int, when: int, *, shifted: bool, keep_until: int | None = None, refilled: bool = False,
    ) -> None:  # fmt: skip
        n, _, height, width = picture.shape
        self.picture, self.maps, self.outputs = picture, maps, outputs
        self.grids = maps[0].grid(height, out[0]), maps[1].grid(width, out[1])
        self.count = self.grids[0].windows, self.grids[1].windows
        self.scale = maps[0].scale * maps[1].scale
        self.lengths = maps[0].length, maps[1].length
        self.shifted = shifted
        self.kept = keep_until is not None and not refilled
        if shifted:
            assert maps[0].stride == maps[1].stride == 1
            self.pitch = picture.storage_shape[1:3]
            pixel = (picture.stored + self.scale * outputs) * buffers.dtype.itemsize * 3
            self.tile = max(64, TILE // pixel)
            self.tiles = tiles(n, self.count[0], self.pitch[1] * pixel, slack=SLACK)
        else:
            self.pitch = self.count
            self.depth = prod(self.lengths) * picture.stored
            row = self.depth * buffers.dtype.itemsize
            run = picture.stored * (self.lengths[1] if maps[1].dilation == 1 else 1)
            self._short = run * buffers.dtype.itemsize <= SHORT and self.lengths[0] > 1
            self.tiles = tiles(n, self.count[0], self.count[1] * row)
            most = n * self.count[0] if self.kept else max(tile.rows for tile in self.tiles)
            self.direct = picture.contiguous and self._whole()
            if not self.direct:
                until = when if keep_until is None else keep_until
                self._columns = buffers.scratch((most * self.count[1], self.depth), when, until)
        self.rows = n * prod(self.pitch)
        """Of the whole product; below, of a product whose tiles take each other's place."""
        self.passing_rows = max(self._rows(tile) for tile in self.tiles)

    def _rows(self, tile: Tile) -> int:
        """Of a tile's product, with what is computed between its windows."""
        pictures, (height, width) = tile.last - tile.first, self.pitch
        return pictures * width * (height if pictures > 1 else tile.bottom - tile.top)

    def _whole(self) -> bool:
        """Whether a window is one pixel and there is one for each: the picture is the matrix of columns."""
        return all(
            m.length == 1 and m.stride == 1 and grid.first == 0 and grid.windows == n
            for m, grid, n in zip(self.maps, self.grids, self.picture.shape[2:], strict=True)
        )

    def bind(self) -> None:
        """Makes the views, once memory is there."""
        if self.shifted:
            self._bind_shifts()
            return
        # columns of a tile, the calls that copy windows into them, the rows that they are
        self._parts: list[tuple[Tensor, tuple[Call, ...], slice]] = []
        if self.direct:
            for tile in self.tiles:
                start = (tile.first * self.pitch[0] + tile.top) * self.pitch[1]
                rows = slice(start, start + self._rows(tile))
                self._parts.append((self.picture.matrix[rows], (), rows))
            return
        windows = self.picture.windows(
            (self.grids[0].first, self.grids[1].first), self.count,
            (self.maps[0].stride, self.maps[1].stride), self.lengths,
            (self.maps[0].dilation, self.maps[1].dilation),
        )  # fmt: skip
        start = 0
        for tile in self.tiles:
            count = tile.rows * self.count[1]
            begin = start if self.kept else 0
            columns = self._columns.tensor[begin : begin + count]
            view = tile.of(windows)
            filled = columns.view(view.shape)
            fills = [(filled, view)]
            if self._short and count >= MANY:
                fills = [(filled[:, :, :, u], view[:, :, :, u]) for u in range(self.lengths[0])]
            calls = tuple(partial(to.copy_, given) for to, given in fills)
            self._parts.append((columns, calls, slice(start, start + count)))
            start += count

    def _bind_shifts(self) -> None:
        (rows, columns), (above, _, left, _) = self.grids, self.picture.pads
        height, width = self.pitch
        self._offsets = [
            (rows.first + above + u * self.maps[0].dilation) * width
            + columns.first + left + v * self.maps[1].dilation
            for u in range(self.lengths[0])
            for v in range(self.lengths[1])
        ]  # fmt: skip
        pixels = self.picture.matrix
        self._shifts: list[tuple[slice, list[Tensor]]] = []
        for tile in self.tiles:
            start = tile.first * height * width + tile.top * width
            stop = (tile.last - 1) * height * width + (tile.bottom - 1) * width + self.count[1]
            self._shifts.append(
                (slice(start, stop), [pixels[start + offset : stop + offset] for offset in self._offsets])
            )

    def multiplied(
        self, kernels: Tensor, product: Tensor, bias: Tensor | None = None, finish: Finish | None = None,
        *, passing: bool = False, add: bool = False,
    ) -> Iterator[Call]:  # fmt: skip
        """The product of all windows with the kernels, and a bias for every channel of every phase, of one
        window or of some side by side.

        What `finish` gives follows each tile, for pixels without phases. If `passing`, the products of tiles
        take each other's place, `passing_rows` long. With `add`, what stands in `product` is kept, and these
        are added. What is between the windows of shifted pixels is written too, up to the last window.
        """
        if not self.shifted:
            for tile, (columns, fill, rows) in zip(self.tiles, self._parts, strict=True):
                part, view = self._block(product, tile, rows, passing)
                yield from fill
                yield from _product(columns, kernels, part, bias, add=add)
                yield from finish(tile, view) if finish else ()
            return
        places = kernels.view(len(self._offsets), self.picture.stored, -1).unbind()
        for tile, (rows, shifts) in zip(self.tiles, self._shifts, strict=True):
            part, view = self._block(product, tile, rows, passing)
            yield from _product(shifts[0], places[0], part, bias, add=add)
            for pixels, place in zip(shifts[1:], places[1:], strict=True):
                yield partial(part.addmm_, pixels, place)
            yield from finish(tile, view) if finish else ()

    def _block(self, product: Tensor, tile: Tile, rows: slice, passing: bool) -> tuple[Tensor, Tensor]:
        """Where a tile's product goes: its rows, and its windows, (pictures, down, across, numbers)."""
        part = product[: rows.stop - rows.start] if passing else product[rows]
        pixel, numbers = product.stride(0), product.shape[1]
        height, width = self.pitch
        view = part.as_strided(
            (tile.last - tile.first, tile.bottom - tile.top, self.count[1], numbers),
            (height * width * pixel, width * pixel, pixel, 1),
        )
        return part, view

    def correlated(self, pixels: Tensor, gradient: Tensor, whole: Tensor | None = None) -> Iterator[Call]:
        """The transposed gradient of the kernels that turn the windows into `pixels`.

        Where `whole` is given, (N, H, W, C), its tiles are copied to `pixels` one by one.
        """
        for index, (tile, (columns, fill, rows)) in enumerate(zip(self.tiles, self._parts, strict=True)):
            if not self.kept:
                yield from fill
            yield from self._collected(index, tile, columns, rows, pixels, gradient, whole)

    def _collected(
        self, index: int, tile: Tile, columns: Tensor, rows: slice, pixels: Tensor, gradient: Tensor,
        whole: Tensor | None,
    ) -> Iterator[Call]:  # fmt: skip
        own = pixels[rows]
        if whole is not None:
            given = tile.of(whole)
            own = pixels[: rows.stop - rows.start]
            yield partial(own.view(given.shape).copy_, given)
        yield partial(gradient.addmm_, own.t(), columns, beta=float(index > 0))

    def collected(
        self, pixels: Tensor, gradient: Tensor, kernels: Tensor | None, product: Tensor | None,
        finish: Finish | None = None, whole: Tensor | None = None, *, more: bool = False,
        passing: bool = False, add: bool = False,
    ) -> Iterator[Call]:  # fmt: skip
        """The transposed gradient of the kernels that give `pixels`, and with kernels their product.

        Windows that are copied serve both before they are given up. Shifted ones need `pixels` as a matrix of
        the same pitch, whose border is zero, so that what stands there counts nothing. `finish`, `passing`
        and `add` are those of `multiplied`. Where `whole` is given, (N, H, W, C), its tiles are copied to
        `pixels` one by one. With `more`, what stands in `gradient` is kept, and these are added.
        """
        if not self.shifted:
            for index, (tile, (columns, fill, rows)) in enumerate(zip(self.tiles, self._parts, strict=True)):
                yield from fill
                if kernels is not None and product is not None:
                    part, view = self._block(product, tile, rows, passing)
                    yield from _product(columns, kernels, part, add=add)
                    yield from finish(tile, view) if finish else ()
                yield from self._collected(index + more, tile, columns, rows, pixels, gradient, whole)
            return
        if kernels is not None and product is not None:
            yield from self.multiplied(kernels, product, finish=finish, passing=passing, add=add)
        stored = self.picture.stored
        padded = self.picture.matrix
        # from where the first pixel of `pixels` stands, windows begin as many pixels further
        for place, offset in enumerate(self._offsets):
            block = gradient[:, place * stored : (place + 1) * stored]
            shift = offset - self._origin
            first, last = max(0, -shift), min(len(pixels), len(padded) - shift)
            for index, (start, stop) in enumerate(evenly(last - first, self.tile, SLACK)):
                start, stop = start + first, stop + first
                yield partial(
                    block.addmm_, pixels[start:stop].t(), padded[start + shift : stop + shift],
                    beta=float(more or index > 0),
                )  # fmt: skip

    def align(self, pixels: Picture) -> None:
        """Names the picture whose pixels `collect` will be given: window 0 is its first inner pixel's."""
        self._origin = pixels.pads[0] * self.pitch[1] + pixels.pads[2]

    def fits(self, picture: Picture) -> bool:
        """Whether the product can be written into a picture, of as many pixels as windows, at once."""
        same = picture.storage_shape == (self.picture.shape[0], *self.pitch, self.outputs)
        return self.shifted and self.scale == 1 and same and picture.shape[1] == self.outputs

    def place_in(self, picture: Picture) -> Tensor:
        """A picture that `fits`, as rows for the product, which spoils the border."""
        return picture.matrix[picture.pads[0] * self.pitch[1] + picture.pads[2] :]

    def view(self, product: Tensor) -> Tensor:
        """The product as (N, windows down, windows across, rH, rW, channels)."""
        view = product.view(self.picture.shape[0], *self.pitch, self.maps[0].scale, self.maps[1].scale, -1)
        return view[:, : self.count[0], : self.count[1]]

    def woven(self, product: Tensor, picture: Tensor) -> Call | None:
        """One call that puts all phases of small pixels into `picture`, (N, H, W, channels), if there is one.

        There is when each phase has as many pixels as the others, and begins as far behind the one before.
        """
        n, height, width, channels = picture.shape
        size = channels * picture.element_size()
        (s_h, s_w), (rows, columns) = (self.maps[0].scale, self.maps[1].scale), self.grids
        even = all(
            grid.counts[0] * m.scale == out and _rise(grid.delays) is not None
            for grid, m, out in zip(self.grids, self.maps, (height, width), strict=True)
        )
        if size > WOVEN or not even:
            return None
        step = product.stride(0)
        row = self.pitch[1] * step
        down, along = _rise(rows.delays) or 0, _rise(columns.delays) or 0
        given = product.as_strided(
            (n, rows.counts[0], s_h, columns.counts[0], s_w, channels),
            (
                self.pitch[0] * row,
                row, down * row + s_w * channels,
                step, along * step + channels,
                1,
            ),
            product.storage_offset() + rows.delays[0] * row + columns.delays[0] * step,
        )  # fmt: skip
        to = picture.view(given.shape)
        if size % WIDEST == 0:
            to, given = to.view(torch.complex128), given.view(torch.complex128)
        return partial(to.copy_, given)

    def phases(self, product: Tensor) -> Iterator[tuple[Tensor, tuple[slice, slice]]]:
        """The product's parts, (N, rows, columns, channels), and which pixels of the result they are."""
        (rows, columns), (s_h, s_w) = self.grids, (self.maps[0].scale, self.maps[1].scale)
        view = self.view(product)
        for r in range(s_h):
            for q in range(s_w):
                if rows.counts[r] and columns.counts[q]:
                    part = view[
                        :, rows.delays[r] : rows.delays[r] + rows.counts[r],
                        columns.delays[q] : columns.delays[q] + columns.counts[q], r, q,
                    ]  # fmt: skip
                    yield part, (slice(r, None, s_h), slice(q, None, s_w))


def _rise(delays: tuple[int, ...]) -> int | None:
    """By how much each is larger than the one before; None where that differs."""
    steps = {b - a for a, b in pairwise(delays)} or {0}
    return steps.pop() if len(steps) == 1 else None


def _product(
    a: Tensor, b: Tensor, out: Tensor, bias: Tensor | None = None, *, add: bool = False
) -> Iterator[Call]:
    """With the bias of one row, or of several side by side; or added to what is there."""
    width = out.shape[1]
    if add:
        yield partial(out.addmm_, a, b)
    elif bias is None:
        yield partial(torch.mm, a, b, out=out)
    elif len(bias) == width or not out.is_contiguous() or out.numel() % len(bias):
        yield partial(torch.addmm, bias[:width], a, b, out=out)
    else:  # rows of few numbers would be filled with the bias one by one
        yield partial(torch.mm, a, b, out=out)
        yield partial(out.view(-1, len(bias)).add_, bias)
