"""MSE: the mean squared error.

With residuals r = prediction - target and n numbers in them:

    forward    loss = Σ r² / n                 (reduction "mean", over all dimensions)
    backward   g_prediction = g·2·r / n

"sum" leaves out the division. Any shape.

Source: the source report, section 1.1.5; torch.nn.MSELoss,
https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from n2nspec.layers._base import BadCase, Case
from n2nspec.losses._base import OLDER, Loss, LossSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MSE", "MSESpec"]


class MSESpec(LossSpec):
    """Mean squared error: what makes the mean of the noisy targets, the clean picture, the best answer."""

    type: Literal["MSE"] = "MSE"

    twin: ClassVar[str] = "torch.nn.MSELoss"

    def terms(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Any]:
        residual = prediction - target
        return residual.square(), residual

    def slopes(self, saved: Any, scale: Tensor | float) -> Tensor:
        residual: Tensor = saved
        return residual * (2 * scale)

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(fields={"reduction": "sum"}, inputs=((2, 3, 4),)),
        Case(inputs=((),)),
        Case(inputs=((2, 3, 4, 5),), contiguous=False),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"reduction": "average"}, match="'mean' or 'sum'"),
        BadCase(inputs=((2, 3), (2, 1)), match="must have one shape"),
        BadCase(inputs=((2, 3), (3,)), match="must have one shape"),
    )


class MSE(Loss):
    """`MSE(size_average=None, reduce=None, reduction="mean")`: as torch.nn.MSELoss, with a backward
    of its own. `reduction` is "mean", "sum" or "none"; the two before it are torch's older words for that.

    Raises:
        ValueError: another reduction.
    """

    spec_type = MSESpec
    leading = OLDER
