"""PixelUnshuffle: r × r pixels become channels of one, without losing a number.

    forward    y[…, c·r² + a·r + b, i, j] = x[…, c, i·r + a, j·r + b]
    backward   gx = the same numbers of gy, put back
    sizes      C_out = C·r², H_out = H / r, W_out = W / r; other sizes than multiples of r are refused

Source: torch.nn.PixelUnshuffle, https://docs.pytorch.org/docs/stable/generated/torch.nn.PixelUnshuffle.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from n2nspec.geometry import AxisRule, Divide, Shape, elements
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs
from n2nspec.layers._fields import Factor
from n2nspec.layers._memory import Memory
from n2nspec.layers._module import Layer
from n2nspec.layers._shuffle import shuffle, unshuffle

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PixelUnshuffle", "PixelUnshuffleSpec"]


class PixelUnshuffleSpec(LayerSpec):
    """The inverse of PixelShuffle: r × r pixels become r² channels."""

    type: Literal["PixelUnshuffle"] = "PixelUnshuffle"
    downscale_factor: Factor = Field(description="Pixels that become one in height and in width, r.")

    spatial: ClassVar[bool] = True
    twin: ClassVar[str] = "torch.nn.PixelUnshuffle"

    def picture(self, shape: Shape) -> Shape:
        """With any number of batch axes, as torch has it."""
        return shape if len(shape) > 4 else super().picture(shape)

    def axes(self) -> tuple[AxisRule, AxisRule]:
        return Divide(self.downscale_factor), Divide(self.downscale_factor)

    def channels(self, channels: int) -> int:
        return channels * self.downscale_factor**2

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        size = elements(output) * item if self.downscale_factor > 1 else 0  # else a view
        return Memory(forward=size, inference=size, backward=size, gradients=(size,))

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        return unshuffle(xs[0], self.downscale_factor), None

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        return (shuffle(gy, self.downscale_factor) if needs.inputs[0] else None,), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"downscale_factor": 2}, inputs=((2, 3, 4, 6),)),
        Case(fields={"downscale_factor": 3}, inputs=((1, 2, 6, 3),)),
        Case(fields={"downscale_factor": 1}, inputs=((1, 3, 4, 5),)),
        Case(fields={"downscale_factor": 2}, inputs=((3, 2, 8),)),
        Case(fields={"downscale_factor": 2}, inputs=((2, 3, 4, 6),), contiguous=False),
        Case(fields={"downscale_factor": 1}, inputs=((0, 3, 4, 6),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"downscale_factor": 0}, match="greater than or equal to 1"),
        BadCase(fields={"downscale_factor": "2"}, match="valid integer"),
        BadCase(fields={"downscale_factor": (2, 2)}, match="valid integer"),
        BadCase(fields={"downscale_factor": 4}, inputs=((1, 3, 8, 6),),
                match="width 6 does not fit; what does: any multiple of 4 from 4; output size: 6 / 4 is not"),
        BadCase(fields={"downscale_factor": 2}, inputs=((3, 5, 4),), match="height 5 does not fit"),
        BadCase(fields={"downscale_factor": 4}, inputs=((3, 2, 4),), match="height 2 is too small"),
        BadCase(fields={"downscale_factor": 2}, inputs=((4, 5),), match="expects pictures"),
    )  # fmt: skip


class PixelUnshuffle(Layer):
    """`PixelUnshuffle(downscale_factor)`: as torch.nn.PixelUnshuffle, with a backward of its own.

    Input (C, H, W), after any number of batch axes; H and W are multiples of the factor.

    Raises:
        ValueError: a factor that is no whole number, or an input that does not fit.
    """

    spec_type = PixelUnshuffleSpec
