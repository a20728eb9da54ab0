"""AvgPool2d: the mean of each window.

With s the stride, p the padding, k the kernel, and 0 beyond the picture's borders:

    forward    y[…, i, j] = Σ over a, b of x[…, i·s_h - p_h + a, j·s_w - p_w + b] / D[i, j]
    backward   gx = Σ of gy / D over the windows that a pixel lies in
    sizes      H_out = floor((H + 2·p - k) / s) + 1, and W_out alike; with ceil_mode rounded up, but without a
               window that would start beyond the picture

D is divisor_override where that is given. Otherwise it is how many pixels of the window lie in the picture
(without count_include_pad), or in the picture and its padding: what hangs over further in ceil_mode is never
counted.

Source: torch.nn.AvgPool2d, https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html; the
divisor is that of aten/src/ATen/native/cpu/AvgPoolKernel.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, Strict
from pydantic_core import PydanticCustomError

from n2nspec.geometry import Window, elements
from n2nspec.layers._base import BadCase, Case, Needs
from n2nspec.layers._fields import Switch
from n2nspec.layers._memory import Memory
from n2nspec.layers._module import Layer
from n2nspec.layers._pooling import PoolSpec, tap

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AvgPool2d", "AvgPool2dSpec"]

LARGEST = 2**31 - 1


def _not_zero(value: int) -> int:
    if not value:
        raise PydanticCustomError("divisor", "Expected a number other than 0")
    return value


class AvgPool2dSpec(PoolSpec):
    """The mean of each window."""

    type: Literal["AvgPool2d"] = "AvgPool2d"
    ceil_mode: Switch = Field(False, description="Let the last window hang over the end of the picture.")
    count_include_pad: Switch = Field(True, description="Count the zeros of the padding in the mean.")
    divisor_override: (
        Annotated[int, Strict(), Field(ge=-LARGEST, le=LARGEST), AfterValidator(_not_zero)] | None
    ) = Field(None, description="Divide each window's sum by this instead of its number of pixels.")

    twin: ClassVar[str] = "torch.nn.AvgPool2d"

    def axes(self) -> tuple[Window, Window]:
        return self._windows(ceil=self.ceil_mode)

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        y, reach = elements(output) * item, elements(self.reach(inputs[0])) * item
        padded = reach if self.reach(inputs[0]) != inputs[0] else 0
        sums = y // output[-1] * self.reach(inputs[0])[-1]  # of the rows of each window
        divisor = item * output[-2] * output[-1] if self.divisor_override is None else 0
        forward = padded + sums + y + divisor
        return Memory(forward=forward, inference=forward, backward=y + sums + reach, gradients=(reach,))

    def _divisor(self, shape: tuple[int, ...], like: Tensor) -> Tensor | int:
        """D, (H_out, W_out)."""
        if self.divisor_override is not None:
            return self.divisor_override
        height, width = (
            like.new_tensor([self._counted(rule, i, n) for i in range(count)])
            for rule, n, count in zip(self.axes(), shape[-2:], self.windows(shape), strict=True)
        )
        return height.unsqueeze(1) * width

    def _counted(self, rule: Window, window: int, n: int) -> int:
        """How many pixels of a window count, along an axis of n."""
        margin = rule.before if self.count_include_pad else 0
        first = window * rule.stride - rule.before
        return min(first + rule.kernel, n + margin) - max(first, -margin)

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        height, width = self.axes()
        rows, columns = self.windows(tuple(x.shape))
        padded = self.padded(x, 0.0)
        sums = padded[..., tap(height, 0, rows), :].clone()
        for a in range(1, height.kernel):
            sums += padded[..., tap(height, a, rows), :]
        y = sums[..., tap(width, 0, columns)].clone()
        for b in range(1, width.kernel):
            y += sums[..., tap(width, b, columns)]
        y /= self._divisor(tuple(x.shape), y)
        return y, x.shape

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        if not needs.inputs[0]:
            return (None,), {}
        shape: tuple[int, ...] = saved
        height, width = self.axes()
        rows, columns = self.windows(shape)
        gsums = gy / self._divisor(shape, gy)
        reach = self.reach(shape)
        grows = gy.new_zeros((*gy.shape[:-1], reach[-1]))
        for b in range(width.kernel):
            grows[..., tap(width, b, columns)] += gsums
        gx = gy.new_zeros(reach)
        for a in range(height.kernel):
            gx[..., tap(height, a, rows), :] += grows
        return (self.cropped(gx, shape),), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"kernel_size": 2}, inputs=((2, 3, 6, 8),)),
        Case(fields={"kernel_size": 1}, inputs=((1, 1, 1, 1),)),
        Case(fields={"kernel_size": 3, "stride": 2, "padding": 1}, inputs=((1, 2, 7, 8),)),
        Case(fields={"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
             inputs=((1, 2, 7, 8),)),
        Case(fields={"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0)}, inputs=((2, 2, 5, 8),)),
        # the last window hangs over the padding too
        Case(fields={"kernel_size": (3, 4), "stride": (2, 3), "padding": 1, "ceil_mode": True},
             inputs=((2, 2, 6, 8),)),
        Case(fields={"kernel_size": (3, 4), "stride": (2, 3), "padding": 1, "ceil_mode": True,
                     "count_include_pad": False}, inputs=((2, 2, 6, 8),)),
        Case(fields={"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True}, inputs=((1, 2, 8, 5),)),
        Case(fields={"kernel_size": 5, "ceil_mode": True}, inputs=((1, 2, 3, 11),)),
        Case(fields={"kernel_size": 3, "stride": 2, "ceil_mode": True, "divisor_override": 7},
             inputs=((1, 2, 6, 8),)),
        Case(fields={"kernel_size": 2, "divisor_override": -3}, inputs=((1, 1, 4, 4),)),
        Case(fields={"kernel_size": 1, "stride": (3, 2)}, inputs=((1, 2, 6, 5),)),
        Case(fields={"kernel_size": 2, "stride": 1}, inputs=((3, 5, 6),)),
        Case(fields={"kernel_size": 2, "stride": 1}, inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"kernel_size": 2}, inputs=((0, 3, 4, 5),)),
    )  # fmt: skip
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"kernel_size": 0}, match="Expected 1 to"),
        BadCase(fields={"kernel_size": 2, "stride": 0}, match="Expected 1 to"),
        BadCase(fields={"kernel_size": 2, "padding": "same"}, match="Expected an integer"),
        BadCase(fields={"kernel_size": 3, "padding": 2}, match="at most half of kernel_size = 3"),
        BadCase(fields={"kernel_size": 2, "ceil_mode": 1}, match="valid boolean"),
        BadCase(fields={"kernel_size": 2, "count_include_pad": "no"}, match="valid boolean"),
        BadCase(fields={"kernel_size": 2, "divisor_override": 0}, match="other than 0"),
        BadCase(fields={"kernel_size": 2, "divisor_override": 1.5}, match="valid integer"),
        BadCase(fields={"kernel_size": 3}, inputs=((1, 3, 2, 9),), match="height 2 is too small"),
        BadCase(fields={"kernel_size": 3, "stride": 1, "ceil_mode": True}, inputs=((1, 3, 4, 2),),
                match="width 2 is too small"),
        BadCase(fields={"kernel_size": 2}, inputs=((4, 5),), match="expects pictures"),
        BadCase(fields={"kernel_size": 2}, inputs=((1, 1, 1, 4, 5),), match="expects pictures"),
    )  # fmt: skip


class AvgPool2d(Layer):
    """`AvgPool2d(kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None)`: as torch.nn.AvgPool2d, with a backward of its own.

    Input (N, C, H, W) or (C, H, W).

    Raises:
        ValueError: arguments that make no layer, or an input that does not fit.
    """

    spec_type = AvgPool2dSpec
