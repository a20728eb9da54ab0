"""What pooling layers have in common: windows over the picture, without parameters.

In: the fields of a pooling layer. Out: its size rule, the picture padded as far as the windows reach, and the
pixels that have the same place in every window, as a slice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from n2nspec._lazy import torch
from n2nspec.geometry import Window
from n2nspec.layers._base import LayerSpec
from n2nspec.layers._fields import NonNegativePair, PositivePair

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PoolSpec", "tap"]


def tap(rule: Window, offset: int, windows: int) -> slice:
    """In the padded picture, the pixels that lie `offset` taps from the beginning of each window."""
    first = offset * rule.dilation
    return slice(first, first + (windows - 1) * rule.stride + 1, rule.stride)


class PoolSpec(LayerSpec):
    """A window that slides over each channel."""

    kernel_size: PositivePair = Field(description="Height and width of the window.")
    stride: PositivePair | None = Field(None, description="Step of the window; kernel_size when left out.")
    padding: NonNegativePair = Field(
        (0, 0), description="Pixels added on both sides; half of kernel_size at most."
    )

    spatial: ClassVar[bool] = True

    def axes(self) -> tuple[Window, Window]:
        raise NotImplementedError

    def _windows(self, *, ceil: bool, dilation: tuple[int, int] = (1, 1)) -> tuple[Window, Window]:
        # Every window holds a pixel of the picture if the first does, whose taps lie at -p, d - p, …: of
        # those from 0 on, the nearest is (-p) mod d. Where a later window also begins before the picture,
        # stride < p ≤ k/2, and then the picture is no smaller than d for any window to fit.
        height, width = (
            Window(kernel=k, stride=s, before=p, after=p, dilation=d, smallest=-p % d + 1, ceil=ceil)
            for k, s, p, d in zip(
                self.kernel_size, self.stride or self.kernel_size, self.padding, dilation, strict=True
            )
        )
        return height, width

    @model_validator(mode="after")
    def _check_padding(self) -> Self:
        for kernel, padding in zip(self.kernel_size, self.padding, strict=True):
            if 2 * padding > kernel:  # as in torch, where a dilation gains nothing
                raise PydanticCustomError(
                    "pool_padding",
                    "padding must be at most half of kernel_size = {kernel}; received {padding}",
                    {"kernel": kernel, "padding": padding, "field": "padding"},
                )
        return self

    def windows(self, picture: tuple[int, ...]) -> tuple[int, int]:
        """How many windows there are along height and width."""
        rows, columns = (rule.size(n) or 0 for rule, n in zip(self.axes(), picture[-2:], strict=True))
        return rows, columns

    def reach(self, picture: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the picture with all that the windows cover, beginning `padding` pixels before it."""
        sizes = (
            rule.before + max(n, rule.reach(0, windows - 1)[1] + 1)
            for rule, n, windows in zip(self.axes(), picture[-2:], self.windows(picture), strict=True)
        )
        return (*picture[:-2], *sizes)

    def padded(self, x: Tensor, value: float) -> Tensor:
        """`x` in the shape of `reach`; what is added is `value`."""
        (top, left), (height, width) = self.padding, self.reach(tuple(x.shape))[-2:]
        sides = (left, width - left - x.shape[-1], top, height - top - x.shape[-2])
        return torch.nn.functional.pad(x, sides, value=value) if any(sides) else x

    def cropped(self, g: Tensor, picture: tuple[int, ...]) -> Tensor:
        """The adjoint of `padded`: of a gradient in the shape of `reach`, the part of the picture."""
        (top, left), (height, width) = self.padding, picture[-2:]
        return g[..., top : top + height, left : left + width]
