"""Concat: its inputs side by side along one axis, as the skips of a U-Net.

    forward    y = x₁ ‖ x₂ ‖ …        (along `dim`)
    backward   gxᵢ = the part of gy that xᵢ became
    sizes      along `dim` the sum of the inputs', along every other axis the same for all

Source: torch.cat, https://docs.pytorch.org/docs/stable/generated/torch.cat.html; Ronneberger et al. 2015,
U-Net, section 2. torch has no such module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, Strict

from n2nspec._lazy import torch
from n2nspec.geometry import SAME, AxisRule, Cut, Shape, ShapeError, elements, render_shape, total
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs
from n2nspec.layers._joins import common, same_rank
from n2nspec.layers._memory import Memory
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Concat", "ConcatSpec"]


class ConcatSpec(LayerSpec):
    """Values one after the other along an axis; the channels unless another one is named."""

    type: Literal["Concat"] = "Concat"
    dim: Annotated[int, Strict(), Field(ge=-8, le=7)] = Field(
        1, description="The axis to join along; 1 is that of the channels, for a batch of pictures."
    )

    arity: ClassVar[int] = 1
    most_inputs: ClassVar[int | None] = None
    twin: ClassVar[str] = "n2nspec.oracle.joins.Concat"

    def infer(self, inputs: tuple[Shape, ...]) -> Shape:
        axis = self._axis(inputs)
        joined = list(common(self.type, inputs, but=axis))
        joined[axis] = total(shape[axis] for shape in inputs)
        return tuple(joined)

    def _axis(self, inputs: tuple[Shape, ...]) -> int:
        rank = same_rank(self.type, inputs)
        if not -rank <= self.dim < rank:
            raise ShapeError(
                f"dim = {self.dim} is no axis of {render_shape(inputs[0])}",
                help=f"choose {-rank} to {rank - 1}" if rank else "a single number has no axes",
                field="dim",
            )
        return self.dim % rank

    def input_axes(self, inputs: tuple[Shape, ...]) -> tuple[tuple[AxisRule, AxisRule] | None, ...]:
        """Along height or width, what an output pixel reads depends on the sizes before it."""
        place = self._axis(inputs) - len(inputs[0])
        somewhere = Cut(1)
        rules = (somewhere if place == -2 else SAME, somewhere if place == -1 else SAME)
        return (rules,) * len(inputs)

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        size = elements(output) * item
        return Memory(forward=size, inference=size, backward=0, gradients=(0,) * len(inputs))

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        return torch.cat(xs, self.dim), [x.shape[self.dim] for x in xs]

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        parts = torch.split(gy, saved, self.dim)
        return tuple(g if needed else None for g, needed in zip(parts, needs.inputs, strict=True)), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5), (2, 1, 4, 5))),
        Case(inputs=((2, 3, 4, 5), (2, 1, 4, 5), (2, 2, 4, 5))),
        Case(inputs=((2, 3, 4, 5),)),
        Case(fields={"dim": -1}, inputs=((3, 4, 5), (3, 4, 2))),
        Case(fields={"dim": 2}, inputs=((2, 3, 4, 5), (2, 3, 1, 5))),
        Case(fields={"dim": 0}, inputs=((7,), (2,))),
        Case(inputs=((0, 3), (0, 2))),
        Case(inputs=((2, 3, 4, 5), (2, 2, 4, 5)), contiguous=False),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"dim": 8}, match="less than or equal to 7"),
        BadCase(fields={"dim": "channels"}, match="integer"),
        BadCase(inputs=((2, 3, 4, 5), (2, 3, 4, 6)), match="same width: 5 against 6"),
        BadCase(fields={"dim": 3}, inputs=((2, 3, 4), (2, 3, 4)), match="dim = 3 is no axis"),
        BadCase(inputs=((2, 3, 4, 5), (2, 3, 4)), match="same number of axes"),
    )


class Concat(Layer):
    """`Concat(dim=1)`: the inputs side by side along an axis, as torch.cat.

    Raises:
        ValueError: `dim` is no axis, or the inputs differ along another one.
    """

    spec_type = ConcatSpec
