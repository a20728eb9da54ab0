"""Conv2d as matrix products: unfold, multiply, fold.

With patches col = unfold(pad(x)) of shape (N, C·kH·kW, L), L = H_out·W_out, and the weight as a matrix
W of shape (O, C·kH·kW):

    forward    y = W·col + b
    backward   gW = Σ_n gy·colᵀ      gb = Σ_{n,L} gy      gx = unpad(fold(Wᵀ·gy))
    sizes      H_out = floor((H + 2·padding - dilation·(kernel - 1) - 1) / stride) + 1, and W_out alike

per group of channels.

Source: the unfold/fold formulation of the source report, section 1.1.2; shapes and arguments of
torch.nn.Conv2d, https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from n2nspec._lazy import torch
from n2nspec.diagnostics import plural
from n2nspec.geometry import AxisRule, Shape, ShapeError, Window, elements
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs, ParameterSpec, Saved, fixed
from n2nspec.layers._fields import Count, Padding, PositivePair, Switch
from n2nspec.layers._memory import Memory, resized
from n2nspec.layers._module import Layer
from n2nspec.layers._padding import copying_bytes, pad, smallest, unpad

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Conv2d", "Conv2dSpec"]


class Conv2dSpec(LayerSpec):
    """2-D convolution (cross-correlation, as in every deep-learning library)."""

    type: Literal["Conv2d"] = "Conv2d"
    out_channels: Count = Field(description="Channels of the output.")
    kernel_size: PositivePair = Field(description="Height and width of the window.")
    stride: PositivePair = Field((1, 1), description="Step of the window.")
    padding: Padding = Field(
        (0, 0), description='Pixels added on both sides; "same" keeps the size, "valid" adds none.'
    )
    dilation: PositivePair = Field((1, 1), description="Distance between the window's pixels.")
    groups: Count = Field(1, description="Channel groups that do not see each other.")
    bias: Switch = Field(True, description="Add a number to each output channel.")
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = Field(
        "zeros", description="What the added pixels hold."
    )

    spatial: ClassVar[bool] = True
    inferred: ClassVar[tuple[str, ...]] = ("in_channels",)
    twin: ClassVar[str] = "torch.nn.Conv2d"

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
    def _check_padding(self) -> Self:
        if self.padding == "same" and self.stride != (1, 1):
            raise PydanticCustomError(
                "same_stride", 'padding = "same" needs stride 1; received stride {stride}',
                {"stride": list(self.stride), "field": "padding",
                 "help": "write padding as numbers, or leave the stride out"},
            )  # fmt: skip
        return self

    def pads(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(before, after) for height and width. "same" puts an odd pixel after, as torch does."""
        if self.padding == "valid":
            return (0, 0), (0, 0)
        if isinstance(self.padding, str):
            totals = [d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True)]
            above, left = ((t // 2, t - t // 2) for t in totals)
            return above, left
        return (self.padding[0],) * 2, (self.padding[1],) * 2

    def axes(self) -> tuple[AxisRule, AxisRule]:
        height, width = (
            Window(kernel=k, stride=s, dilation=d, before=before, after=after,
                   smallest=smallest(self.padding_mode, before, after))
            for k, s, d, (before, after) in zip(
                self.kernel_size, self.stride, self.dilation, self.pads(), strict=True
            )
        )  # fmt: skip
        return height, width

    def sees_whole_picture(self) -> bool:
        # the left border reads the right one
        return self.padding_mode == "circular" and self.pads() != ((0, 0), (0, 0))

    def channels(self, channels: int) -> int:
        if channels % self.groups:
            raise ShapeError(
                f"Conv2d got {plural(channels, 'input channel')}, which groups = {self.groups} does not"
                " divide",
                help=f"choose groups that divide {channels}",
                field="groups",
            )
        return self.out_channels

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterSpec, ...]:
        k_h, k_w = self.kernel_size
        in_channels = fixed(inputs[0][-3], "channels") // self.groups
        fans = {"fan_in": in_channels * k_h * k_w, "fan_out": self.out_channels * k_h * k_w}
        weight = ParameterSpec(name="weight", shape=(self.out_channels, in_channels, k_h, k_w), **fans)
        if not self.bias:
            return (weight,)
        return weight, ParameterSpec(name="bias", shape=(self.out_channels,), **fans)

    def macs(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> int:
        """One a weight and output pixel."""
        *batch, _, h, w = output
        k_h, k_w = self.kernel_size
        pictures = batch[0] if batch else 1
        return pictures * h * w * self.out_channels * (inputs[0][-3] // self.groups) * k_h * k_w

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        return (Saved(of="input"),)

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        """Windows as a matrix, beside the padded picture or a product of theirs."""
        *batch, channels, height, width = inputs[0]
        n, positions = batch[0] if batch else 1, output[-2] * output[-1]
        pads = self.pads()
        padded_shape = (n, channels, height + sum(pads[0]), width + sum(pads[1]))
        padded = elements(padded_shape) * item if pads != ((0, 0), (0, 0)) else 0
        x = elements(inputs[0]) * item
        padding, unpadding = padded, x
        if padded and self.padding_mode != "zeros":
            padding, unpadding = copying_bytes((n, channels, height, width), padded_shape, item)
            unpadding = max(unpadding, 2 * x)
        weight = self.out_channels * (channels // self.groups) * prod(self.kernel_size) * item
        columns = n * channels * prod(self.kernel_size) * positions * item
        spread = n * weight if self.groups > 1 else 0  # a copy for each picture
        unfolding, unfolded = resized(padded or x, columns)
        unfolding = max(padding, padded + unfolding)
        forward = max(unfolding, unfolded + spread + elements(output) * item)
        backward = 0
        if needs.parameters:
            backward = max(unfolding, unfolded + n * weight, (n + 1) * weight)
        if needs.inputs[0]:
            own = weight if needs.parameters else 0
            folding, folded = resized(columns, padded or x)
            backward = max(backward, own + columns + max(spread, folding), own + folded + unpadding)
        return Memory(
            forward=forward, inference=forward, backward=backward, gradients=(x if needs.inputs[0] else 0,)
        )

    def _unfold(self, x: Tensor) -> Tensor:
        """Patches as a matrix, (N, G, C/G·kH·kW, L)."""
        col = torch.nn.functional.unfold(
            pad(x, self.pads(), self.padding_mode), self.kernel_size, self.dilation, 0, self.stride
        )
        return col.view(col.shape[0], self.groups, col.shape[1] // self.groups, col.shape[2])

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        x_nchw = x if x.dim() == 4 else x.unsqueeze(0)
        col = self._unfold(x_nchw)
        w = params["weight"].reshape(self.groups, self.out_channels // self.groups, -1)
        h_out, w_out = (rule.size(n) or 0 for rule, n in zip(self.axes(), x.shape[-2:], strict=True))
        y = (w @ col).view(x_nchw.shape[0], self.out_channels, h_out, w_out)
        if self.bias:
            y += params["bias"].view(-1, 1, 1)
        return (y if x.dim() == 4 else y.squeeze(0)), x

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        x: Tensor = saved
        x_nchw = x if x.dim() == 4 else x.unsqueeze(0)
        n = x_nchw.shape[0]
        w = params["weight"]
        w_gok = w.reshape(self.groups, self.out_channels // self.groups, -1)
        positions = gy.shape[-2] * gy.shape[-1]
        gy_ngol = gy.reshape(n, self.groups, self.out_channels // self.groups, positions)

        gparams: dict[str, Tensor] = {}
        if needs.parameters:
            # a name for the patches would keep them, a step's largest tensor, until all is done
            gparams["weight"] = (gy_ngol @ self._unfold(x_nchw).transpose(-1, -2)).sum(0).reshape(w.shape)
            if self.bias:
                gparams["bias"] = gy_ngol.sum((0, 3)).reshape(-1)
        if not needs.inputs[0]:
            return (None,), gparams

        (above, below), (left, right) = self.pads()
        padded = (x.shape[-2] + above + below, x.shape[-1] + left + right)
        gx = torch.nn.functional.fold(
            (w_gok.transpose(-1, -2) @ gy_ngol).flatten(1, 2), padded, self.kernel_size, self.dilation, 0,
            self.stride,
        )  # fmt: skip
        gx = unpad(gx, self.pads(), self.padding_mode).clone()  # fold's tensor has the memory of its patches
        return ((gx if x.dim() == 4 else gx.squeeze(0)),), gparams

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"in_channels": 3, "out_channels": 16, "kernel_size": 3, "stride": 2, "padding": 1},
             inputs=((2, 3, 32, 32),)),
        Case(fields={"in_channels": 1, "out_channels": 1, "kernel_size": 1}, inputs=((1, 1, 1, 1),)),
        Case(fields={"in_channels": 2, "out_channels": 3, "kernel_size": (2, 3), "stride": (2, 1),
                     "padding": (1, 0), "dilation": (1, 2)}, inputs=((2, 2, 7, 9),)),
        Case(fields={"in_channels": 4, "out_channels": 6, "kernel_size": 3, "groups": 2, "bias": False},
             inputs=((1, 4, 5, 8),)),
        Case(fields={"in_channels": 4, "out_channels": 8, "kernel_size": 3, "groups": 4, "padding": 1},
             inputs=((2, 4, 6, 5),)),
        Case(fields={"in_channels": 2, "out_channels": 2, "kernel_size": 4, "padding": "same", "dilation": 3},
             inputs=((1, 2, 11, 10),)),
        Case(fields={"in_channels": 2, "out_channels": 2, "kernel_size": (2, 3), "padding": "valid",
                     "padding_mode": "reflect"}, inputs=((1, 2, 5, 5),)),
        Case(fields={"in_channels": 2, "out_channels": 3, "kernel_size": 3, "padding": 2, "stride": 2,
                     "padding_mode": "reflect"}, inputs=((2, 2, 6, 7),)),
        Case(fields={"in_channels": 2, "out_channels": 3, "kernel_size": 5, "padding": (3, 1),
                     "padding_mode": "replicate"}, inputs=((1, 2, 4, 6),)),
        Case(fields={"in_channels": 2, "out_channels": 3, "kernel_size": 3, "padding": (2, 3),
                     "padding_mode": "circular"}, inputs=((2, 2, 5, 3),)),
        Case(fields={"in_channels": 2, "out_channels": 2, "kernel_size": 2, "padding": "same",
                     "padding_mode": "circular"}, inputs=((1, 2, 4, 5),)),
        Case(fields={"in_channels": 3, "out_channels": 2, "kernel_size": 3, "padding": 1},
             inputs=((3, 8, 6),)),
        Case(fields={"in_channels": 3, "out_channels": 2, "kernel_size": 3, "stride": 3},
             inputs=((2, 3, 8, 10),), contiguous=False),
        Case(fields={"in_channels": 3, "out_channels": 2, "kernel_size": 3}, inputs=((0, 3, 4, 5),)),
        Case(fields={"in_channels": 1, "out_channels": 2, "kernel_size": 3, "padding": 4},
             inputs=((1, 1, 1, 1),)),
    )  # fmt: skip
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"in_channels": 3, "out_channels": 0, "kernel_size": 3},
                match="greater than or equal to 1"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 0}, match="Expected 1 to"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": "3"},
                match="Expected an integer"),
        BadCase(fields={"in_channels": 4, "out_channels": 3, "kernel_size": 3, "groups": 2},
                match="not divisible"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3, "groups": 2},
                match="does not divide"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3, "stride": 2,
                        "padding": "same"},
                match="needs stride 1"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3, "padding": "full"},
                match='"same"'),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3, "padding_mode": "wrap"},
                match="zeros"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 5}, inputs=((1, 3, 4, 9),),
                match="height 4 is too small"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3, "padding": 4,
                        "padding_mode": "reflect"}, inputs=((1, 3, 4, 9),), match="height 4 is too small"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3}, inputs=((1, 2, 8, 8),),
                match="expects 3"),
        BadCase(fields={"in_channels": 3, "out_channels": 4, "kernel_size": 3}, inputs=((3, 8),),
                match="2 dimensions"),
    )  # fmt: skip


class Conv2d(Layer):
    """`Conv2d(in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
    padding_mode="zeros", device=None, dtype=None)`: as torch.nn.Conv2d, with a backward of its own.

    Input (N, C, H, W) or (C, H, W). Parameters `weight` (O, I/groups, kH, kW) and `bias` (O,).

    Raises:
        ValueError: arguments that make no layer, or an input that does not fit.
    """

    spec_type = Conv2dSpec
