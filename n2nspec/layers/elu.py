"""ELU: the positive part, and an exponential below 0 that levels off at -alpha.

    forward    y = x where x > 0, else alpha·(exp(x) - 1)
    backward   gx = gy where x > 0, else gy·alpha·exp(x); so it is at x = 0, as in torch
    sizes      as the input's, of any shape

Unless alpha is negative, y > 0 just where x > 0, and alpha·exp(x) = y + alpha: backward needs only y. A NaN
goes through both passes. (Of torch's own kernels some give its gradient as NaN, others as gy.)

Source: Clevert et al. 2016, https://arxiv.org/abs/1511.07289; torch.nn.ELU,
https://docs.pytorch.org/docs/stable/generated/torch.nn.ELU.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from n2nspec._lazy import torch
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs, Saved
from n2nspec.layers._fields import Number, Switch
from n2nspec.layers._memory import Alive
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ELU", "ELUSpec"]


class ELUSpec(LayerSpec):
    """Exponential linear unit."""

    type: Literal["ELU"] = "ELU"
    alpha: Number = Field(1.0, description="How far below 0 the output can get.")
    inplace: Switch = Field(
        False, description="Overwrite the input; for a layer used on its own. Engines plan memory themselves."
    )

    activation: ClassVar[bool] = True
    alive: ClassVar[tuple[Alive, Alive]] = Alive(2, 1), Alive(3, 1)
    twin: ClassVar[str] = "torch.nn.ELU"

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        return (Saved(of="input" if self.alpha < 0 else "output"),)

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        y = torch.where(x > 0, x, self.alpha * x.expm1())
        return y, (x if self.alpha < 0 else y)

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        if not needs.inputs[0]:
            return (None,), {}
        x_or_y: Tensor = saved
        slope = self.alpha * x_or_y.exp() if self.alpha < 0 else x_or_y + self.alpha
        return (torch.where(x_or_y > 0, gy, gy * slope),), {}

    def twin_fields(self) -> dict[str, Any]:
        """Without `inplace`: in a graph a value may have other readers."""
        return {"alpha": self.alpha}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(inputs=((3, 4, 5),)),
        Case(inputs=((7,),)),
        Case(inputs=((),)),
        Case(inputs=((0, 3),)),
        Case(inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"alpha": 0.3}, inputs=((2, 3, 4, 5),)),
        Case(fields={"alpha": 2}, inputs=((3, 4),)),
        Case(fields={"alpha": 0.0}, inputs=((3, 4),)),
        Case(fields={"alpha": -0.7}, inputs=((2, 3, 4, 5),)),
        Case(fields={"alpha": -0.7}, inputs=((2, 3, 5),), contiguous=False),
        Case(fields={"inplace": True}, inputs=((2, 3, 4, 5),)),
        Case(fields={"alpha": -0.7, "inplace": True}, inputs=((2, 3, 4, 5),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"alpha": "1"}, match="valid number"),
        BadCase(fields={"alpha": False}, match="valid number"),
        BadCase(fields={"alpha": float("nan")}, match="alpha"),
        BadCase(fields={"alpha": float("-inf")}, match="alpha"),
        BadCase(fields={"inplace": 1}, match="boolean"),
    )


class ELU(Layer):
    """`ELU(alpha=1.0, inplace=False)`: as torch.nn.ELU, with a backward of its own. Any shape.

    Raises:
        ValueError: `alpha` is no finite number, or `inplace` not a boolean.
    """

    spec_type = ELUSpec
