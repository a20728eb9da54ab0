"""Sub: the first input less the second, as in networks that predict the noise.

    forward    y = x₁ - x₂
    backward   gx₁ = gy, gx₂ = -gy
    sizes      both inputs have the output's shape

Source: Zhang et al. 2017, Beyond a Gaussian Denoiser (DnCNN), section III.A: the clean picture is the noisy
one less the predicted residual. torch has no such module.
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

__all__ = ["Sub", "SubSpec"]


class SubSpec(LayerSpec):
    """Difference of two values of one shape: the first less the second."""

    type: Literal["Sub"] = "Sub"

    arity: ClassVar[int] = 2
    most_inputs: ClassVar[int | None] = 2
    twin: ClassVar[str] = "n2nspec.oracle.joins.Sub"

    def infer(self, inputs: tuple[Shape, ...]) -> Shape:
        return common(self.type, inputs)

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        size = elements(output) * item
        negated = size if needs.inputs[1] else 0
        return Memory(forward=size, inference=size, backward=negated, gradients=(0, negated))

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        return xs[0] - xs[1], None

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        return (gy if needs.inputs[0] else None, -gy if needs.inputs[1] else None), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5), (2, 3, 4, 5))),
        Case(inputs=((3, 4, 5), (3, 4, 5))),
        Case(inputs=((), ())),
        Case(inputs=((0, 3), (0, 3))),
        Case(inputs=((2, 3, 4, 5), (2, 3, 4, 5)), contiguous=False),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(inputs=((3, 4), (3, 4), (3, 4)), match="expected 2 inputs; received 3"),
        BadCase(inputs=((2, 3, 4, 5), (2, 3, 6, 5)), match="same height: 4 against 6"),
    )


class Sub(Layer):
    """`Sub()`: the first input less the second, which has the same shape.

    Raises:
        ValueError: not two inputs of one shape.
    """

    spec_type = SubSpec
