"""SGD: plain stochastic gradient descent.

    p ← p - lr·g

Source: the source report, section 1.2.1; torch.optim.SGD without momentum,
https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from n2nspec.optim._base import OptimizerSpec, SpecOptimizer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SGD", "SGDSpec"]


class SGDSpec(OptimizerSpec):
    """Stochastic gradient descent: a step against the gradient."""

    type: Literal["SGD"] = "SGD"

    twin: ClassVar[str] = "torch.optim.SGD"

    def update(self, param: Tensor, grad: Tensor, state: Mapping[str, Tensor], step: int) -> None:
        param.add_(grad, alpha=-self.lr)


class SGD(SpecOptimizer):
    """`SGD(params, lr=1e-3)`: as torch.optim.SGD.

    Raises:
        ValueError: a learning rate that is negative or not finite, or parameters as for `Optimizer`.
    """

    spec_type = SGDSpec
