"""CenterCrop: the middle of a picture, of a fixed size.

    forward    y = x[…, t : t + h, l : l + w]   with t = floor((H - h) / 2), l = floor((W - w) / 2)
    backward   gx = gy inside, 0 around
    sizes      (C, h, w), of pictures at least that large

torch.nn has no such module; torchvision's rounds halves to even and pads pictures that are too small.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from n2nspec._lazy import torch
from n2nspec.geometry import AxisRule, Cut, Shape, Shift
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs
from n2nspec.layers._fields import PositivePair
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CenterCrop", "CenterCropSpec"]


class CenterCropSpec(LayerSpec):
    """Cuts a picture to a fixed size, around the middle."""

    type: Literal["CenterCrop"] = "CenterCrop"
    size: PositivePair = Field(description="Height and width that are left.")

    spatial: ClassVar[bool] = True
    twin: ClassVar[str] = "n2nspec.oracle.joins.CenterCrop"

    def axes(self) -> tuple[AxisRule, AxisRule]:
        return Cut(self.size[0]), Cut(self.size[1])

    def input_axes(self, inputs: tuple[Shape, ...]) -> tuple[tuple[AxisRule, AxisRule] | None, ...]:
        """Exact for numbers; of a size that varies, the middle is somewhere else each time."""
        height, width = (
            Shift((n - size) // 2, (n - size) // 2) if isinstance(n, int) else Cut(size)
            for n, size in zip(inputs[0][-2:], self.size, strict=True)
        )
        return ((height, width),)

    def _margins(self, x: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Pixels left, right, above and below the cut, in the order of torch's pad."""
        rows, columns = x[-2] - self.size[0], x[-1] - self.size[1]
        top, left = rows // 2, columns // 2
        return left, columns - left, top, rows - top

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        left, _, top, _ = self._margins(tuple(x.shape))
        height, width = self.size
        return x[..., top : top + height, left : left + width].clone(), tuple(x.shape)

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        return (torch.nn.functional.pad(gy, self._margins(saved)) if needs.inputs[0] else None,), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"size": 4}, inputs=((2, 3, 7, 8),)),
        Case(fields={"size": (3, 5)}, inputs=((3, 4, 5),)),
        Case(fields={"size": 1}, inputs=((1, 3, 1, 6),)),
        Case(fields={"size": 2}, inputs=((0, 3, 4, 5),)),
        Case(fields={"size": (2, 3)}, inputs=((2, 3, 7, 8),), contiguous=False),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"size": 0}, match="Expected 1 to"),
        BadCase(fields={"size": (2, 3, 4)}, match="Expected an integer"),
        BadCase(fields={"size": 4}, inputs=((1, 3, 3, 9),), match="height 3 is too small"),
    )


class CenterCrop(Layer):
    """`CenterCrop(size)`: the middle `size` pixels (one number, or height and width) of a picture.

    Raises:
        ValueError: a size below 1, or a picture that is smaller.
    """

    spec_type = CenterCropSpec
