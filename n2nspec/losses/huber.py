"""Huber: squared where the error is small, absolute where it is large.

With residuals r = prediction - target and n numbers in them:

    forward    loss = Σ h(r) / n               (reduction "mean", over all dimensions)
               h(r) = r² / 2 where |r| < delta, else delta·(|r| - delta / 2)
    backward   g_prediction = g·clamp(r, -delta, delta) / n

"sum" leaves out the division. Any shape.

Source: Huber 1964, https://doi.org/10.1214/aoms/1177703732; torch.nn.HuberLoss,
https://docs.pytorch.org/docs/stable/generated/torch.nn.HuberLoss.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, Strict

from n2nspec._lazy import torch
from n2nspec.layers._base import BadCase, Case
from n2nspec.layers._memory import Alive
from n2nspec.losses._base import Loss, LossSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Huber", "HuberSpec"]


class HuberSpec(LossSpec):
    """Squared error that turns absolute for outliers: less drawn to them than MSE."""

    type: Literal["Huber"] = "Huber"
    delta: Annotated[float, Strict(), Field(gt=0, le=1e9, allow_inf_nan=False)] = Field(
        1.0, description="The error from which on the loss grows linearly."
    )

    alive: ClassVar[tuple[Alive, Alive]] = Alive(5, 1), Alive(3)
    twin: ClassVar[str] = "torch.nn.HuberLoss"

    def terms(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Any]:
        residual = prediction - target
        size = residual.abs()
        linear = self.delta * (size - 0.5 * self.delta)
        return torch.where(size < self.delta, 0.5 * size.square(), linear), residual

    def slopes(self, saved: Any, scale: Tensor | float) -> Tensor:
        residual: Tensor = saved
        return residual.clamp(-self.delta, self.delta) * scale

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(fields={"reduction": "sum"}, inputs=((2, 3, 4),)),
        Case(fields={"delta": 0.1}, inputs=((2, 3, 4, 5),)),
        Case(fields={"delta": 3, "reduction": "sum"}, inputs=((7,),)),
        Case(inputs=((),)),
        Case(fields={"delta": 0.5}, inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"reduction": "sum"}, inputs=((0, 3),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"reduction": "average"}, match="'mean' or 'sum'"),
        BadCase(fields={"delta": 0}, match="delta: .*greater than 0"),
        BadCase(fields={"delta": -1.0}, match="delta: .*greater than 0"),
        BadCase(fields={"delta": float("nan")}, match="delta"),
        BadCase(fields={"delta": float("inf")}, match="delta"),
        BadCase(fields={"delta": "1"}, match="valid number"),
        BadCase(inputs=((2, 3), (2, 1)), match="must have one shape"),
    )


class Huber(Loss):
    """`Huber(reduction="mean", delta=1.0)`: as torch.nn.HuberLoss, with a backward of its own. `reduction` is
    "mean", "sum" or "none".

    Raises:
        ValueError: another reduction, or a `delta` that is not above 0.
    """

    spec_type = HuberSpec
