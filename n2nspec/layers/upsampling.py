"""Upsampling: nearest-neighbour upsampling, then a convolution.

With scale s, padding p, dilation d and kernel k:

    forward    y = conv(nearest(x))
    backward   gx = nearestᵀ(convᵀ(gy)); the parameters' gradients are the convolution's
    sizes      H_out = s·H + 2·p - d·(k - 1), and W_out alike

Source: the source report, section 1.1.3. An alternative to transposed convolutions without their
checkerboards: Odena et al. 2016, https://distill.pub/2016/deconv-checkerboard/.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar, Literal

from pydantic import Field

from n2nspec.layers._base import BadCase, Case, LayerSpec
from n2nspec.layers._composite import CompositeSpec
from n2nspec.layers._fields import Count, Padding, PositivePair
from n2nspec.layers.conv2d import Conv2d, Conv2dSpec
from n2nspec.layers.nearest_upsampling import NearestUpsampling, NearestUpsamplingSpec
from n2nspec.layers.sequential import Sequential

__all__ = ["Upsampling", "UpsamplingSpec"]


class UpsamplingSpec(CompositeSpec):
    """Nearest-neighbour upsampling and a convolution of stride 1."""

    type: Literal["Upsampling"] = "Upsampling"
    out_channels: Count = Field(description="Channels of the output.")
    kernel_size: PositivePair = Field(description="Height and width of the convolution's window.")
    scale_factor: PositivePair = Field(
        (2, 2), description="How often each pixel is repeated in height and width."
    )
    padding: Padding = Field(
        (0, 0), description='Zeros added on both sides, after upsampling; "same" keeps the upsampled size.'
    )
    dilation: PositivePair = Field((1, 1), description="Distance between the window's pixels.")

    inferred: ClassVar[tuple[str, ...]] = ("in_channels",)

    def parts(self) -> tuple[tuple[str, LayerSpec], ...]:
        conv = Conv2dSpec(
            out_channels=self.out_channels, kernel_size=self.kernel_size, padding=self.padding,
            dilation=self.dilation,
        )  # fmt: skip
        return ("upsample", NearestUpsamplingSpec(scale_factor=self.scale_factor)), ("conv", conv)

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"in_channels": 4, "out_channels": 3, "kernel_size": 3, "padding": 1},
             inputs=((2, 4, 5, 6),)),
        Case(fields={"in_channels": 1, "out_channels": 1, "kernel_size": 1, "scale_factor": 1},
             inputs=((1, 1, 1, 1),)),
        Case(fields={"in_channels": 2, "out_channels": 3, "kernel_size": (2, 3), "scale_factor": (3, 2),
                     "padding": (0, 2), "dilation": (2, 1)}, inputs=((1, 2, 3, 4),)),
        Case(fields={"in_channels": 2, "out_channels": 2, "kernel_size": 4, "padding": "same"},
             inputs=((1, 2, 3, 3),)),
        Case(fields={"in_channels": 2, "out_channels": 3, "kernel_size": 3, "padding": 1},
             inputs=((2, 4, 3),)),
        Case(fields={"in_channels": 2, "out_channels": 3, "kernel_size": 3}, inputs=((2, 2, 4, 3),),
             contiguous=False),
        Case(fields={"in_channels": 2, "out_channels": 3, "kernel_size": 3}, inputs=((0, 2, 4, 3),)),
    )  # fmt: skip
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"in_channels": 2, "out_channels": 0, "kernel_size": 3},
                match="greater than or equal to 1"),
        BadCase(fields={"in_channels": 0, "out_channels": 2, "kernel_size": 3},
                match="in_channels: expected"),
        BadCase(fields={"in_channels": 2, "out_channels": 2, "kernel_size": 3, "scale_factor": 0.5},
                match="Expected an integer"),
        BadCase(fields={"in_channels": 2, "out_channels": 2, "kernel_size": 3, "padding": -1},
                match="Expected 0 to"),
        BadCase(fields={"in_channels": 2, "out_channels": 2, "kernel_size": 3}, inputs=((1, 2, 1, 4),),
                match="is too small"),
        BadCase(fields={"in_channels": 2, "out_channels": 2, "kernel_size": 3}, inputs=((1, 3, 4, 4),),
                match="expects 2"),
        BadCase(fields={"in_channels": 2, "out_channels": 2, "kernel_size": 3}, inputs=((4, 4),),
                match="expects pictures"),
    )  # fmt: skip


class Upsampling(Sequential):
    """`Upsampling(in_channels, out_channels, kernel_size, scale_factor=2, padding=0, dilation=1, device=None,
    dtype=None)`: NearestUpsampling (`upsample`), then Conv2d (`conv`).

    Input (N, C, H, W) or (C, H, W). Parameters `conv.weight` (O, I, kH, kW) and `conv.bias` (O,).

    Raises:
        ValueError: arguments that make no layer, or an input that does not fit.
    """

    spec_type: ClassVar[type[UpsamplingSpec]] = UpsamplingSpec

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        scale_factor: int | tuple[int, int] = 2,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        conv = Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            padding=padding,
            dilation=dilation,
            device=device,
            dtype=dtype,
        )
        super().__init__(OrderedDict(upsample=NearestUpsampling(scale_factor), conv=conv))
