"""Sigmoid: the logistic function, clipped.

    forward    y = 1 / (1 + exp(-x)) with x clipped to [-100, 100]
    backward   gx = gy·y·(1 - y)
    sizes      as the input's, of any shape

Beyond ±100 y is 0 or 1 to 4e-44 and so is the slope, y·(1 - y), without a case of its own.

Source: the source report, section 1.1.4, which clips |x| > 100 for numerical stability.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs, Saved
from n2nspec.layers._memory import Alive
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Sigmoid", "SigmoidSpec"]

LIMIT = 100


class SigmoidSpec(LayerSpec):
    """Logistic function, to the range (0, 1)."""

    type: Literal["Sigmoid"] = "Sigmoid"

    activation: ClassVar[bool] = True
    alive: ClassVar[tuple[Alive, Alive]] = Alive(3), Alive(3)
    twin: ClassVar[str] = "torch.nn.Sigmoid"

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        return (Saved(of="output"),)

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        y = 1 / (1 + (-xs[0].clamp(-LIMIT, LIMIT)).exp())
        return y, y

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        y: Tensor = saved
        return (gy * y * (1 - y) if needs.inputs[0] else None,), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(inputs=((3, 4, 5),)),
        Case(inputs=((),)),
        Case(inputs=((0, 3),)),
        Case(inputs=((2, 3, 4, 5),), contiguous=False),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = ()


class Sigmoid(Layer):
    """`Sigmoid()`: as torch.nn.Sigmoid, with a backward of its own. Any shape."""

    spec_type = SigmoidSpec
