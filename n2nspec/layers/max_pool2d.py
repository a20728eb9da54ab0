"""MaxPool2d: the largest number of each window.

With s the stride, d the dilation, p the padding, k the kernel, and -∞ beyond the picture's borders:

    forward    y[…, i, j] = max over a, b of x[…, i·s_h - p_h + a·d_h, j·s_w - p_w + b·d_w]
    backward   gx = Σ of gy over the windows that took that pixel
    sizes      H_out = floor((H + 2·p - d·(k - 1) - 1) / s) + 1, and W_out alike; with ceil_mode rounded up,
               but without a window that would start beyond the picture; H ≥ (-p) mod d + 1, as a window
               without a pixel has no largest number (torch's index of it lies outside the picture)

Of equal numbers the first counts, row by row, and of NaNs the last, as in torch. Forward keeps which place of
the window it took, a byte a window (for more than 256 places: eight).

Source: torch.nn.MaxPool2d, https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from n2nspec._lazy import torch
from n2nspec.geometry import Window, elements
from n2nspec.layers._base import BadCase, Case, Needs, Saved
from n2nspec.layers._fields import PositivePair, Switch
from n2nspec.layers._memory import Memory
from n2nspec.layers._module import Layer
from n2nspec.layers._pooling import PoolSpec, tap

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MaxPool2d", "MaxPool2dSpec"]


def _no_indices(value: bool) -> bool:
    if value:
        raise PydanticCustomError(
            "return_indices",
            "must be false: a layer gives one value, the largest numbers, not where they are",
        )
    return value


class MaxPool2dSpec(PoolSpec):
    """The largest number of each window."""

    type: Literal["MaxPool2d"] = "MaxPool2d"
    dilation: PositivePair = Field((1, 1), description="Distance between the window's pixels.")
    return_indices: Annotated[
        bool, Strict(), AfterValidator(_no_indices), WithJsonSchema({"const": False})
    ] = Field(False, description="Always false: a layer of a graph gives one value.")
    ceil_mode: Switch = Field(False, description="Let the last window hang over the end of the picture.")

    twin: ClassVar[str] = "torch.nn.MaxPool2d"

    def axes(self) -> tuple[Window, Window]:
        return self._windows(ceil=self.ceil_mode, dilation=self.dilation)

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        return (Saved(of="own", size=elements(output), item_bytes=1 if self._places() <= 256 else 8),)

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        y, reach = elements(output), elements(self.reach(inputs[0])) * item
        padded = reach if self.reach(inputs[0]) != inputs[0] else 0
        taken = y * (1 if self._places() <= 256 else 8)
        # the old and the new maximum and a mask, or one of them and four masks
        forward = padded + taken + y * max(2 * item + 1, item + 4)
        return Memory(forward=forward, inference=forward, backward=reach + y * (item + 1), gradients=(reach,))

    def _places(self) -> int:
        return self.kernel_size[0] * self.kernel_size[1]

    def _taps(self, windows: tuple[int, int]) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Each place of the window with where it lies in the padded picture, row by row."""
        height, width = self.axes()
        for place, (a, b) in enumerate(product(range(height.kernel), range(width.kernel))):
            yield place, (..., tap(height, a, windows[0]), tap(width, b, windows[1]))

    def _first(self, windows: tuple[int, int]) -> Tensor:
        """The first place of each window that lies in the picture, which torch takes where all are -∞."""
        height, width = (
            torch.tensor([-(min(i * rule.stride - rule.before, 0) // rule.dilation) for i in range(count)])
            for rule, count in zip(self.axes(), windows, strict=True)
        )
        return height.unsqueeze(1) * self.kernel_size[1] + width

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        windows = self.windows(tuple(x.shape))
        padded = self.padded(x, -torch.inf)
        y = x.new_full((*x.shape[:-2], *windows), -torch.inf)
        taken = torch.empty_like(y, dtype=torch.uint8 if self._places() <= 256 else torch.int64)
        taken.copy_(self._first(windows))
        for place, where in self._taps(windows):
            candidate = padded[where]
            better = (candidate > y) | candidate.isnan()
            y = torch.where(better, candidate, y)
            taken.masked_fill_(better, place)
        return y, (taken, x.shape)

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        if not needs.inputs[0]:
            return (None,), {}
        taken, shape = saved
        gx = gy.new_zeros(self.reach(shape))
        for place, where in self._taps(self.windows(shape)):
            gx[where] += torch.where(taken == place, gy, 0)
        return (self.cropped(gx, shape),), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"kernel_size": 2}, inputs=((2, 3, 6, 8),)),
        Case(fields={"kernel_size": 1}, inputs=((1, 1, 1, 1),)),
        Case(fields={"kernel_size": 3, "stride": 2, "padding": 1}, inputs=((1, 2, 7, 8),)),
        Case(fields={"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0)}, inputs=((2, 2, 5, 8),)),
        Case(fields={"kernel_size": 3, "stride": 1, "padding": 1, "dilation": (2, 3)},
             inputs=((1, 2, 6, 8),)),
        Case(fields={"kernel_size": 3, "stride": 2, "ceil_mode": True}, inputs=((2, 2, 6, 8),)),
        # a window that would start in the padding is dropped
        Case(fields={"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True}, inputs=((1, 2, 8, 5),)),
        Case(fields={"kernel_size": 5, "ceil_mode": True}, inputs=((1, 2, 3, 11),)),
        Case(fields={"kernel_size": 2, "padding": 1, "dilation": 3, "stride": 2, "ceil_mode": True},
             inputs=((2, 1, 3, 4),)),
        Case(fields={"kernel_size": 1, "stride": (3, 2)}, inputs=((1, 2, 6, 5),)),
        Case(fields={"kernel_size": 17, "stride": 2}, inputs=((1, 1, 18, 19),)),
        Case(fields={"kernel_size": 2, "dilation": 2, "return_indices": False}, inputs=((3, 5, 6),)),
        Case(fields={"kernel_size": 2, "stride": 1}, inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"kernel_size": 2}, inputs=((0, 3, 4, 5),)),
    )  # fmt: skip
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"kernel_size": 0}, match="Expected 1 to"),
        BadCase(fields={"kernel_size": 2.0}, match="Expected an integer"),
        BadCase(fields={"kernel_size": 2, "stride": 0}, match="Expected 1 to"),
        BadCase(fields={"kernel_size": 2, "padding": -1}, match="Expected 0 to"),
        BadCase(fields={"kernel_size": 3, "padding": 2}, match="at most half of kernel_size = 3"),
        BadCase(fields={"kernel_size": (4, 3), "padding": 2}, match="at most half of kernel_size = 3"),
        BadCase(fields={"kernel_size": 3, "padding": 2, "dilation": 2}, match="at most half"),
        BadCase(fields={"kernel_size": 2, "dilation": 0}, match="Expected 1 to"),
        BadCase(fields={"kernel_size": 2, "return_indices": True}, match="return_indices: must be false"),
        BadCase(fields={"kernel_size": 2, "return_indices": 0}, match="valid boolean"),
        BadCase(fields={"kernel_size": 2, "ceil_mode": 1}, match="valid boolean"),
        BadCase(fields={"kernel_size": 3}, inputs=((1, 3, 2, 9),), match="height 2 is too small"),
        BadCase(fields={"kernel_size": 3, "stride": 1, "ceil_mode": True}, inputs=((1, 3, 4, 2),),
                match="width 2 is too small"),
        BadCase(fields={"kernel_size": 2}, inputs=((4, 5),), match="expects pictures"),
        BadCase(fields={"kernel_size": 2}, inputs=((1, 1, 1, 4, 5),), match="expects pictures"),
    )  # fmt: skip


class MaxPool2d(Layer):
    """`MaxPool2d(kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False)`: as
    torch.nn.MaxPool2d, with a backward of its own; the indices are not given out.

    Input (N, C, H, W) or (C, H, W).

    Raises:
        ValueError: arguments that make no layer, or an input that does not fit.
    """

    spec_type = MaxPool2dSpec
