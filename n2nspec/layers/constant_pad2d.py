"""ConstantPad2d: a border of one number.

    forward    y[…, i, j] = x[…, i - top, j - left] inside the picture, else value
    backward   gx[…, i, j] = gy[…, i + top, j + left], and 0 for a pixel that was cut off
    sizes      H_out = H + top + bottom, W_out = W + left + right

Source: torch.nn.ConstantPad2d, https://docs.pytorch.org/docs/stable/generated/torch.nn.ConstantPad2d.html.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from n2nspec.layers._base import BadCase, Case
from n2nspec.layers._fields import Number
from n2nspec.layers._module import Layer
from n2nspec.layers._pads import PadSpec

__all__ = ["ConstantPad2d", "ConstantPad2dSpec"]


class ConstantPad2dSpec(PadSpec):
    """One number around the picture."""

    type: Literal["ConstantPad2d"] = "ConstantPad2d"
    value: Number = Field(description="What the new pixels hold.")

    twin: ClassVar[str] = "torch.nn.ConstantPad2d"

    def fill(self) -> float:
        return self.value

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"padding": 1, "value": 0.5}, inputs=((2, 3, 4, 5),)),
        Case(fields={"padding": (1, 2, 0, 3), "value": -1}, inputs=((1, 2, 5, 4),)),
        Case(fields={"padding": 0, "value": 0}, inputs=((1, 1, 1, 1),)),
        Case(fields={"padding": 9, "value": 7}, inputs=((1, 1, 1, 2),)),
        Case(fields={"padding": (-6, 1, 0, 0), "value": 0.25}, inputs=((1, 2, 3, 6),)),
        Case(fields={"padding": (-1, 2, 3, -2), "value": 3}, inputs=((2, 2, 5, 6),)),
        Case(fields={"padding": -1, "value": 1e3}, inputs=((1, 3, 4, 5),)),
        Case(fields={"padding": (2, 0, 1, 1), "value": 2}, inputs=((3, 4, 5),)),
        Case(fields={"padding": (0, 1, 2, 1), "value": 0.0}, inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"padding": 1, "value": 1}, inputs=((0, 3, 4, 5),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"padding": 1.5, "value": 0.5}, match="Expected an integer, or four"),
        BadCase(fields={"padding": True, "value": 0.5}, match="Expected an integer, or four"),
        BadCase(fields={"padding": (1, 2), "value": 0.5}, match="Expected an integer, or four"),
        BadCase(fields={"padding": "1", "value": 0.5}, match="Expected an integer, or four"),
        BadCase(fields={"padding": 70_000, "value": 0.5}, match="Expected -65535 to 65535"),
        BadCase(fields={"padding": 1, "value": "0"}, match="valid number"),
        BadCase(fields={"padding": 1, "value": True}, match="valid number"),
        BadCase(fields={"padding": 1, "value": float("nan")}, match="finite"),
        BadCase(
            fields={"padding": (0, 0, -2, -1), "value": 0.5},
            inputs=((1, 3, 2, 9),),
            match="height 2 is too small",
        ),
    )


class ConstantPad2d(Layer):
    """`ConstantPad2d(padding, value)`: as torch.nn.ConstantPad2d, with a backward of its own.

    `padding` is a number of pixels for every side, or (left, right, top, bottom); negative ones crop.
    Input (N, C, H, W) or (C, H, W).

    Raises:
        ValueError: arguments that make no layer, or an input that does not fit.
    """

    spec_type = ConstantPad2dSpec
