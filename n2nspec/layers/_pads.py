"""What layers that pad have in common; each differs in what the new pixels hold.

In: a subclass's mode. Out: everything else that a padding layer is. With x (N, C, H, W) or (C, H, W):

    forward    y = pad(x)
    backward   gx[i] = Σ of gy over the pixels that copy pixel i; 0 for one that was cut off
    sizes      H_out = H + top + bottom, W_out = W + left + right

Source: torch.nn.ZeroPad2d and its kin, https://docs.pytorch.org/docs/stable/nn.html#padding-layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from n2nspec.geometry import AxisRule, Border, elements
from n2nspec.layers._base import LayerSpec, Needs
from n2nspec.layers._fields import Sides
from n2nspec.layers._memory import Memory
from n2nspec.layers._padding import Mode, Pads, copying_bytes, pad, smallest, unpad

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PadSpec"]


class PadSpec(LayerSpec):
    """A layer that grows or crops the picture. Backward needs nothing of the forward pass."""

    padding: Sides = Field(
        description="Pixels added on every side, or left, right, top and bottom; negative ones are cut off."
    )

    mode: ClassVar[Mode] = "zeros"
    spatial: ClassVar[bool] = True

    def fill(self) -> float:
        """What the new pixels hold, in mode "zeros"."""
        return 0.0

    def pads(self) -> Pads:
        """(before, after) for height and width."""
        left, right, top, bottom = self.padding
        return (top, bottom), (left, right)

    def axes(self) -> tuple[AxisRule, AxisRule]:
        height, width = (
            Border(before=before, after=after, smallest=smallest(self.mode, before, after))
            for before, after in self.pads()
        )
        return height, width

    def sees_whole_picture(self) -> bool:
        # the left border reads the right one
        return self.mode == "circular" and max(self.padding) > 0

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        """Zeros are added at once, and their gradient is a view unless something was cut off as well."""
        x, y = elements(inputs[0]) * item, elements(output) * item
        if not any(self.padding):
            return Memory(forward=0, inference=0, backward=0, gradients=(0,))
        if self.mode == "zeros":
            gradient = x if min(self.padding) < 0 else 0
            return Memory(forward=y, inference=y, backward=gradient, gradients=(gradient,))
        forward, backward = copying_bytes(inputs[0], output, item)
        return Memory(forward=forward, inference=forward, backward=backward, gradients=(x,))

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        return pad(xs[0], self.pads(), self.mode, self.fill()), None

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        return (unpad(gy, self.pads(), self.mode) if needs.inputs[0] else None,), {}
