"""Mul: the product of its inputs, number by number, as in gates and masks.

    forward    y = x₁·x₂·…
    backward   gxᵢ = gy·Π xⱼ, j ≠ i
    sizes      all inputs have the output's shape

torch has no such module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from n2nspec.geometry import Shape, elements
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs, Saved
from n2nspec.layers._joins import common
from n2nspec.layers._memory import Memory
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Mul", "MulSpec"]


class MulSpec(LayerSpec):
    """Elementwise product of two or more values of one shape."""

    type: Literal["Mul"] = "Mul"

    arity: ClassVar[int] = 2
    most_inputs: ClassVar[int | None] = None
    twin: ClassVar[str] = "n2nspec.oracle.joins.Mul"

    def infer(self, inputs: tuple[Shape, ...]) -> Shape:
        return common(self.type, inputs)

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        return tuple(Saved(of="input", index=index) for index in range(len(inputs)))

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        size = elements(output) * item
        gradients = tuple(size if needed else 0 for needed in needs.inputs)
        product = size if len(inputs) > 2 else 0  # of all others but one
        return Memory(forward=size, inference=size, backward=sum(gradients) + product, gradients=gradients)

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        y = xs[0] * xs[1]
        for x in xs[2:]:
            y *= x
        return y, xs

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        xs: tuple[Tensor, ...] = saved
        gxs: list[Tensor | None] = []
        for index, needed in enumerate(needs.inputs):
            g = gy
            for other, x in enumerate(xs if needed else ()):
                if other != index:
                    g = g * x
            gxs.append(g if needed else None)
        return tuple(gxs), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5), (2, 3, 4, 5))),
        Case(inputs=((3, 4, 5), (3, 4, 5), (3, 4, 5))),
        Case(inputs=((), ())),
        Case(inputs=((0, 3), (0, 3))),
        Case(inputs=((2, 3, 4, 5), (2, 3, 4, 5)), contiguous=False),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(inputs=((3, 4),), match="2 inputs or more"),
        BadCase(inputs=((2, 3, 4, 5), (2, 1, 4, 5)), match="same number of channels: 3 against 1"),
    )


class Mul(Layer):
    """`Mul()`: the elementwise product of two or more inputs of one shape.

    Raises:
        ValueError: one input, or inputs of different shapes.
    """

    spec_type = MulSpec
