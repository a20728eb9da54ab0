"""Add: the sum of its inputs, as in residual networks.

    forward    y = x₁ + x₂ + …
    backward   gxᵢ = gy
    sizes      all inputs have the output's shape

Source: He et al. 2016, Deep Residual Learning for Image Recognition, section 3.2. torch has no such module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from n2nspec.geometry import Shape, elements
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs
from n2nspec.layers._joins import common
from n2nspec.layers._memory import Memory
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Add", "AddSpec"]


class AddSpec(LayerSpec):
    """Sum of two or more values of one shape."""

    type: Literal["Add"] = "Add"

    arity: ClassVar[int] = 2
    most_inputs: ClassVar[int | None] = None
    twin: ClassVar[str] = "n2nspec.oracle.joins.Add"

    def infer(self, inputs: tuple[Shape, ...]) -> Shape:
        return common(self.type, inputs)

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        size = elements(output) * item
        return Memory(forward=size, inference=size, backward=0, gradients=(0,) * len(inputs))

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        y = xs[0] + xs[1]
        for x in xs[2:]:
            y += x
        return y, None

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        return tuple(gy if needed else None for needed in needs.inputs), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5), (2, 3, 4, 5))),
        Case(inputs=((3, 4, 5), (3, 4, 5), (3, 4, 5))),
        Case(inputs=((7,), (7,))),
        Case(inputs=((), ())),
        Case(inputs=((0, 3), (0, 3))),
        Case(inputs=((2, 3, 4, 5), (2, 3, 4, 5)), contiguous=False),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(inputs=((2, 3, 4, 5),), match="2 inputs or more"),
        BadCase(inputs=((2, 3, 4, 5), (2, 4, 4, 5)), match="same number of channels: 3 against 4"),
        BadCase(inputs=((2, 3, 4, 5), (2, 3, 4, 6)), match="same width: 5 against 6"),
        BadCase(inputs=((2, 3, 4, 5), (3, 4, 5)), match="same number of axes"),
    )


class Add(Layer):
    """`Add()`: the sum of two or more inputs of one shape.

    Raises:
        ValueError: one input, or inputs of different shapes.
    """

    spec_type = AddSpec
