"""Adam: steps scaled by running estimates of the gradient's first two moments.

At step t, from m = v = 0:

    m ← β₁·m + (1 - β₁)·g          v ← β₂·v + (1 - β₂)·g²
    p ← p - lr / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)

ε is added after the correction of v, as in Algorithm 1 of the paper and in torch (the paper's faster variant
moves it).

Source: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980; torch.optim.Adam,
https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, Strict

from n2nspec.optim._base import NonNegative, OptimizerSpec, SpecOptimizer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Adam", "AdamSpec"]

Beta = Annotated[float, Strict(), Field(ge=0, lt=1)]


class AdamSpec(OptimizerSpec):
    """Adam: a learning rate of its own for each parameter."""

    type: Literal["Adam"] = "Adam"
    betas: tuple[Beta, Beta] = Field(
        (0.9, 0.999), description="How much of the two running moments a step keeps, from 0 to below 1."
    )
    eps: NonNegative = Field(1e-8, description="Added to the denominator.")

    twin: ClassVar[str] = "torch.optim.Adam"
    state: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")

    def update(self, param: Tensor, grad: Tensor, state: Mapping[str, Tensor], step: int) -> None:
        beta1, beta2 = self.betas
        m, v = state["exp_avg"], state["exp_avg_sq"]
        m.lerp_(grad, 1 - beta1)
        v.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        denominator = (v.sqrt() / math.sqrt(1 - beta2**step)).add_(self.eps)
        param.addcdiv_(m, denominator, value=-self.lr / (1 - beta1**step))


class Adam(SpecOptimizer):
    """`Adam(params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8)`: as torch.optim.Adam.

    Raises:
        ValueError: numbers out of range, or parameters as for `Optimizer`.
    """

    spec_type = AdamSpec
