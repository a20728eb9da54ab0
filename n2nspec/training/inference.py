"""Whole pictures of any size through a network that works for some sizes.

In: a shaped graph, a forward function, pictures (N, C, H, W). Out: pictures of the same shape. A picture is
continued below and to the right by reflection up to the next size that the network takes *and gives back*,
and that leaves each normalisation more than one value; what was added is cut off again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.diagnostics import fail
from n2nspec.geometry import IDENTITY, SizeSet, Symbolic, render_shape
from n2nspec.graph import ShapedGraph
from n2nspec.graph.model import Condition

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BATCH_PIXELS", "Frame", "extend", "pictures_per_batch"]

BATCH_PIXELS = 1 << 16
"""Pixels that go through a network at once when there are several pictures; bounds the memory."""


def pictures_per_batch(height: int, width: int) -> int:
    """How many pictures of a size are worth one forward pass; at least one."""
    return max(1, BATCH_PIXELS // (height * width))


class Frame:
    """The sizes of a denoiser: which channels it takes, and to what a picture has to be padded.

    Raises:
        DiagnosticError: E208, the network takes no pictures, or never gives back the size it was given.
    """

    def __init__(self, graph: ShapedGraph) -> None:
        source, result = graph.input_shape, graph.shapes[graph.output]
        if len(source) != 4 or len(result) != 4:
            raise fail(
                "E208",
                f"a denoiser takes and gives pictures, N × channels × height × width; this network takes"
                f" {render_shape(source)} and gives {render_shape(result)}",
                file=graph.spec.source_file,
                help='write the input as x = ["N", 3, "H", "W"]',
            )
        if source[1] != result[1] or not isinstance(source[1], int):
            raise fail(
                "E208",
                f"a denoiser gives back the channels it was given; this network takes"
                f" {render_shape(source[1:2])} and gives {render_shape(result[1:2])}",
                file=graph.spec.source_file,
                help="let the last layer have as many channels as the input",
            )
        self.channels = source[1]
        self.batch = source[0] if isinstance(source[0], int) else None
        """The only number of pictures that the network takes at once; None for any."""
        self.heights = _kept(graph, "H", -2)
        self.widths = _kept(graph, "W", -1)
        # x = ["N", 3, "S", "S"]: one symbol, so only square pictures
        self.square = isinstance(source[-1], Symbolic) and source[-1] == source[-2]
        self._graph = graph

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The smallest size, no smaller than the given one, that the network takes and gives back.

        Raises:
            DiagnosticError: E208, there is none: the network is made for smaller pictures, or leaves a layer
                a single value.
        """
        if self.square:
            height = width = max(height, width)
        padded = self.heights.at_least(height), self.widths.at_least(width)
        if padded[0] is None or padded[1] is None:
            raise fail(
                "E208",
                f"a picture of {height} × {width} pixels is larger than this network takes",
                help=f"sizes that work: height {self.heights.render('H')}; width {self.widths.render('W')}",
            )
        enough = self.enlarged(1, padded[0], padded[1], training=False)
        if enough is None:
            condition = self.broken(1, padded[0], padded[1], training=False)
            raise fail("E208", f"a picture of {height} × {width} pixels is too small: {condition}")
        return enough

    def broken(self, count: int, height: int, width: int, *, training: bool) -> Condition | None:
        """What `count` pictures of a size that works leave a single value."""
        return self._graph.broken(self._values(count, height, width), training=training)

    def enlarged(self, count: int, height: int, width: int, *, training: bool) -> tuple[int, int] | None:
        """From a size that works, a larger one that leaves every layer what it needs; None: there is none.

        Args:
            count: pictures in a batch.
        """
        sizes = {
            dim.symbol: kept
            for dim, kept in zip(self._graph.input_shape[-2:], (self.heights, self.widths), strict=True)
            if isinstance(dim, Symbolic)
        }
        if self.square:
            sizes = dict.fromkeys(sizes, self.heights & self.widths)
        values = self._graph.enlarged(self._values(count, height, width), sizes, training=training)
        if values is None:
            return None
        rows, columns = (
            dim if isinstance(dim, int) else values[dim.symbol] for dim in self._graph.input_shape[-2:]
        )
        return rows, columns

    def _values(self, *numbers: int) -> dict[str, int]:
        """Of the input's symbols, for pictures in number, height and width."""
        source = self._graph.input_shape
        dims = zip((source[0], *source[-2:]), numbers, strict=True)
        return {dim.symbol: number for dim, number in dims if isinstance(dim, Symbolic)}

    def apply(self, forward: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
        """`forward` on pictures (N, C, H, W) of any size, in batches of bounded memory.

        Raises:
            DiagnosticError: E208, pictures too large; E304, the wrong number of channels.
        """
        count, channels, height, width = pictures.shape
        if channels != self.channels:
            raise fail(
                "E304",
                f"the network takes pictures of {self.channels} {_plural(self.channels)};"
                f" this one has {channels}",
                help=_channel_help(self.channels, channels),
            )
        padded = self.size(height, width)
        step = self.batch or pictures_per_batch(*padded)
        parts = []
        for start in range(0, count, step):
            some = pictures[start : start + step]
            batch = extend(some, *padded)
            if self.batch and len(batch) < self.batch:
                batch = torch.cat([batch, batch[-1:].expand(self.batch - len(batch), -1, -1, -1)])
            parts.append(forward(batch)[: len(some), :, :height, :width])
        # a copy in any case: a view would keep the padding alive, and the caller may write into it
        return torch.cat(parts) if parts else pictures.clone()


def _kept(graph: ShapedGraph, name: str, axis: int) -> SizeSet:
    """The sizes along one axis that the network takes and gives back."""
    source, result = graph.input_shape[axis], graph.shapes[graph.output][axis]
    works = graph.size_contract[name]
    if isinstance(source, Symbolic) and isinstance(result, Symbolic) and source.symbol == result.symbol:
        works &= result.function.equals(IDENTITY)
    elif source != result:
        works = SizeSet.of(lambda h: False, start=1, period=1)
    if works.is_empty:
        raise fail(
            "E208",
            f"this network never gives back the {'height' if axis == -2 else 'width'} it was given:"
            f" {render_shape((source,))} becomes {render_shape((result,))}",
            file=graph.spec.source_file,
            help="a denoiser has to; adjust padding, strides and scale factors",
        )
    return works


def extend(pictures: Tensor, height: int, width: int) -> Tensor:
    """Pictures (…, H, W) continued to `height` × `width` by reflection below and to the right.

    The edge itself is not repeated: a b c becomes a b c b a b …, so any size can be reached; a single row
    or column has nothing to reflect and is repeated.
    """
    for axis, size in ((-2, height), (-1, width)):
        own = pictures.shape[axis]
        if size > own:
            pictures = pictures.index_select(axis, _reflected(own, size).to(pictures.device))
    return pictures


def _reflected(own: int, size: int) -> Tensor:
    """Which of `own` positions stands at each of `size`: there and back again, with period 2·(own - 1)."""
    if own == 1:
        return torch.zeros(size, dtype=torch.int64)
    period = 2 * (own - 1)
    phase = torch.arange(size) % period
    return torch.minimum(phase, period - phase)


def _plural(channels: int) -> str:
    return "channel" if channels == 1 else "channels"


def _channel_help(expected: int, received: int) -> str:
    if (expected, received) == (3, 1):
        return "the picture is grey: convert it to RGB, or train a network for one channel"
    if (expected, received) == (1, 3):
        return "the picture has colours: convert it to grey, or train a network for three channels"
    if received in (2, 4):
        return "remove the alpha channel"
    return ""
