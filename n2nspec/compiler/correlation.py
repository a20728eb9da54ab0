"""What convolutions of every kind do along one axis, and its adjoint; integers only.

In: kernel size, stride, dilation and padding of a convolution, a transposed convolution, or a convolution
that follows a nearest-neighbour upsampling. Out: an `AxisMap`. These and their gradients are all one form:

    out[scale·i + r] = Σ_u in[stride·i + starts[r] + dilation·u] · k[r][u],   u = 0 … length - 1

with one small kernel k[r] for each output phase r, whose numbers are sums of kernel positions, `taps[r][u]`.

Upsampling by s followed by a zero-padded convolution reads, for output s·i + r and position t, the pixel
floor((r + t·dilation - padding) / s) + i of the small picture: s² small convolutions, exactly (what is
outside the large picture is outside the small one). The transposed convolution writes pixel
j·s - padding + t·dilation, so output s·i + r reads j = i + (r + padding - t·dilation) / s where that is
whole. The adjoint of the form turns `scale` into `stride` and back, so a convolution's input gradient is
again one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import gcd, prod

__all__ = ["AxisMap", "Grid", "convolution", "spread", "transposed"]

Taps = tuple[tuple[tuple[int, ...], ...], ...]
"""Kernel positions by phase and by place in the small kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """An `AxisMap` on a size: where windows begin, and which phases they serve.

    Window g of `windows` begins at pixel stride·g + first and serves output scale·(g - delays[r]) + r, of
    which there are counts[r]. All windows exist once the input is padded by `before` and `after` zeros.
    """

    windows: int
    first: int
    delays: tuple[int, ...]
    counts: tuple[int, ...]
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisMap:
    """One axis of a correlation with phases. See the module."""

    scale: int
    stride: int
    dilation: int
    starts: tuple[int, ...]
    taps: Taps

    @property
    def length(self) -> int:
        return len(self.taps[0])

    @property
    def plain(self) -> bool:
        """One phase whose kernel is the layer's own."""
        return self.taps == (tuple((t,) for t in range(self.length)),)

    @property
    def turned(self) -> bool:
        """One phase whose kernel is the layer's own, turned round."""
        return self.taps == (tuple((t,) for t in reversed(range(self.length))),)

    def summed(self) -> tuple[int, AxisMap] | None:
        """How many neighbouring pixels to add first, and the map of the sums, with one place for each tap.

        out[i] = Σ_t k[t]·(in[p + i·stride] + … + in[p + i·stride + width - 1]) for some p that depends on t:
        upsampling by s has an adjoint of this kind, with width s. None where the map is of another kind.
        """
        if self.scale > 1:
            return None
        reads: dict[int, list[int]] = {}
        for u, taps in enumerate(self.taps[0]):
            for t in taps:
                reads.setdefault(t, []).append(self.starts[0] + self.dilation * u)
        width = len(reads[0])
        if any(pixels != list(range(pixels[0], pixels[0] + width)) for pixels in reads.values()):
            return None
        order = sorted(reads, key=lambda t: reads[t][0])
        first = [reads[t][0] for t in order]
        dilation = first[1] - first[0] if len(first) > 1 else 1
        if any(b - a != dilation for a, b in pairwise(first)):
            return None
        kernel = tuple((t,) for t in order)
        return width, AxisMap(
            scale=1, stride=self.stride, dilation=dilation, starts=(first[0],), taps=(kernel,)
        )

    def grid(self, size: int, output: int) -> Grid:
        """The windows that make `output` pixels of `size`."""
        first = min(self.starts)
        assert all((start - first) % self.stride == 0 for start in self.starts)
        delays = tuple((start - first) // self.stride for start in self.starts)
        counts = tuple(max(0, -((r - output) // self.scale)) for r in range(self.scale))
        windows = max(count + delay for count, delay in zip(counts, delays, strict=True))
        last = self.stride * (windows - 1) + first + self.dilation * (self.length - 1)
        return Grid(
            windows=windows, first=first, delays=delays, counts=counts, before=max(0, -first),
            after=max(0, last - size + 1),
        )  # fmt: skip

    def adjoint(self) -> AxisMap:
        """The map from the output's gradient to the input's.

        Input stride·j + q was read by phase r at place u where q - starts[r] - dilation·u is a whole multiple
        m of the stride, for output scale·(j + m) + r.
        """
        found: list[list[tuple[int, tuple[int, ...]]]] = [[] for _ in range(self.stride)]
        for r, kernel in enumerate(self.taps):
            for u, taps in enumerate(kernel):
                offset = self.starts[r] + self.dilation * u
                q = offset % self.stride
                m = (q - offset) // self.stride
                if taps:
                    found[q].append((self.scale * m + r, taps))
        return _from_offsets(found, scale=self.stride, stride=self.scale)


def convolution(kernel: int, stride: int, dilation: int, before: int, scale: int = 1) -> AxisMap:
    """A convolution after nearest-neighbour upsampling by `scale`; one of the two has to be 1."""
    if scale == 1:
        taps = (tuple((t,) for t in range(kernel)),)
        return AxisMap(scale=1, stride=stride, dilation=dilation, starts=(-before,), taps=taps)
    assert stride == 1
    found = [[((r + t * dilation - before) // scale, (t,)) for t in range(kernel)] for r in range(scale)]
    return _from_offsets(found, scale=scale, stride=1)


def transposed(kernel: int, stride: int, dilation: int, padding: int) -> AxisMap:
    """A transposed convolution."""
    found = [
        [
            ((r + padding - t * dilation) // stride, (t,))
            for t in range(kernel)
            if (r + padding - t * dilation) % stride == 0
        ]
        for r in range(stride)
    ]
    return _from_offsets(found, scale=stride, stride=1)


def spread(maps: tuple[AxisMap, AxisMap], kernel: tuple[int, int]) -> list[list[float]]:
    """Which kernel positions each place of each small kernel sums, as a matrix: (rH·kH'·rW·kW', kH·kW)."""
    rows, columns = ([taps for phase in axis.taps for taps in phase] for axis in maps)  # each (phase, place)
    return [
        [float((t // kernel[1] in row) and (t % kernel[1] in column)) for t in range(prod(kernel))]
        for row in rows
        for column in columns
    ]


def _from_offsets(
    found: Iterable[Iterable[tuple[int, tuple[int, ...]]]], *, scale: int, stride: int
) -> AxisMap:
    """The map whose phase r reads the given offsets, each with its kernel positions."""
    phases: list[dict[int, tuple[int, ...]]] = []
    for entries in found:
        sums: dict[int, tuple[int, ...]] = {}
        for offset, taps in entries:
            sums[offset] = (*sums.get(offset, ()), *taps)
        phases.append(sums)
    first = min((offset for sums in phases for offset in sums), default=0)
    # windows begin at every stride-th pixel: a phase may begin earlier than its first tap
    starts = [first + (min(sums, default=first) - first) // stride * stride for sums in phases]
    steps = [offset - start for sums, start in zip(phases, starts, strict=True) for offset in sums]
    dilation = gcd(*steps) or 1
    length = max((step // dilation for step in steps), default=0) + 1
    kernels = tuple(
        tuple(sums.get(start + dilation * u, ()) for u in range(length))
        for sums, start in zip(phases, starts, strict=True)
    )
    return AxisMap(scale=scale, stride=stride, dilation=dilation, starts=tuple(starts), taps=kernels)
