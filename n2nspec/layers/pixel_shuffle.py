"""PixelShuffle: channels become pixels, r × r of them a pixel.

    forward    y[…, c, i·r + a, j·r + b] = x[…, c·r² + a·r + b, i, j]
    backward   gx = the same numbers of gy, put back
    sizes      C_out = C / r², H_out = r·H, W_out = r·W

Source: Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
Convolutional Neural Network", https://arxiv.org/abs/1609.05158; torch.nn.PixelShuffle,
https://docs.pytorch.org/docs/stable/generated/torch.nn.PixelShuffle.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from n2nspec.diagnostics import plural
from n2nspec.geometry import AxisRule, Repeat, Shape, ShapeError, elements
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs
from n2nspec.layers._fields import Factor
from n2nspec.layers._memory import Memory
from n2nspec.layers._module import Layer
from n2nspec.layers._shuffle import shuffle, unshuffle

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PixelShuffle", "PixelShuffleSpec"]


class PixelShuffleSpec(LayerSpec):
    """Sub-pixel upsampling: r² channels become r × r pixels."""

    type: Literal["PixelShuffle"] = "PixelShuffle"
    upscale_factor: Factor = Field(description="Pixels that each becomes in height and in width, r.")

    spatial: ClassVar[bool] = True
    twin: ClassVar[str] = "torch.nn.PixelShuffle"

    def picture(self, shape: Shape) -> Shape:
        """With any number of batch axes, as torch has it."""
        return shape if len(shape) > 4 else super().picture(shape)

    def axes(self) -> tuple[AxisRule, AxisRule]:
        return Repeat(self.upscale_factor), Repeat(self.upscale_factor)

    def channels(self, channels: int) -> int:
        block = self.upscale_factor**2
        if channels % block:
            raise ShapeError(
                f"PixelShuffle got {plural(channels, 'input channel')}, which upscale_factor² = {block} does"
                " not divide",
                help=f"give it a multiple of {block} channels",
                field="upscale_factor",
            )
        return channels // block

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        size = elements(output) * item if self.upscale_factor > 1 else 0  # else a view
        return Memory(forward=size, inference=size, backward=size, gradients=(size,))

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        return shuffle(xs[0], self.upscale_factor), None

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        return (unshuffle(gy, self.upscale_factor) if needs.inputs[0] else None,), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"upscale_factor": 2}, inputs=((2, 8, 3, 4),)),
        Case(fields={"upscale_factor": 3}, inputs=((1, 9, 2, 1),)),
        Case(fields={"upscale_factor": 1}, inputs=((1, 3, 4, 5),)),
        Case(fields={"upscale_factor": 2}, inputs=((4, 3, 2),)),
        Case(fields={"upscale_factor": 2}, inputs=((2, 4, 3, 5),), contiguous=False),
        Case(fields={"upscale_factor": 1}, inputs=((0, 4, 3, 5),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"upscale_factor": 0}, match="greater than or equal to 1"),
        BadCase(fields={"upscale_factor": 2.0}, match="valid integer"),
        BadCase(fields={"upscale_factor": (2, 2)}, match="valid integer"),
        BadCase(fields={"upscale_factor": 2}, inputs=((1, 6, 3, 3),), match="² = 4 does not divide"),
        BadCase(fields={"upscale_factor": 2}, inputs=((2, 3, 3),), match="got 2 input channels"),
        BadCase(fields={"upscale_factor": 2}, inputs=((4, 5),), match="expects pictures"),
    )


class PixelShuffle(Layer):
    """`PixelShuffle(upscale_factor)`: as torch.nn.PixelShuffle, with a backward of its own.

    Input (C·r², H, W), after any number of batch axes.

    Raises:
        ValueError: a factor that is no whole number, or an input that does not fit.
    """

    spec_type = PixelShuffleSpec
