"""CropLike: the middle of the first input, as high and wide as the second.

    forward    y = x[…, t : t + h, l : l + w]   with t = floor((H - h) / 2), l = floor((W - w) / 2)
    backward   gx = gy inside, 0 around; nothing for the second input, of which only the size counts
    sizes      (C of the first, h and w of the second), which must not be larger than H and W

For skips whose two ends differ in size: convolutions without padding, or odd sizes on the way.

Source: the "copy and crop" of Ronneberger et al. 2015, U-Net, section 2. torch has no such module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from n2nspec._lazy import torch
from n2nspec.geometry import AxisRule, Cut, Dim, Shape, Shift, constant
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs
from n2nspec.layers._joins import cropped
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CropLike", "CropLikeSpec"]


class CropLikeSpec(LayerSpec):
    """Cuts the first input to the height and width of the second, around the middle."""

    type: Literal["CropLike"] = "CropLike"

    arity: ClassVar[int] = 2
    most_inputs: ClassVar[int | None] = 2
    twin: ClassVar[str] = "n2nspec.oracle.joins.CropLike"

    def infer(self, inputs: tuple[Shape, ...]) -> Shape:
        return cropped(self.type, *inputs)

    def input_axes(self, inputs: tuple[Shape, ...]) -> tuple[tuple[AxisRule, AxisRule] | None, ...]:
        x, reference = inputs
        return (_offset(x[-2], reference[-2]), _offset(x[-1], reference[-1])), None

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        x, reference = xs
        height, width = reference.shape[-2:]
        top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
        y = x[..., top : top + height, left : left + width].clone()  # a view would keep all of x
        return y, (tuple(x.shape), tuple(reference.shape))

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        shape, reference = saved
        gx = None
        if needs.inputs[0]:
            rows, columns = shape[-2] - gy.shape[-2], shape[-1] - gy.shape[-1]
            top, left = rows // 2, columns // 2
            gx = torch.nn.functional.pad(gy, (left, columns - left, top, rows - top))
        return (gx, gy.new_zeros(reference) if needs.inputs[1] else None), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 7, 8), (2, 1, 4, 5))),
        Case(inputs=((3, 4, 5), (2, 4, 5))),
        Case(inputs=((1, 3, 5, 5), (1, 3, 4, 1))),
        Case(inputs=((0, 3, 5, 5), (0, 3, 4, 1))),
        Case(inputs=((2, 3, 7, 8), (2, 1, 4, 5)), contiguous=False),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(inputs=((2, 3, 4, 5), (2, 3, 4, 6)), match="width of its first input.*5 against 6"),
        BadCase(inputs=((4, 5), (4, 5)), match="expects pictures"),
    )


def _offset(dim: Dim, reference: Dim) -> AxisRule:
    """Where the cut begins along one axis, for the sizes that are left."""
    f, g = (constant(d) if isinstance(d, int) else d.function for d in (dim, reference))
    gaps = f.gaps(g)
    return Cut(1) if gaps is None else Shift(gaps[0] // 2, gaps[1] // 2)


class CropLike(Layer):
    """`CropLike()`: `forward(x, reference)` cuts x to the reference's height and width, around the middle.

    Raises:
        ValueError: the reference is higher or wider, or one of them is no picture.
    """

    spec_type = CropLikeSpec
