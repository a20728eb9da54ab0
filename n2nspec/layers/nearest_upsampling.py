"""NearestUpsampling: every pixel is repeated s_h times downwards and s_w times to the right.

With x of shape (N, C, H, W) or (C, H, W):

    forward    y[…, i, j] = x[…, i // s_h, j // s_w]
    backward   gx[…, i, j] = Σ of gy over the s_h · s_w repetitions of pixel (i, j)
    sizes      H_out = s_h·H, W_out = s_w·W

Source: the source report, section 1.1.3 (repeat_interleave forward). Its backward unfolds gy with kernel and
stride s; the blocks do not overlap, so a view with one axis a block and one within it is the same sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from n2nspec.geometry import AxisRule, Repeat, elements
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs
from n2nspec.layers._fields import PositivePair
from n2nspec.layers._memory import Memory
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NearestUpsampling", "NearestUpsamplingSpec"]


class NearestUpsamplingSpec(LayerSpec):
    """Nearest-neighbour upsampling by whole factors."""

    type: Literal["NearestUpsampling"] = "NearestUpsampling"
    scale_factor: PositivePair = Field(description="How often each pixel is repeated in height and width.")

    spatial: ClassVar[bool] = True
    twin: ClassVar[str] = "torch.nn.Upsample"

    def axes(self) -> tuple[AxisRule, AxisRule]:
        return Repeat(self.scale_factor[0]), Repeat(self.scale_factor[1])

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        x, y = elements(inputs[0]) * item, elements(output) * item
        rows = x * self.scale_factor[0]  # the picture that has grown in height only
        return Memory(forward=rows + y, inference=rows + y, backward=x, gradients=(x,))

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        s_h, s_w = self.scale_factor
        return xs[0].repeat_interleave(s_h, -2).repeat_interleave(s_w, -1), None

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        if not needs.inputs[0]:
            return (None,), {}
        s_h, s_w = self.scale_factor
        *outer, h, w = gy.shape
        blocks = gy.reshape(*outer, h // s_h, s_h, w // s_w, s_w)
        return (blocks.sum((-3, -1)),), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"scale_factor": 2}, inputs=((2, 3, 4, 5),)),
        Case(fields={"scale_factor": (3, 2)}, inputs=((1, 2, 3, 4),)),
        Case(fields={"scale_factor": 1}, inputs=((1, 1, 1, 1),)),
        Case(fields={"scale_factor": (1, 4)}, inputs=((3, 5, 2),)),
        Case(fields={"scale_factor": 2}, inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"scale_factor": 2}, inputs=((0, 3, 4, 5),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"scale_factor": 0}, match="Expected 1 to"),
        BadCase(fields={"scale_factor": 1.5}, match="Expected an integer"),
        BadCase(fields={"scale_factor": (2, 2, 2)}, match="Expected an integer"),
        BadCase(fields={"scale_factor": 2}, inputs=((4, 5),), match="expects pictures"),
        BadCase(fields={"scale_factor": 2}, inputs=((1, 1, 1, 4, 5),), match="expects pictures"),
        BadCase(fields={"scale_factor": 2}, inputs=((1, 1, 0, 5),), match="height 0 is too small"),
    )


class NearestUpsampling(Layer):
    """`NearestUpsampling(scale_factor)`: as torch.nn.Upsample(scale_factor=…, mode="nearest") for a whole
    number or a (height, width) pair of them.

    Input (N, C, H, W) or one picture (C, H, W), as Conv2d takes it. (torch.nn.Upsample reads three
    dimensions as (N, C, L), a batch of signals; here they are never that.)

    Raises:
        ValueError: factors that are not whole numbers, or an input that is no picture.
    """

    spec_type = NearestUpsamplingSpec
