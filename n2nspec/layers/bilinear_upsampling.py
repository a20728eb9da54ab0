"""BilinearUpsampling: linear interpolation between pixels, by whole factors.

Along one axis of n pixels and with factor s, output pixel j lies between input pixels ⌊t_j⌋ and ⌊t_j⌋ + 1:

    t_j = max(0, (j + 1/2) / s - 1/2)       pixels are squares, and the picture's edges stay where they are
    t_j = j·(n - 1) / (s·n - 1)             align_corners: pixels are points, and the outermost stay

    forward    y[j] = (1 - w)·x[⌊t⌋] + w·x[⌊t⌋ + 1], w = t - ⌊t⌋; along height, then along width
    backward   gx = Σ of gy[j] · the pixel's weight in y[j]; along width, then along height
    sizes      H_out = s_h·H, W_out = s_w·W

Beyond the last pixel it is repeated. t_j is a quotient of integers, so ⌊t⌋ is exact. Without align_corners w
depends on j modulo s alone: each such phase is a sum of two shifts of the picture, its outermost pixels
repeated, and the phases are woven together. With align_corners pixels are gathered one by one.

Source: torch.nn.Upsample with mode = "bilinear",
https://docs.pytorch.org/docs/stable/generated/torch.nn.Upsample.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from n2nspec._lazy import torch
from n2nspec.geometry import AxisRule, Blend, elements
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs
from n2nspec.layers._fields import PositivePair, Switch
from n2nspec.layers._memory import Memory
from n2nspec.layers._module import Layer
from n2nspec.layers._padding import taken

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BilinearUpsampling", "BilinearUpsamplingSpec"]


class BilinearUpsamplingSpec(LayerSpec):
    """Bilinear upsampling by whole factors."""

    type: Literal["BilinearUpsampling"] = "BilinearUpsampling"
    scale_factor: PositivePair = Field(description="Pixels that each pixel becomes, in height and width.")
    align_corners: Switch = Field(False, description="Keep the outermost pixels where they are.")

    spatial: ClassVar[bool] = True
    twin: ClassVar[str] = "torch.nn.Upsample"

    def axes(self) -> tuple[AxisRule, AxisRule]:
        return Blend(self.scale_factor[0]), Blend(self.scale_factor[1])

    def sees_whole_picture(self) -> bool:
        # how far pixels move depends on the size of the picture
        return self.align_corners and self.scale_factor != (1, 1)

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        x, y = elements(inputs[0]) * item, elements(output) * item
        rows = x * self.scale_factor[0]  # the picture that has grown in height only
        if not self.align_corners:
            return self._memory_of_phases(inputs[0], x, rows, y)
        forward = max(3 * rows, rows + 3 * y)  # two weighted neighbours and their sum
        backward = max(y + 2 * rows, 3 * rows + 2 * x)
        return Memory(forward=forward, inference=forward, backward=backward, gradients=(x,))

    def _memory_of_phases(self, shape: tuple[int, ...], x: int, rows: int, y: int) -> Memory:
        """Of each axis that grows: a padded picture, its phases, the last one's two parts, what they become;
        backward sums of phases by where they begin, which are then padded and added."""
        (height, width), (down, along) = shape[-2:], self.scale_factor
        forward = backward = 0
        if down > 1:
            forward = x * (height + 2) // height + max(2 * rows, (down + 2) * x)
            backward = (rows if along > 1 else 0) + 3 * x + 3 * x * (height + 2) // height
        if along > 1:
            own = rows * (width + 2) // width
            forward = max(forward, (rows if down > 1 else 0) + own + max(2 * y, (along + 2) * rows))
            backward = max(backward, 3 * rows + 3 * own)
        kept = x if max(down, along) > 1 else 0
        return Memory(forward=forward, inference=forward, backward=backward, gradients=(kept,))

    def _neighbours(self, n: int, factor: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """With align_corners, for each output pixel of an axis the pixel before it, the one after it, and the
        latter's weight."""
        j = torch.arange(n * factor, device=like.device)
        numerator, denominator = j * (n - 1), max(n * factor - 1, 1)
        before = numerator // denominator
        weight = (numerator % denominator).to(like.dtype) / denominator
        return before, (before + 1).clamp(max=n - 1), weight

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        y = x
        for axis, factor in zip((-2, -1), self.scale_factor, strict=True):
            if not self.align_corners:
                y = _blended(y, axis, factor)
                continue
            before, after, weight = self._neighbours(x.shape[axis], factor, x)
            weight = weight.unsqueeze(-1) if axis == -2 else weight
            y = taken(y, axis, before) * (1 - weight) + taken(y, axis, after) * weight
        return y, x.shape

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        if not needs.inputs[0]:
            return (None,), {}
        g = gy
        for axis, factor in zip((-1, -2), reversed(self.scale_factor), strict=True):
            if not self.align_corners:
                g = _gathered(g, axis, factor)
                continue
            before, after, weight = self._neighbours(saved[axis], factor, gy)
            weight = weight.unsqueeze(-1) if axis == -2 else weight
            shape = list(g.shape)
            shape[axis] = saved[axis]
            gx = g.new_zeros(shape).index_add(axis, before, g * (1 - weight))
            g = gx.index_add(axis, after, g * weight)
        return (g,), {}

    def twin_fields(self) -> dict[str, Any]:
        return {**super().twin_fields(), "mode": "bilinear"}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"scale_factor": 2}, inputs=((2, 3, 4, 5),)),
        Case(fields={"scale_factor": 2, "align_corners": True}, inputs=((2, 3, 4, 5),)),
        Case(fields={"scale_factor": (3, 4)}, inputs=((1, 2, 3, 4),)),
        Case(fields={"scale_factor": (3, 1), "align_corners": True}, inputs=((1, 2, 3, 4),)),
        Case(fields={"scale_factor": 1}, inputs=((1, 1, 2, 3),)),
        Case(fields={"scale_factor": 1, "align_corners": True}, inputs=((1, 1, 1, 3),)),
        Case(fields={"scale_factor": 3}, inputs=((1, 1, 1, 1),)),
        Case(fields={"scale_factor": 3, "align_corners": True}, inputs=((1, 1, 1, 2),)),
        Case(fields={"scale_factor": (1, 5)}, inputs=((3, 5, 2),)),
        Case(fields={"scale_factor": 2, "align_corners": True}, inputs=((3, 1, 2),)),
        Case(fields={"scale_factor": 2}, inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"scale_factor": 2}, inputs=((0, 3, 4, 5),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"scale_factor": 0}, match="Expected 1 to"),
        BadCase(fields={"scale_factor": 1.5}, match="Expected an integer"),
        BadCase(fields={"scale_factor": (2, 2, 2)}, match="Expected an integer"),
        BadCase(fields={"scale_factor": 2, "align_corners": 1}, match="valid boolean"),
        BadCase(fields={"scale_factor": 2}, inputs=((4, 5),), match="expects pictures"),
        BadCase(fields={"scale_factor": 2}, inputs=((1, 1, 1, 4, 5),), match="expects pictures"),
        BadCase(fields={"scale_factor": 2}, inputs=((1, 1, 0, 5),), match="height 0 is too small"),
    )


def _phases(factor: int) -> Iterator[tuple[int, float]]:
    """For each j modulo the factor, ⌊t⌋ - ⌊j / s⌋, which is -1 or 0, and the weight w."""
    for r in range(factor):
        before, rest = divmod(2 * r + 1 - factor, 2 * factor)
        yield before, rest / (2 * factor)


def _blended(x: Tensor, axis: int, factor: int) -> Tensor:
    """The picture, grown along an axis."""
    if factor == 1:
        return x
    n, behind = x.shape[axis], x.dim() + axis + 1
    padded = torch.cat([x.narrow(axis, 0, 1), x, x.narrow(axis, n - 1, 1)], axis)
    parts = [
        padded.narrow(axis, before + 1, n) * (1 - weight) + padded.narrow(axis, before + 2, n) * weight
        for before, weight in _phases(factor)
    ]
    return torch.stack(parts, behind).flatten(behind - 1, behind)


def _gathered(g: Tensor, axis: int, factor: int) -> Tensor:
    """The adjoint of `_blended`."""
    if factor == 1:
        return g
    n, behind = g.shape[axis] // factor, g.dim() + axis + 1
    parts = g.reshape(*g.shape[: behind - 1], n, factor, *g.shape[behind:]).unbind(behind)
    shares = [
        (before + 1 + late, weight if late else 1 - weight, part)
        for (before, weight), part in zip(_phases(factor), parts, strict=True)
        for late in (0, 1)
    ]
    # by the place of their first pixel in the padded picture
    sums = [_sum(part * share for place, share, part in shares if place == p and share) for p in range(3)]
    found = _sum(
        torch.nn.functional.pad(part, (p, 2 - p) if axis == -1 else (0, 0, p, 2 - p))
        for p, part in enumerate(sums)
        if part is not None
    )
    assert found is not None
    gx = found.narrow(axis, 1, n).clone()
    gx.narrow(axis, 0, 1).add_(found.narrow(axis, 0, 1))
    gx.narrow(axis, n - 1, 1).add_(found.narrow(axis, n + 1, 1))
    return gx


def _sum(parts: Iterable[Tensor]) -> Tensor | None:
    """None of nothing."""
    found: Tensor | None = None
    for part in parts:
        found = part if found is None else found + part
    return found


class BilinearUpsampling(Layer):
    """`BilinearUpsampling(scale_factor, align_corners=False)`: as torch.nn.Upsample(scale_factor=…,
    mode="bilinear") for a whole number or a (height, width) pair of them.

    Input (N, C, H, W) or one picture (C, H, W).

    Raises:
        ValueError: factors that are not whole numbers, or an input that is no picture.
    """

    spec_type = BilinearUpsamplingSpec
