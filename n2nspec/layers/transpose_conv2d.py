"""TransposeConv2d (ConvTranspose2d) as matrix products: multiply, then fold.

With the input as a matrix x of shape (N, I, L), L = H·W, and the weight as a matrix W of shape (I, O·kH·kW):

    forward    y = fold(Wᵀ·x) + b
    backward   gcol = unfold(gy);  gW = Σ_n x·gcolᵀ      gb = Σ_{n,L} gy      gx = W·gcol
    sizes      H_out = (H - 1)·stride - 2·padding + dilation·(kernel - 1) + output_padding + 1,
               and W_out alike

per group of channels: the roles of Conv2d's forward and backward are exchanged.

Source: arguments, weight layout and shapes of torch.nn.ConvTranspose2d,
https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from n2nspec._lazy import torch
from n2nspec.diagnostics import plural
from n2nspec.geometry import AxisRule, Shape, ShapeError, TransposedWindow, elements
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs, ParameterSpec, Saved, fixed
from n2nspec.layers._fields import Count, NonNegativePair, PositivePair, Switch
from n2nspec.layers._memory import Memory, resized
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ConvTranspose2d", "TransposeConv2d", "TransposeConv2dSpec"]


class TransposeConv2dSpec(LayerSpec):
    """2-D transposed convolution: the adjoint of a convolution, which grows the picture."""

    type: Literal["TransposeConv2d", "ConvTranspose2d"] = "TransposeConv2d"
    out_channels: Count = Field(description="Channels of the output.")
    kernel_size: PositivePair = Field(description="Height and width of the window.")
    stride: PositivePair = Field((1, 1), description="Distance in the output between neighbouring windows.")
    padding: NonNegativePair = Field((0, 0), description="Pixels cut off the output on both sides.")
    output_padding: NonNegativePair = Field(
        (0, 0), description="Rows and columns added after; smaller than stride or dilation."
    )
    groups: Count = Field(1, description="Channel groups that do not see each other.")
    bias: Switch = Field(True, description="Add a number to each output channel.")
    dilation: PositivePair = Field((1, 1), description="Distance between the window's pixels.")
    padding_mode: Literal["zeros"] = Field("zeros", description="As torch, only zeros.")

    spatial: ClassVar[bool] = True
    inferred: ClassVar[tuple[str, ...]] = ("in_channels",)
    twin: ClassVar[str] = "torch.nn.ConvTranspose2d"

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        if self.out_channels % self.groups:
            raise PydanticCustomError(
                "groups", "out_channels = {out} is not divisible by groups = {groups}",
                {"out": self.out_channels, "groups": self.groups, "field": "groups",
                 "help": "change one of them, so that groups divides out_channels"},
            )  # fmt: skip
        return self

    @model_validator(mode="after")
    def _check_output_padding(self) -> Self:
        for added, stride, dilation in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if added >= max(stride, dilation):
                raise PydanticCustomError(
                    "output_padding",
                    "output_padding must be smaller than stride or dilation, here {limit}; received {added}",
                    {"limit": max(stride, dilation), "added": added, "field": "output_padding"},
                )
        return self

    def axes(self) -> tuple[AxisRule, AxisRule]:
        height, width = (
            TransposedWindow(kernel=k, stride=s, padding=p, output_padding=o, dilation=d)
            for k, s, p, o, d in zip(
                self.kernel_size, self.stride, self.padding, self.output_padding, self.dilation, strict=True
            )
        )
        return height, width

    def channels(self, channels: int) -> int:
        if channels % self.groups:
            raise ShapeError(
                f"{self.type} got {plural(channels, 'input channel')}, which groups ="
                f" {self.groups} does not divide",
                help=f"choose groups that divide {channels}",
                field="groups",
            )
        return self.out_channels

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterSpec, ...]:
        """torch takes N_in from the second axis of the weight, O/groups, and so do we."""
        k_h, k_w = self.kernel_size
        in_channels, out_channels = fixed(inputs[0][-3], "channels"), self.out_channels // self.groups
        fans = {"fan_in": out_channels * k_h * k_w, "fan_out": in_channels * k_h * k_w}
        weight = ParameterSpec(name="weight", shape=(in_channels, out_channels, k_h, k_w), **fans)
        if not self.bias:
            return (weight,)
        return weight, ParameterSpec(name="bias", shape=(self.out_channels,), **fans)

    def macs(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> int:
        """One a weight and input pixel."""
        *batch, in_channels, h, w = inputs[0]
        k_h, k_w = self.kernel_size
        pixels = (batch[0] if batch else 1) * h * w
        return pixels * in_channels * (self.out_channels // self.groups) * k_h * k_w

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        return (Saved(of="input"),)

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        """Windows as a matrix, beside what they are made of or become."""
        *batch, channels, height, width = inputs[0]
        n, x, y = batch[0] if batch else 1, elements(inputs[0]) * item, elements(output) * item
        weight = channels * (self.out_channels // self.groups) * prod(self.kernel_size) * item
        columns = n * self.out_channels * prod(self.kernel_size) * height * width * item
        below, right = self._extra()
        wide = columns // (height * width) * (height + below) * (width + right) if below or right else 0
        spread = n * weight if self.groups > 1 else 0  # a copy for each picture
        folding, folded = resized(wide or columns, y)
        forward = max(columns + max(spread, wide), (wide or columns) + folding, folded + y)
        backward, unfolded = resized(y, wide or columns)
        if wide:
            backward, unfolded = max(backward, unfolded + columns), columns
        if needs.parameters:
            backward = max(backward, unfolded + (n + 1) * weight)
        if needs.inputs[0]:
            own = weight if needs.parameters else 0
            backward = max(backward, own + unfolded + spread + x)
        return Memory(
            forward=forward, inference=forward, backward=backward,
            gradients=(x if needs.inputs[0] else 0,),
        )  # fmt: skip

    def _extra(self) -> tuple[int, int]:
        """Windows a row and column that fold and unfold count beyond H·W, where output_padding >= stride."""
        o, s = self.output_padding, self.stride
        return o[0] // s[0], o[1] // s[1]

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        x_nchw = x if x.dim() == 4 else x.unsqueeze(0)
        n, channels, h, w = x_nchw.shape
        w_gik = params["weight"].reshape(self.groups, channels // self.groups, -1)
        x_ngil = x_nchw.reshape(n, self.groups, channels // self.groups, h * w)
        col = (w_gik.transpose(-1, -2) @ x_ngil).flatten(1, 2)  # (N, O·kH·kW, L)
        below, right = self._extra()
        if below or right:
            col = torch.nn.functional.pad(col.view(n, col.shape[1], h, w), (0, right, 0, below)).flatten(2)
        size = tuple(rule.size(m) or 0 for rule, m in zip(self.axes(), (h, w), strict=True))
        y = torch.nn.functional.fold(col, size, self.kernel_size, self.dilation, self.padding, self.stride)
        del col
        # another tensor: fold's has the memory of its windows
        y = y + params["bias"].view(-1, 1, 1) if self.bias else y.clone()
        return (y if x.dim() == 4 else y.squeeze(0)), x

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        x: Tensor = saved
        x_nchw, gy_nchw = (x, gy) if x.dim() == 4 else (x.unsqueeze(0), gy.unsqueeze(0))
        n, channels, h, w = x_nchw.shape
        weight = params["weight"]
        gcol = torch.nn.functional.unfold(gy_nchw, self.kernel_size, self.dilation, self.padding, self.stride)
        below, right = self._extra()
        if below or right:
            gcol = gcol.view(n, gcol.shape[1], h + below, w + right)[..., :h, :w].flatten(2)
        gcol_ngkl = gcol.view(n, self.groups, gcol.shape[1] // self.groups, h * w)

        gparams: dict[str, Tensor] = {}
        if needs.parameters:
            x_ngil = x_nchw.reshape(n, self.groups, channels // self.groups, h * w)
            gparams["weight"] = (x_ngil @ gcol_ngkl.transpose(-1, -2)).sum(0).reshape(weight.shape)
            if self.bias:
                gparams["bias"] = gy_nchw.sum((0, 2, 3))
        if not needs.inputs[0]:
            return (None,), gparams
        w_gik = weight.reshape(self.groups, channels // self.groups, -1)
        return ((w_gik @ gcol_ngkl).reshape(x.shape),), gparams

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"in_channels": 3, "out_channels": 5, "kernel_size": 3, "stride": 2, "padding": 1,
                     "output_padding": 1}, inputs=((2, 3, 4, 5),)),
        Case(fields={"in_channels": 1, "out_channels": 1, "kernel_size": 1}, inputs=((1, 1, 1, 1),)),
        Case(fields={"in_channels": 2, "out_channels": 3, "kernel_size": (2, 3), "stride": (1, 3),
                     "padding": (1, 0), "dilation": (2, 1)}, inputs=((2, 2, 5, 3),)),
        Case(fields={"in_channels": 4, "out_channels": 6, "kernel_size": 3, "groups": 2, "bias": False},
             inputs=((1, 4, 3, 4),)),
        Case(fields={"in_channels": 4, "out_channels": 4, "kernel_size": 2, "groups": 4, "stride": 2},
             inputs=((2, 4, 3, 2),)),
        # stride wider than the kernel leaves pixels that nothing writes
        Case(fields={"in_channels": 2, "out_channels": 2, "kernel_size": 2, "stride": 4, "output_padding": 3},
             inputs=((1, 2, 3, 2),)),
        # output_padding >= stride, which a dilation allows
        Case(fields={"in_channels": 2, "out_channels": 3, "kernel_size": 3, "stride": (1, 2), "dilation": 4,
                     "padding": 2, "output_padding": (3, 2)}, inputs=((2, 2, 4, 3),)),
        Case(fields={"in_channels": 2, "out_channels": 3, "kernel_size": 1, "stride": 2, "dilation": 9,
                     "padding": 3, "output_padding": 8}, inputs=((1, 2, 2, 2),)),
        Case(fields={"in_channels": 3, "out_channels": 2, "kernel_size": 3, "stride": 2},
             inputs=((3, 4, 3),)),
        Case(fields={"in_channels": 3, "out_channels": 2, "kernel_size": 3, "padding": 2},
             inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"in_channels": 3, "out_channels": 2, "kernel_size": 3}, inputs=((0, 3, 4, 5),)),
    )  # fmt: skip
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3, "output_padding": 1},
                match="output_padding must be smaller"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3, "stride": (2, 1),
                        "output_padding": 1}, match="output_padding must be smaller"),
        BadCase(fields={"in_channels": 4, "out_channels": 3, "kernel_size": 3, "groups": 2},
                match="not divisible"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3, "groups": 2},
                match="does not divide"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3, "padding": "same"},
                match="Expected an integer"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3, "padding_mode": "reflect"},
                match="zeros"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3, "stride": 0},
                match="Expected 1 to"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3, "padding": 2},
                inputs=((1, 3, 2, 9),), match="height 2 is too small"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3}, inputs=((1, 2, 8, 8),),
                match="expects 3"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3}, inputs=((3, 8),),
                match="2 dimensions"),
    )  # fmt: skip


class TransposeConv2d(Layer):
    """`TransposeConv2d(in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0,
    groups=1, bias=True, dilation=1, padding_mode="zeros", device=None, dtype=None)`: as
    torch.nn.ConvTranspose2d, with a backward of its own; so is its subclass `ConvTranspose2d`.

    Input (N, C, H, W) or (C, H, W). Parameters `weight` (I, O/groups, kH, kW) and `bias` (O,).

    Raises:
        ValueError: arguments that make no layer, or an input that does not fit.
    """

    spec_type = TransposeConv2dSpec


class ConvTranspose2d(TransposeConv2d):
    """`TransposeConv2d` by torch's name."""
