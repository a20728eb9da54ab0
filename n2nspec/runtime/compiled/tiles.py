"""Products of the windows of large pictures, tile by tile, as operators that a compiler takes as they are.

In: padded pictures (N, H, W, C) without gaps, matrices, and a `Window`. Out: new matrices. All windows of a
large picture at once are many times as large as the picture and leave every cache; a compiler that sees whole
tensors only cannot help that. So this is an operator of its own: it copies the windows of some rows, which
stay in a core's cache, and multiplies them at once. Where there are windows at every pixel and many channels,
nothing is copied: the pixels themselves are the matrix, once for each place in the window, shifted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

from n2nspec._lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, dtype

__all__ = ["Window", "gradient", "large", "product", "product_and_gradient"]

LARGE = 4 * 2**20
"""Bytes of windows from which on tiles pay. Memory that large comes anew from the system at each request."""
TILE = 2**20
"""Bytes of windows at a time."""
SHIFTED = 16
"""Channels from which on shifted pixels are faster than copied windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Where windows are: `count` of them down and across, the first one at `begin`; each axis by itself."""

    count: tuple[int, int]
    lengths: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    begin: tuple[int, int]

    @classmethod
    def of(cls, numbers: list[int]) -> Window:
        count, lengths, stride, dilation, begin = ((numbers[i], numbers[i + 1]) for i in range(0, 10, 2))
        return cls(count=count, lengths=lengths, stride=stride, dilation=dilation, begin=begin)

    @property
    def numbers(self) -> list[int]:
        """As an operator takes it."""
        return [*self.count, *self.lengths, *self.stride, *self.dilation, *self.begin]

    def view(self, padded: Tensor, offset: int = 0) -> Tensor:
        """The windows, (N, windows down, windows across, kH, kW, C), of pictures (N, H, W, C) that begin
        `offset` numbers into their storage. A compiler counts from where they begin."""
        step, row, column, channel = padded.stride()
        (s_h, s_w), (d_h, d_w) = self.stride, self.dilation
        return padded.as_strided(
            (padded.shape[0], *self.count, *self.lengths, padded.shape[3]),
            (step, row * s_h, column * s_w, row * d_h, column * d_w, channel),
            offset + self.begin[0] * row + self.begin[1] * column,
        )

    def shifts(self, padded: Tensor) -> bool:
        """Whether `product` shifts pixels. Its rows are then all pixels of the padded pictures.

        Not those in half precision, whose sums would be rounded after each place.
        """
        return self.stride == (1, 1) and padded.shape[3] >= SHIFTED and padded.element_size() >= 4

    def rows(self, padded: Tensor) -> tuple[int, int]:
        """As how many rows and columns `product` gives each picture."""
        return (padded.shape[1], padded.shape[2]) if self.shifts(padded) else self.count


def large(kind: dtype) -> int:
    """Bytes of windows from which on tiles pay; later in half precision, where pixels are never shifted."""
    return LARGE * (4 if kind.itemsize < 4 else 1)


def product(padded: Tensor, kernels: Tensor, window: Window) -> Tensor:
    """(N·rows·columns, O) from kernels (kH·kW·C, O), rows and columns being `Window.rows`.

    Of shifted pixels, the rows behind the last window of each line mean nothing.
    """
    result: Tensor = _operators()[0](padded, kernels, window.numbers)
    return result


def gradient(padded: Tensor, pixels: Tensor, window: Window) -> Tensor:
    """The windows' matrix, transposed, times `pixels` (N·windows, O): (kH·kW·C, O)."""
    result: Tensor = _operators()[1](padded, pixels, window.numbers)
    return result.t()


def product_and_gradient(
    padded: Tensor, kernels: Tensor, pixels: Tensor, window: Window
) -> tuple[Tensor, Tensor]:
    """The product (N·windows, O) without shifts, and `gradient`, of windows that are copied once."""
    found, collected = _operators()[2](padded, kernels, pixels, window.numbers)
    return found, collected.t()


@cache
def _operators() -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Made at first use: torch is not loaded before."""

    def multiplied(padded: Tensor, kernels: Tensor, numbers: list[int]) -> Tensor:
        window = Window.of(numbers)
        found = _empty_product(padded, kernels, numbers)
        if window.shifts(padded):
            _shifted(padded, kernels, window, found)
            return found
        for columns, rows in _tiles(padded, window):
            torch.mm(columns, kernels, out=found[rows])
        return found

    def collected(padded: Tensor, pixels: Tensor, numbers: list[int]) -> Tensor:
        found = _empty_gradient(padded, pixels, numbers).zero_()
        for columns, rows in _tiles(padded, Window.of(numbers)):
            _add_product(found, pixels[rows].t(), columns)
        return found

    def both(
        padded: Tensor, kernels: Tensor, pixels: Tensor, numbers: list[int]
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        made, found = _empty_both(padded, kernels, pixels, numbers)
        found.zero_()
        for columns, rows in _tiles(padded, Window.of(numbers)):
            torch.mm(columns, kernels, out=made[rows])
            _add_product(found, pixels[rows].t(), columns)
        return made, found

    def made(
        name: str, run: Callable[..., Any], shapes: Callable[..., Any], schema: str
    ) -> Callable[..., Any]:
        operator = torch.library.custom_op(f"n2nspec::{name}", run, mutates_args=(), schema=schema)
        operator.register_fake(shapes)
        return operator

    return (
        made("windows_product", multiplied, _empty_product, "(Tensor x, Tensor k, int[] window) -> Tensor"),
        made("windows_gradient", collected, _empty_gradient, "(Tensor x, Tensor y, int[] window) -> Tensor"),
        made(
            "windows_product_and_gradient", both, _empty_both,
            "(Tensor x, Tensor k, Tensor y, int[] window) -> (Tensor, Tensor)",
        ),
    )  # fmt: skip


def _empty_product(padded: Tensor, kernels: Tensor, numbers: list[int]) -> Tensor:
    rows = Window.of(numbers).rows(padded)
    return padded.new_empty((padded.shape[0] * prod(rows), kernels.shape[1]))


def _empty_gradient(padded: Tensor, pixels: Tensor, numbers: list[int]) -> Tensor:
    kind = torch.promote_types(padded.dtype, torch.float32)
    return padded.new_empty((pixels.shape[1], prod(Window.of(numbers).lengths) * padded.shape[3]), dtype=kind)


def _empty_both(padded: Tensor, kernels: Tensor, pixels: Tensor, numbers: list[int]) -> tuple[Tensor, Tensor]:
    count = padded.shape[0] * prod(Window.of(numbers).count)
    return padded.new_empty((count, kernels.shape[1])), _empty_gradient(padded, pixels, numbers)


def _add_product(found: Tensor, a: Tensor, b: Tensor) -> None:
    """Adds a·b to `found`, which may be more precise than they are."""
    if a.dtype == found.dtype:
        found.addmm_(a, b)
    else:
        found += a @ b


def _tiles(padded: Tensor, window: Window) -> Iterator[tuple[Tensor, slice]]:
    """The windows' matrix in parts, each with the rows that it is; the next part overwrites the last."""
    view = window.view(padded, int(padded.storage_offset()))
    n, (down, across), depth = padded.shape[0], window.count, prod(view.shape[3:])
    lines = min(down, max(1, TILE // (across * depth * padded.element_size())))
    columns = padded.new_empty((lines * across, depth))
    for picture in range(n):
        for line in range(0, down, lines):
            part = view[picture, line : line + lines]
            rows = part.shape[0] * across
            columns[:rows].view(part.shape).copy_(part)
            start = (picture * down + line) * across
            yield columns[:rows], slice(start, start + rows)


def _shifted(padded: Tensor, kernels: Tensor, window: Window, found: Tensor) -> None:
    n, height, width, channels = padded.shape
    (d_h, d_w), (top, left) = window.dilation, window.begin
    offsets = [
        (top + u * d_h) * width + left + v * d_w
        for u in range(window.lengths[0])
        for v in range(window.lengths[1])
    ]
    pixels, places = padded.view(-1, channels), kernels.view(len(offsets), channels, -1)
    last = (n - 1) * height * width + (window.count[0] - 1) * width + window.count[1]
    size = max(64, TILE // ((channels + kernels.shape[1]) * padded.element_size()))
    for start in range(0, last, size):
        stop = min(start + size, last)
        part = found[start:stop]
        for index, (offset, place) in enumerate(zip(offsets, places, strict=True)):
            if index:
                part.addmm_(pixels[start + offset : stop + offset], place)
            else:
                torch.mm(pixels[start + offset : stop + offset], place, out=part)
