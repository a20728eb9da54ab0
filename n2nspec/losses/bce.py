"""BCE: binary cross-entropy, for numbers that are probabilities.

With predictions p and targets t, all from 0 to 1, and n numbers in them:

    forward    loss = -Σ (t·log p + (1 - t)·log(1 - p)) / n        (reduction "mean", over all dimensions)
    backward   g_prediction = g·(p - t) / (p·(1 - p)) / n

"sum" leaves out the division. Any shape. As in torch no logarithm goes below -100 and no denominator below
1e-12, so that p = 0 and p = 1 cost much but not everything. Numbers outside 0 to 1 are refused, also as in
torch; a NaN goes through, so that a training that diverges is told from one that was set up wrongly.

Its best answer is the mean of the noisy targets, as for MSE.

Source: torch.nn.BCELoss, https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from n2nspec.diagnostics import fail
from n2nspec.layers._base import BadCase, Case
from n2nspec.layers._memory import Alive
from n2nspec.layers._module import check_tensors
from n2nspec.losses._base import OLDER, Loss, LossSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BCE", "BCESpec"]

LEAST_LOG = -100
LEAST_DENOMINATOR = 9.999999960041972e-13
"""1e-12 in float32, which is what torch uses in float64 too."""


class BCESpec(LossSpec):
    """Binary cross-entropy: for outputs from 0 to 1, of a Sigmoid say, and targets of that range."""

    type: Literal["BCE"] = "BCE"

    probabilities: ClassVar[bool] = True
    alive: ClassVar[tuple[Alive, Alive]] = Alive(5), Alive(3)
    twin: ClassVar[str] = "torch.nn.BCELoss"

    def terms(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Any]:
        _check_range("prediction", prediction, "end the network with a Sigmoid, or choose another loss")
        _check_range("target", target, "choose another loss; noise that is added may leave that range")
        log_p = prediction.log().clamp(min=LEAST_LOG)
        log_not_p = (-prediction).log1p().clamp(min=LEAST_LOG)
        return (target - 1) * log_not_p - target * log_p, (prediction, target)

    def slopes(self, saved: Any, scale: Tensor | float) -> Tensor:
        prediction: Tensor
        target: Tensor
        prediction, target = saved
        denominator = ((1 - prediction) * prediction).clamp(min=LEAST_DENOMINATOR)
        return (prediction - target) * scale / denominator

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
    )


def _check_range(what: str, x: Tensor, help: str) -> None:
    wrong = x[(x < 0) | (x > 1)]
    if wrong.numel():
        raise fail("E209", f"BCE: the {what} must be from 0 to 1; received {wrong[0].item():.4g}", help=help)


class BCE(Loss):
    """`BCE(weight=None, size_average=None, reduce=None, reduction="mean")`: as torch.nn.BCELoss, with a
    backward of its own. `reduction` is "mean", "sum" or "none"; the two before it are torch's older words for
    that.

    `weight` multiplies each number's loss: a tensor of the prediction's shape, or one that is broadcast to
    it. The mean divides by the number of numbers, whatever they weigh. (In a spec there is no weight.)

    Raises:
        ValueError: another reduction.
        TypeError: a weight that is no tensor.
    """

    spec_type = BCESpec
    leading = OLDER

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if weight is not None:
            check_tensors("BCE: weight", weight)
        self.weight = weight

    def _value(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Any]:
        terms, saved = self.spec.checked_terms(prediction, target)
        weight = self._weight(terms)
        terms = terms * weight
        loss, count = self.spec.reduce(terms) if self._reduced else (terms, 1)
        return loss, (saved, weight / count)

    def _gradient(self, saved: Any, g: Tensor | float) -> Tensor:
        kept, weight = saved
        return self.spec.slopes(kept, g * weight)

    def _weight(self, terms: Tensor) -> Tensor | float:
        if self.weight is None:
            return 1.0
        dims = zip(self.weight.shape[::-1], terms.shape[::-1], strict=False)
        if self.weight.dim() > terms.dim() or any(own not in (1, dim) for own, dim in dims):
            raise ValueError(
                f"BCE: expected a weight that is broadcast to {tuple(terms.shape)};"
                f" received {tuple(self.weight.shape)}"
            )
        return self.weight.detach()
