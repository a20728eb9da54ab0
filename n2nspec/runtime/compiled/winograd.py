"""Kernels of 3 × 3 at stride 1 by fewer products: those of transformed tiles, 16 where windows take 36.

In: pictures (N, H, W, C), and an `AxisMap` for each axis (`compiler.correlation`). Out: new tensors. Pixels
of the result are made in tiles of 2 × 2, each from 4 × 4 pixels d of the picture:

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A        and so its gradients are        dg = Gᵀ [(Bᵀ d B) ⊙ (A dY Aᵀ)] G

summed over channels, or over tiles: F(2 × 2, 3 × 3) of Lavin and Gray, Fast Algorithms for Convolutional
Neural Networks, 2015, section 4.1, with its matrices A, B and G. Each of the 16 numbers of a tile is a matrix
product of its own, tiles by channels. The transforms are sums and differences, which a compiler makes in one
walk through the pictures; larger tiles would save more products and lose digits. An infinity makes NaN of all
its tile, and so do numbers whose sums of 16 are too large to be one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.compiler.correlation import AxisMap
from n2nspec.runtime.compiled.layout import interleave, padded, settled
from n2nspec.runtime.compiled.precision import Precision

if TYPE_CHECKING:
    from torch import Tensor, device

__all__ = ["LARGEST", "LEAST", "Winograd"]

LARGEST = 2**23
"""Bytes of transformed pictures up to which what is saved is worth their memory."""
LEAST = 16
"""Channels and outputs from which on products cost more than transforms."""
KERNELS = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]]
"""G."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Winograd:
    """A correlation of pictures of `size` whose result is `out`; it has the methods of `Correlation`.

    `kernels` is G for both axes: (16, 9), from a kernel to what tiles are multiplied by.
    """

    maps: tuple[AxisMap, AxisMap]
    size: tuple[int, int]
    out: tuple[int, int]
    pictures: int
    kernels: Tensor

    @staticmethod
    def suits(
        maps: tuple[AxisMap, AxisMap], pixels: int, channels: int, outputs: int, precision: Precision,
        place: device,
    ) -> bool:  # fmt: skip
        """Whether it can be done, and is worth while: on a CPU, and not where sums would be rounded.

        `pixels`: of all pictures of the result.
        """
        plain = all(
            m.length == 3 and m.stride == m.scale == m.dilation == 1 and (m.plain or m.turned) for m in maps
        )
        few = 4 * pixels * max(channels, outputs) * precision.full.itemsize <= LARGEST
        many = min(channels, outputs) >= LEAST
        return plain and few and many and not precision.mixed and place.type in ("cpu", "meta")

    @classmethod
    def make(
        cls, maps: tuple[AxisMap, AxisMap], size: tuple[int, int], out: tuple[int, int], pictures: int,
        precision: Precision, place: device,
    ) -> Winograd:  # fmt: skip
        rows, columns = (
            torch.tensor(KERNELS, dtype=precision.full, device=place).flip([1] if m.turned else [])
            for m in maps
        )
        return cls(maps=maps, size=size, out=out, pictures=pictures, kernels=torch.kron(rows, columns))

    @property
    def _tiles(self) -> tuple[int, int]:
        """Down and across."""
        return -(-self.out[0] // 2), -(-self.out[1] // 2)

    def columns(self, x: Tensor) -> Tensor:
        """Tiles of the pictures, Bᵀ d B: (16, N·tiles, C)."""
        pads: list[int] = []  # as `padded` takes them
        begin: list[int] = []
        for m, size, tiles in zip(self.maps, self.size, self._tiles, strict=True):
            first = m.starts[0]
            pads = [max(0, -first), max(0, first + 2 * tiles + 2 - size), *pads]
            begin.append(max(0, first))
        laid = padded(x, pads)
        if any(pads):
            laid = settled(laid.contiguous())
        (down, across), (top, left) = self._tiles, begin
        lines = [laid[:, top + r : top + r + 2 * down - 1 : 2, left:] for r in range(4)]
        pixels = [[line[:, :, c : c + 2 * across - 1 : 2] for c in range(4)] for line in lines]
        rows = [_inner(row) for row in pixels]
        columns = [_inner(list(column)) for column in zip(*rows, strict=True)]
        return self._stacked([column[r] for r in range(4) for column in columns])

    def product(self, columns: Tensor, weights: Tensor) -> Tensor:
        """(16, N·tiles, O), from weights (3, 3, C, O)."""
        channels, outputs = weights.shape[2:]
        kernels = self.kernels @ weights.reshape(9, channels * outputs)
        return torch.bmm(columns, kernels.view(16, channels, outputs))

    def pixels(self, product: Tensor, finish: Callable[[Tensor], Tensor] = lambda part: part) -> Tensor:
        """The product as pictures (N, H, W, O); `finish` is done to each number."""
        tiles = product.view(4, 4, self.pictures, *self._tiles, product.shape[2])
        rows = [_outer(list(tiles[:, c].unbind())) for c in range(4)]
        parts = [[finish(part) for part in _outer([row[r] for row in rows])] for r in range(2)]
        return interleave(parts)[:, : self.out[0], : self.out[1]]

    def gradient(self, columns: Tensor, pixels: Tensor) -> Tensor:
        """Of the weights, (3, 3, C, O), from `pixels` (N·H·W, O), the gradient of the result."""
        height, width = self.out
        picture = pixels.view(self.pictures, height, width, pixels.shape[1])
        if height % 2 or width % 2:
            picture = settled(padded(picture, [0, width % 2, 0, height % 2]).contiguous())
        rows = [_spread([picture[:, r::2, c::2] for c in range(2)]) for r in range(2)]
        spread = [_spread(list(column)) for column in zip(*rows, strict=True)]
        numbers = self._stacked([column[r] for r in range(4) for column in spread])
        products = torch.bmm(columns.transpose(1, 2), numbers)
        _, channels, outputs = products.shape
        return (self.kernels.t() @ products.view(16, channels * outputs)).view(3, 3, channels, outputs)

    def product_and_gradient(self, columns: Tensor, weights: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Both. The weights of the two may differ in how many outputs they have."""
        return self.product(columns, weights), self.gradient(columns, pixels)

    def _stacked(self, numbers: list[Tensor]) -> Tensor:
        """The 16 numbers of all tiles, each (N, tiles down, tiles across, C), settled: (16, N·tiles, C)."""
        down, across = self._tiles
        return settled(torch.stack(numbers)).view(16, self.pictures * down * across, numbers[0].shape[3])


def _inner(d: list[Tensor]) -> list[Tensor]:
    """Bᵀ d."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _outer(m: list[Tensor]) -> list[Tensor]:
    """Aᵀ m."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _spread(y: list[Tensor]) -> list[Tensor]:
    """A y."""
    return [y[0], y[0] + y[1], y[0] - y[1], -y[1]]
