"""Pixelation: of each block of a larger picture, one pixel at random stands for the block.

y[:, i, j] = x[:, block·i + a, block·j + b] with (a, b) drawn for each (i, j), the same for all channels. The
clean picture is the mean of each block, and so the mean of y. Pictures shrink by `block`; rows and columns
that fill no block are cut off.

The noise is white, strongest at edges, and the same in all channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Strict

from n2nspec._lazy import torch
from n2nspec.noise._base import NoiseSpec

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["PixelateSpec"]


class PixelateSpec(NoiseSpec):
    """Too few samples of a scene with detail: what a renderer with one ray a pixel gives."""

    type: Literal["pixelate"] = "pixelate"
    block: Annotated[int, Strict(), Field(ge=2, le=1024)] = Field(
        description="Pixels a block, along each axis; pictures shrink by this factor.", examples=[2]
    )

    @property
    def shrink(self) -> int:
        return self.block

    def draw(self, clean: Tensor, generator: Generator) -> Tensor:
        b, (h, w) = self.block, self._size(clean)
        chosen = torch.randint(b * b, (h, w), device=clean.device, generator=generator)
        # where the chosen pixels lie in the flattened rows; copying whole blocks would take ten times as long
        rows = torch.arange(h, device=clean.device)[:, None] * b + chosen // b
        columns = torch.arange(w, device=clean.device) * b + chosen % b
        return clean.flatten(1)[:, rows * clean.shape[2] + columns]

    def reference(self, clean: Tensor) -> Tensor:
        return self._blocks(clean).mean(-1)

    def _blocks(self, clean: Tensor) -> Tensor:
        """(C, H / block, W / block, block²)."""
        b, (h, w) = self.block, self._size(clean)
        tiles = clean[:, : h * b, : w * b].reshape(-1, h, b, w, b)
        return tiles.transpose(2, 3).reshape(-1, h, w, b * b)

    def _size(self, clean: Tensor) -> tuple[int, int]:
        b = self.block
        h, w = clean.shape[1] // b, clean.shape[2] // b
        if not h or not w:
            raise ValueError(
                f"pixelate noise: expected at least {b} × {b} pixels;"
                f" received {clean.shape[1]} × {clean.shape[2]}"
            )
        return h, w
