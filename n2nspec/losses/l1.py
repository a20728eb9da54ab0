"""L1: the mean absolute error.

With residuals r = prediction - target and n numbers in them:

    forward    loss = Σ |r| / n                (reduction "mean", over all dimensions)
    backward   g_prediction = g·sgn(r) / n     with sgn(0) = 0, as in torch

"sum" leaves out the division. Any shape.

Source: torch.nn.L1Loss, https://docs.pytorch.org/docs/stable/generated/torch.nn.L1Loss.html; that it learns
the median of the targets: Lehtinen et al. 2018, section 2, https://arxiv.org/abs/1803.04189.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from n2nspec.layers._base import BadCase, Case
from n2nspec.layers._memory import Alive
from n2nspec.losses._base import OLDER, Loss, LossSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["L1", "L1Spec"]


class L1Spec(LossSpec):
    """Mean absolute error: what makes the median of the noisy targets the best answer."""

    type: Literal["L1"] = "L1"

    alive: ClassVar[tuple[Alive, Alive]] = Alive(2), Alive(3)
    twin: ClassVar[str] = "torch.nn.L1Loss"

    def terms(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Any]:
        residual = prediction - target
        return residual.abs(), residual

    def slopes(self, saved: Any, scale: Tensor | float) -> Tensor:
        residual: Tensor = saved
        return residual.sgn() * scale

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(fields={"reduction": "sum"}, inputs=((2, 3, 4),)),
        Case(inputs=((7,),)),
        Case(inputs=((),)),
        Case(inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"reduction": "sum"}, inputs=((0, 3),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"reduction": "average"}, match="'mean' or 'sum'"),
        BadCase(inputs=((2, 3), (2, 1)), match="must have one shape"),
        BadCase(inputs=((2, 3), (3,)), match="must have one shape"),
    )


class L1(Loss):
    """`L1(size_average=None, reduce=None, reduction="mean")`: as torch.nn.L1Loss, with a backward
    of its own. `reduction` is "mean", "sum" or "none"; the two before it are torch's older words for that.

    Raises:
        ValueError: another reduction.
    """

    spec_type = L1Spec
    leading = OLDER
