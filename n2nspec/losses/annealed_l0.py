"""AnnealedL0: from the squared error to counting errors, over the course of the training.

With residuals r = prediction - target and n numbers in them:

    forward    loss = Σ (|r| + eps)^gamma / n                      (reduction "mean", over all dimensions)
    backward   g_prediction = g·gamma·(|r| + eps)^(gamma - 1)·sgn(r) / n       with sgn(0) = 0

"sum" leaves out the division. Any shape. gamma goes linearly from gamma_start to gamma_end while a network
trains: the best answer moves from the mean of the noisy targets (gamma = 2) over their median (1) to the
value that is there most often (towards 0), which is the clean one when noise replaces some of the numbers.

At gamma = 0 itself every loss is 1 and every gradient 0, as automatic differentiation of the formula has it
too; training that is over by then loses no step. Shortly before, the gradient is gamma times that of
log(|r| + eps): steep near r = 0, and ever smaller as a whole. Adam, which divides by the size of the
gradient, keeps its pace; SGD slows down with gamma.

Source: Lehtinen et al. 2018, section 3.2, https://arxiv.org/abs/1803.04189, with eps = 1e-8 and gamma from 2
to 0. (Their published code, https://github.com/NVlabs/noise2noise, has the squared error only.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, Strict

from n2nspec.layers._base import BadCase, Case
from n2nspec.layers._memory import Alive
from n2nspec.losses._base import Epsilon, Loss, LossSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AnnealedL0", "AnnealedL0Spec"]

Exponent = Annotated[float, Strict(), Field(ge=0, le=10)]


class AnnealedL0Spec(LossSpec):
    """From mean to mode: for noise that replaces some pixels altogether, such as impulse."""

    type: Literal["AnnealedL0"] = "AnnealedL0"
    gamma_start: Exponent = Field(
        2.0, description="The exponent when training begins; 2 is the squared error."
    )
    gamma_end: Exponent = Field(0.0, description="The exponent that it approaches until training is over.")
    eps: Epsilon = Field(1e-8, description="Added to the absolute error.")

    alive: ClassVar[tuple[Alive, Alive]] = Alive(3), Alive(4)
    twin: ClassVar[str] = "n2nspec.oracle.modules.AnnealedL0"

    def at(self, progress: float) -> Self:
        """The loss with the gamma of that moment, at both ends.

        Raises:
            ValueError: no number from 0 to 1.
        """
        super().at(progress)
        gamma = (1 - progress) * self.gamma_start + progress * self.gamma_end
        return self.model_copy(update={"gamma_start": gamma, "gamma_end": gamma})

    def terms(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Any]:
        residual = prediction - target
        return (residual.abs() + self.eps).pow(self.gamma_start), residual

    def slopes(self, saved: Any, scale: Tensor | float) -> Tensor:
        residual: Tensor = saved
        slopes = self.gamma_start * (residual.abs() + self.eps).pow(self.gamma_start - 1)
        return slopes * residual.sgn() * scale

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(fields={"reduction": "sum"}, inputs=((2, 3, 4),)),
        Case(fields={"gamma_start": 1.5}, inputs=((2, 3, 4, 5),)),
        Case(fields={"gamma_start": 1, "gamma_end": 1.0}, inputs=((7,),)),
        Case(fields={"gamma_start": 0.5, "eps": 0.01}, inputs=((7,),)),
        Case(fields={"gamma_start": 0.0}, inputs=((2, 3),)),
        Case(inputs=((),)),
        Case(fields={"gamma_start": 1.2, "eps": 0.1}, inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"reduction": "sum"}, inputs=((0, 3),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"reduction": "average"}, match="'mean' or 'sum'"),
        BadCase(fields={"gamma_start": -0.1}, match="gamma_start: .*greater than or equal to 0"),
        BadCase(fields={"gamma_start": float("nan")}, match="gamma_start"),
        BadCase(fields={"gamma_end": -1}, match="gamma_end: .*greater than or equal to 0"),
        BadCase(fields={"gamma_end": "0"}, match="valid number"),
        BadCase(fields={"eps": 0.0}, match="eps: .*greater than or equal to 0.000000000001"),
        BadCase(fields={"eps": float("inf")}, match="eps"),
        BadCase(inputs=((2, 3), (2, 1)), match="must have one shape"),
    )


class AnnealedL0(Loss):
    """`AnnealedL0(reduction="mean", gamma_start=2.0, gamma_end=0.0, eps=1e-8)`. `reduction` is "mean", "sum"
    or "none".

    A loss on its own knows nothing of a training's course: it uses `gamma_start` throughout. Whoever trains
    with it makes the loss of the moment, `AnnealedL0(gamma_start=2 * (1 - progress))`.

    Raises:
        ValueError: another reduction, an exponent outside 0 to 10, or an `eps` below 1e-12.
    """

    spec_type = AnnealedL0Spec
