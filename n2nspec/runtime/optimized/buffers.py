"""Buffers of a program, laid out once: what is alive at the same time never overlaps.

In: requests for tensors, each with the first and the last moment at which it is needed. Out: views of one
block of memory. Small pictures with a border of zeros are kept apart and shared only with pictures of the
same shape: only their inside is ever written, so the border stays zero without anybody clearing it. Large
ones, and all where memory is scarce, may share it with anything, and their borders are cleared whenever they
begin to be needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from n2nspec._lazy import torch
from n2nspec.compiler.recompute import Span, Timeline
from n2nspec.runtime.optimized.pages import advise_large_pages

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

__all__ = ["Buffers", "Picture", "Scratch"]

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector."""
LARGE = 2 * 2**20
"""Bytes of a picture from which on clearing its border takes no time worth the memory."""


@dataclass(slots=True, eq=False)
class Scratch:
    """A contiguous tensor that is needed from `first` to `last`; `tensor` exists after `Buffers.allocate`.

    `spans` tells when exactly, if not all the time.
    """

    shape: tuple[int, ...]
    first: int
    last: int
    dtype: dtype
    owner: str = ""
    spans: tuple[Span, ...] = ()
    offset: int = 0
    tensor: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.spans = self.spans or ((self.first, self.last),)

    @property
    def nbytes(self) -> int:
        return _aligned(prod(self.shape) * self.dtype.itemsize)


@dataclass(slots=True, eq=False)
class Picture:
    """A batch of pictures, channels last, in a border of zeros.

    Three channels are kept as four, the last one zero: pixels of 16 bytes are copied twice as fast as of 12.

    Attributes:
        shape: N, C, H, W, without the border.
        pads: rows above and below, columns left and right.
        padded: (N, H + above + below, W + left + right, stored channels).
        inside: (N, H, W, C), the picture alone.
        whole: (N, H, W, stored channels); a walk through it is faster than through `inside`.
    """

    shape: tuple[int, int, int, int]
    pads: tuple[int, int, int, int]
    first: int
    last: int
    spans: tuple[Span, ...]
    offset: int = 0
    padded: Tensor = field(init=False)
    inside: Tensor = field(init=False)
    whole: Tensor = field(init=False)
    _border: list[Tensor] = field(init=False)

    @property
    def key(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.shape, self.pads

    @property
    def stored(self) -> int:
        """Channels in memory."""
        return 4 if self.shape[1] == 3 else self.shape[1]

    @property
    def storage_shape(self) -> tuple[int, int, int, int]:
        n, _, h, w = self.shape
        above, below, left, right = self.pads
        return n, h + above + below, w + left + right, self.stored

    @property
    def bare(self) -> bool:
        """Whether there is no border, so that it is a matrix of pixels by stored channels."""
        return self.pads == (0, 0, 0, 0)

    @property
    def contiguous(self) -> bool:
        """Whether the inside is all there is, so that it is a matrix of pixels by channels."""
        return self.bare and self.stored == self.shape[1]

    @property
    def matrix(self) -> Tensor:
        """All pixels, border included, by stored channels."""
        return self.padded.view(-1, self.stored)

    @property
    def nchw(self) -> Tensor:
        """The picture as layers expect it: a view."""
        return self.inside.permute(0, 3, 1, 2)

    def clear_border(self) -> None:
        """Zeros around the picture, and in a channel that is there for speed."""
        for part in self._border:
            part.zero_()

    def _around(self) -> Iterator[Tensor]:
        """In few pieces: the end of a row lies beside the begin of the next; so do rows of two pictures."""
        n, height, width, stored = self.storage_shape
        above, below, left, right = self.pads
        flat, row = self.padded.view(-1), width * stored
        yield flat[: above * row + left * stored]
        yield flat[len(flat) - below * row - right * stored :]
        between = (below + above) * row
        yield flat[(height - below) * row :].as_strided((n - 1, between), (height * row, 1))
        sides = (right + left) * stored
        yield flat[row - right * stored :].as_strided((n * height - 1, sides), (row, 1))
        yield self.whole[..., self.shape[1] :]

    def bind(self, storage: Tensor) -> None:
        _, c, h, w = self.shape
        above, _, left, _ = self.pads
        self.padded = storage
        self.whole = storage[:, above : above + h, left : left + w]
        self.inside = self.whole[..., :c]
        self._border = [part for part in self._around() if part.numel()] if self.padded.numel() else []

    def windows(
        self, first: tuple[int, int], count: tuple[int, int], stride: tuple[int, int],
        length: tuple[int, int], dilation: tuple[int, int],
    ) -> Tensor:  # fmt: skip
        """A view (N, windows down, windows across, kH, kW, C) whose windows overlap."""
        rows, columns = first[0] + self.pads[0], first[1] + self.pads[2]
        assert rows >= 0
        assert columns >= 0
        n_step, row, column, channel = self.padded.stride()
        return self.padded.as_strided(
            (self.shape[0], *count, *length, self.stored),
            (n_step, row * stride[0], column * stride[1], row * dilation[0], column * dilation[1], channel),
            self.padded.storage_offset() + rows * row + columns * column,
        )


class Buffers:
    """Collects requests, then lays them out.

    Moments are those of a plan without recomputation; `timeline` says which they really are.
    """

    def __init__(self, kind: dtype, place: device, timeline: Timeline | None = None) -> None:
        self.dtype, self.device = kind, place
        self.bytes = 0
        """Of all memory together, once allocated."""
        self.owner = ""
        """The operation whose kernel asks for workspace now."""
        self.cleared: dict[int, list[Picture]] = {}
        """The pictures whose border has to be cleared at a moment."""
        self._timeline = timeline
        self._scratch: list[Scratch] = []
        self._pictures: list[Picture] = []
        self._plain: list[tuple[Picture, Scratch]] = []

    def scratch(self, shape: tuple[int, ...], first: int, last: int, kind: dtype | None = None) -> Scratch:
        """A tensor of any contents."""
        return self._request(shape, self._spans(first, last), kind)

    def _spans(self, first: int, last: int) -> tuple[Span, ...]:
        first, last = min(first, last), max(first, last)
        return self._timeline.work(first, last) if self._timeline else ((first, last),)

    def _request(self, shape: tuple[int, ...], spans: tuple[Span, ...], kind: dtype | None = None) -> Scratch:
        request = Scratch(shape, spans[0][0], spans[-1][1], kind or self.dtype, self.owner, spans)
        self._scratch.append(request)
        return request

    def picture(
        self, shape: tuple[int, ...], pads: tuple[int, int, int, int], first: int, last: int
    ) -> Picture:
        """Pictures in a border of zeros."""
        return self.picture_during(shape, pads, self._spans(first, last))

    def picture_during(
        self, shape: tuple[int, ...], pads: tuple[int, int, int, int], spans: tuple[Span, ...]
    ) -> Picture:
        """Pictures in a border of zeros, at these moments as they really are."""
        n, c, h, w = shape
        request = Picture((n, c, h, w), pads, spans[0][0], spans[-1][1], spans)
        # a channel that is there for speed is cleared number by number
        large = request.stored == c and prod(request.storage_shape) * self.dtype.itemsize >= LARGE
        shared = large or (self._timeline is not None and self._timeline.choice.shared)
        if shared or request.contiguous:  # it shares memory with anything
            self._plain.append((request, self._request(request.storage_shape, spans)))
        else:  # nothing else may be written around it
            assert len(spans) == 1, "memory that stays apart is not given away in between"
            self._pictures.append(request)
        if shared and not request.contiguous:
            for begin, _ in spans:
                self.cleared.setdefault(begin, []).append(request)
        return request

    def allocate(self) -> None:
        """Makes every tensor that was asked for."""
        shared = place(self._scratch)
        total = self._settle(shared)
        block = torch.empty(total, dtype=torch.uint8, device=self.device)
        advise_large_pages(block)

        def tensor(offset: int, shape: tuple[int, ...], kind: dtype) -> Tensor:
            return block[offset : offset + prod(shape) * kind.itemsize].view(kind).view(shape)

        for request in self._scratch:
            request.tensor = tensor(request.offset, request.shape, request.dtype)
        for picture, scratch in self._plain:
            picture.bind(scratch.tensor)
            picture.offset = scratch.offset
        for picture in self._pictures:
            picture.bind(tensor(picture.offset, picture.storage_shape, self.dtype))
            picture.clear_border()
        self.bytes = total

    def _settle(self, total: int) -> int:
        """Offsets, from `total` on, of pictures that share memory with their like only; returns the end."""
        free: dict[object, list[tuple[int, int]]] = {}  # by shape: when it is free again, and where it is
        for picture in sorted(self._pictures, key=lambda request: request.first):
            pool = free.setdefault(picture.key, [])
            reusable = next((entry for entry in pool if entry[0] < picture.first), None)
            if reusable is None:
                picture.offset = total
                total += _aligned(prod(picture.storage_shape) * self.dtype.itemsize)
            else:
                pool.remove(reusable)
                picture.offset = reusable[1]
            pool.append((picture.last, picture.offset))
        return total

    @property
    def workspace(self) -> list[Scratch]:
        """What was asked for besides pictures."""
        of_pictures = {id(scratch) for _, scratch in self._plain}
        return [request for request in self._scratch if id(request) not in of_pictures]


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def place(requests: Iterable[Scratch]) -> int:
    """Offsets without overlap for what is alive together, the largest first; returns the bytes in all.

    Greedy by size, as in Pisarchyk and Lee 2020, Efficient Memory Management for Deep Neural Net Inference,
    section 5.2. Each goes to the first gap that is large enough.
    """
    order = sorted(requests, key=lambda request: -request.nbytes)
    most = max((len(request.spans) for request in order), default=1)
    # of what has its place, by offset: where it begins and ends, and its spans, as many for each; one that
    # ends before 0 meets nothing
    table = np.zeros((len(order), 2 + 2 * most), dtype=np.int64)
    total = 0
    for count, request in enumerate(order):
        placed = table[:count]
        size = request.nbytes
        alive = placed[_meet(placed, request.spans)]
        begins, ends = alive[:, 0], np.maximum.accumulate(alive[:, 1])
        free = np.concatenate(([0], ends))  # where one could begin: at 0, and after each
        gaps = np.flatnonzero(free[:-1] + size <= begins)
        request.offset = int(free[gaps[0]] if len(gaps) else free[-1])
        row = int(np.searchsorted(placed[:, 0], request.offset, side="right"))
        table[row + 1 : count + 1] = table[row:count].copy()
        missing = [(0, -1)] * (most - len(request.spans))
        spans = [moment for span in (*request.spans, *missing) for moment in span]
        table[row] = [request.offset, request.offset + size, *spans]
        total = max(total, request.offset + size)
    return total


def _meet(placed: NDArray[np.int64], spans: tuple[Span, ...]) -> NDArray[np.bool_]:
    """Which rows are needed while `spans` are."""
    found = np.zeros(len(placed), dtype=np.bool_)
    for column in range(2, placed.shape[1], 2):
        for first, last in spans:
            found |= (placed[:, column] <= last) & (first <= placed[:, column + 1])
    return found
