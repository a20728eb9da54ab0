"""ReplicationPad2d: the outermost pixels repeated.

    forward    y[…, i, j] = x[…, c(i - top, H), c(j - left, W)], c(k, n) = min(max(k, 0), n - 1)
    backward   gx = Σ of gy over the pixels that copy one; 0 for a pixel that was cut off
    sizes      H_out = H + top + bottom, W_out = W + left + right

Source: torch.nn.ReplicationPad2d, https://docs.pytorch.org/docs/stable/generated/torch.nn.ReplicationPad2d.html.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from n2nspec.layers._base import BadCase, Case
from n2nspec.layers._module import Layer
from n2nspec.layers._padding import Mode
from n2nspec.layers._pads import PadSpec

__all__ = ["ReplicationPad2d", "ReplicationPad2dSpec"]


class ReplicationPad2dSpec(PadSpec):
    """Repeats the picture's outermost pixels."""

    type: Literal["ReplicationPad2d"] = "ReplicationPad2d"

    mode: ClassVar[Mode] = "replicate"
    twin: ClassVar[str] = "torch.nn.ReplicationPad2d"

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"padding": 1}, inputs=((2, 3, 4, 5),)),
        Case(fields={"padding": (1, 2, 0, 3)}, inputs=((1, 2, 5, 4),)),
        Case(fields={"padding": 0}, inputs=((1, 1, 1, 1),)),
        Case(fields={"padding": (9, 7, 8, 9)}, inputs=((1, 2, 1, 2),)),
        Case(fields={"padding": (-7, 9, 6, -7)}, inputs=((1, 2, 5, 6),)),
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
        BadCase(fields={"padding": (0, 0, -2, -1)}, inputs=((1, 3, 2, 9),), match="height 2 is too small"),
        BadCase(fields={"padding": 1}, inputs=((4, 5),), match="expects pictures"),
        BadCase(fields={"padding": 1}, inputs=((1, 1, 1, 4, 5),), match="expects pictures"),
    )


class ReplicationPad2d(Layer):
    """`ReplicationPad2d(padding)`: as torch.nn.ReplicationPad2d, with a backward of its own.

    `padding` is a number of pixels for every side, or (left, right, top, bottom); negative ones crop.
    Input (N, C, H, W) or (C, H, W).

    Raises:
        ValueError: arguments that make no layer, or an input that does not fit.
    """

    spec_type = ReplicationPad2dSpec
