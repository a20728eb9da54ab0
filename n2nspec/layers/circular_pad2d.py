"""CircularPad2d: the opposite side goes on, as on a torus.

    forward    y[…, i, j] = x[…, (i - top) mod H, (j - left) mod W]
    backward   gx = Σ of gy over the pixels that copy one; 0 for a pixel that was cut off
    sizes      H_out = H + top + bottom, W_out = W + left + right;
               at least `padding` pixels are needed, as the picture goes round once

What a negative number cuts off is gone before the circle is closed. A side that is left with fewer pixels
than the other adds is refused (torch then copies memory that it has not written).

Source: torch.nn.CircularPad2d, https://docs.pytorch.org/docs/stable/generated/torch.nn.CircularPad2d.html.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from n2nspec.layers._base import BadCase, Case
from n2nspec.layers._module import Layer
from n2nspec.layers._padding import Mode
from n2nspec.layers._pads import PadSpec

__all__ = ["CircularPad2d", "CircularPad2dSpec"]


class CircularPad2dSpec(PadSpec):
    """Continues the picture with its opposite side."""

    type: Literal["CircularPad2d"] = "CircularPad2d"

    mode: ClassVar[Mode] = "circular"
    twin: ClassVar[str] = "torch.nn.CircularPad2d"

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"padding": 1}, inputs=((2, 3, 4, 5),)),
        Case(fields={"padding": (1, 2, 0, 3)}, inputs=((1, 2, 5, 4),)),
        Case(fields={"padding": 0}, inputs=((1, 1, 1, 1),)),
        Case(fields={"padding": (3, 2, 4, 4)}, inputs=((1, 2, 4, 3),)),
        Case(fields={"padding": (-1, 2, 3, -2)}, inputs=((2, 2, 5, 6),)),
        Case(fields={"padding": -1}, inputs=((1, 3, 4, 5),)),
        Case(fields={"padding": (2, 0, 1, 1)}, inputs=((3, 4, 5),)),
        Case(fields={"padding": (0, 1, 2, 1)}, inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"padding": 1}, inputs=((0, 3, 4, 5),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"padding": 1.5}, match="Expected an integer, or four"),
        BadCase(fields={"padding": True}, match="Expected an integer, or four"),
        BadCase(fields={"padding": (1, 2)}, match="Expected an integer, or four"),
        BadCase(fields={"padding": "1"}, match="Expected an integer, or four"),
        BadCase(fields={"padding": 70_000}, match="Expected -65535 to 65535"),
        BadCase(fields={"padding": (1, 1, 3, 0)}, inputs=((1, 3, 2, 9),), match="height 2 is too small"),
        BadCase(fields={"padding": 1}, inputs=((4, 5),), match="expects pictures"),
        BadCase(fields={"padding": 1}, inputs=((1, 1, 1, 4, 5),), match="expects pictures"),
    )


class CircularPad2d(Layer):
    """`CircularPad2d(padding)`: as torch.nn.CircularPad2d, with a backward of its own.

    `padding` is a number of pixels for every side, or (left, right, top, bottom); negative ones crop.
    Input (N, C, H, W) or (C, H, W).

    Raises:
        ValueError: arguments that make no layer, or an input that does not fit.
    """

    spec_type = CircularPad2dSpec
