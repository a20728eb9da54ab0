"""ReLU: the positive part.

    forward    y = max(x, 0)
    backward   gx = gy where y > 0, else 0; at x = 0 that is 0, as in torch
    sizes      as the input's, of any shape

Backward needs only y, which the next layer usually keeps anyway. A NaN goes through both passes.

Source: torch.nn.ReLU, https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from n2nspec._lazy import torch
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs, Saved
from n2nspec.layers._fields import Switch
from n2nspec.layers._memory import Alive
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ReLU", "ReLUSpec"]


class ReLUSpec(LayerSpec):
    """Rectified linear unit."""

    type: Literal["ReLU"] = "ReLU"
    inplace: Switch = Field(
        False, description="Overwrite the input; for a layer used on its own. Engines plan memory themselves."
    )

    activation: ClassVar[bool] = True
    alive: ClassVar[tuple[Alive, Alive]] = Alive(), Alive(1, 1)
    twin: ClassVar[str] = "torch.nn.ReLU"

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        return (Saved(of="output"),)

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        y = xs[0].clamp(min=0)
        return y, y

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        y: Tensor = saved
        # not gy * (y > 0): an infinite gy times 0 is no number; not y > 0: false for a NaN
        return (torch.where(y <= 0, 0, gy) if needs.inputs[0] else None,), {}

    def twin_fields(self) -> dict[str, Any]:
        """Without `inplace`: in a graph a value may have other readers."""
        return {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(inputs=((3, 4, 5),)),
        Case(inputs=((7,),)),
        Case(inputs=((),)),
        Case(inputs=((0, 3),)),
        Case(inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"inplace": True}, inputs=((2, 3, 4, 5),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (BadCase(fields={"inplace": "yes"}, match="boolean"),)


class ReLU(Layer):
    """`ReLU(inplace=False)`: as torch.nn.ReLU, with a backward of its own. Any shape.

    Raises:
        ValueError: `inplace` is not a boolean.
    """

    spec_type = ReLUSpec
