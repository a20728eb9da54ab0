"""Tanh: the hyperbolic tangent.

    forward    y = tanh x
    backward   gx = gy·(1 - y²)
    sizes      as the input's, of any shape

Source: torch.nn.Tanh, https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanh.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs, Saved
from n2nspec.layers._memory import Alive
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Tanh", "TanhSpec"]


class TanhSpec(LayerSpec):
    """Hyperbolic tangent, to the range (-1, 1)."""

    type: Literal["Tanh"] = "Tanh"

    activation: ClassVar[bool] = True
    alive: ClassVar[tuple[Alive, Alive]] = Alive(), Alive(2)
    twin: ClassVar[str] = "torch.nn.Tanh"

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        return (Saved(of="output"),)

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        y = xs[0].tanh()
        return y, y

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        y: Tensor = saved
        return (gy * (1 - y * y) if needs.inputs[0] else None,), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(inputs=((3, 4, 5),)),
        Case(inputs=((7,),)),
        Case(inputs=((),)),
        Case(inputs=((0, 3),)),
        Case(inputs=((2, 3, 4, 5),), contiguous=False),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = ()


class Tanh(Layer):
    """`Tanh()`: as torch.nn.Tanh, with a backward of its own. Any shape."""

    spec_type = TanhSpec
