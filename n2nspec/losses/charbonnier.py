"""Charbonnier: the absolute error with its kink rounded off.

With residuals r = prediction - target and n numbers in them:

    forward    loss = Σ √(r² + eps²) / n       (reduction "mean", over all dimensions)
    backward   g_prediction = g·r / √(r² + eps²) / n

"sum" leaves out the division. Any shape. The root is computed as a hypotenuse, so that no square overflows.

Source: Charbonnier et al. 1994, https://doi.org/10.1109/ICIP.1994.413553; in this form, with eps = 1e-3:
Lai et al. 2017, section 3.3, https://arxiv.org/abs/1704.03915.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from n2nspec._lazy import torch
from n2nspec.layers._base import BadCase, Case
from n2nspec.layers._memory import Alive
from n2nspec.losses._base import Epsilon, Loss, LossSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Charbonnier", "CharbonnierSpec"]


class CharbonnierSpec(LossSpec):
    """Absolute error, smooth at 0; common in the restoration of pictures."""

    type: Literal["Charbonnier"] = "Charbonnier"
    eps: Epsilon = Field(1e-3, description="The error below which the loss is round; its value at 0.")

    alive: ClassVar[tuple[Alive, Alive]] = Alive(2), Alive(4)
    twin: ClassVar[str] = "n2nspec.oracle.modules.Charbonnier"

    def terms(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Any]:
        residual = prediction - target
        terms = torch.hypot(residual, residual.new_tensor(self.eps))
        return terms, (residual, terms)

    def slopes(self, saved: Any, scale: Tensor | float) -> Tensor:
        residual: Tensor
        terms: Tensor
        residual, terms = saved
        return residual / terms * scale

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(fields={"reduction": "sum"}, inputs=((2, 3, 4),)),
        Case(fields={"eps": 0.5}, inputs=((2, 3, 4, 5),)),
        Case(fields={"eps": 1, "reduction": "sum"}, inputs=((7,),)),
        Case(inputs=((),)),
        Case(fields={"eps": 0.1}, inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"reduction": "sum"}, inputs=((0, 3),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"reduction": "average"}, match="'mean' or 'sum'"),
        BadCase(fields={"eps": 0.0}, match="eps: .*greater than or equal to 0.000000000001"),
        BadCase(fields={"eps": -1e-3}, match="eps: .*greater than or equal to 0.000000000001"),
        BadCase(fields={"eps": float("inf")}, match="eps"),
        BadCase(fields={"eps": "small"}, match="valid number"),
        BadCase(inputs=((2, 3), (2, 1)), match="must have one shape"),
    )


class Charbonnier(Loss):
    """`Charbonnier(reduction="mean", eps=1e-3)`. torch has none; the order of the arguments is that of its
    Huber loss. `reduction` is "mean", "sum" or "none".

    Raises:
        ValueError: another reduction, or an `eps` below 1e-12.
    """

    spec_type = CharbonnierSpec
