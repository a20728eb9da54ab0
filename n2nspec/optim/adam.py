"""Adam: steps scaled by running estimates of the gradient's first two moments.

With g the gradient (its negative to maximise) plus weight_decay·p, at step t, from m = v = 0:

    m ← β₁·m + (1 - β₁)·g          v ← β₂·v + (1 - β₂)·g²
    p ← p - lr / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)

With amsgrad the largest v so far stands in the denominator. ε is added after the correction of v, as in
Algorithm 1 of the paper and in torch (the paper's faster variant moves it).

Source: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980; amsgrad: Reddi et al. 2018,
https://openreview.net/forum?id=ryQu7f-RZ; torch.optim.Adam,
https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, Strict

from n2nspec._lazy import torch
from n2nspec.layers._fields import Switch
from n2nspec.optim._base import NonNegative, OptimizerSpec, SpecOptimizer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Adam", "AdamSpec"]

Beta = Annotated[float, Strict(), Field(ge=0, lt=1)]


class AdamFamily(OptimizerSpec):
    """The fields and the update that Adam and AdamW share."""

    betas: tuple[Beta, Beta] = Field(
        (0.9, 0.999), description="How much of the two running moments a step keeps, from 0 to below 1."
    )
    eps: NonNegative = Field(1e-8, description="Added to the denominator.")
    weight_decay: NonNegative = Field(
        0.0, description="L2 penalty: this times the parameter joins the gradient."
    )
    amsgrad: Switch = Field(
        False, description="Divide by the largest second moment so far, not the present one."
    )
    maximize: Switch = Field(False, description="Step along the gradient instead of against it.")

    decoupled: ClassVar[bool] = False
    """True: weight decay shrinks the parameter itself and stays out of the moments."""

    def state_names(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if self.amsgrad else ()))

    def temporaries(self) -> int:
        """The root; the gradient with another sign or decay."""
        return 1 + bool(self.maximize or (self.weight_decay and not self.decoupled))

    def update(self, param: Tensor, grad: Tensor, state: Mapping[str, Tensor], step: int) -> None:
        beta1, beta2 = self.betas
        m, v = state["exp_avg"], state["exp_avg_sq"]
        if self.maximize:
            grad = -grad
        if self.weight_decay and self.decoupled:
            param.mul_(1 - self.lr * self.weight_decay)
        elif self.weight_decay:
            grad = grad.add(param, alpha=self.weight_decay)
        m.lerp_(grad, 1 - beta1)
        v.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        if self.amsgrad:
            v = torch.maximum(state["max_exp_avg_sq"], v, out=state["max_exp_avg_sq"])
        # m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + ε), with the roots of the numbers taken out of the fraction
        root = math.sqrt(1 - beta2**step)
        param.addcdiv_(m, v.sqrt().add_(self.eps * root), value=-self.lr * root / (1 - beta1**step))

    def factors(self, step: int) -> tuple[float, ...]:
        beta1, beta2 = self.betas
        return self.lr / (1 - beta1**step), math.sqrt(1 - beta2**step), 1 - self.lr * self.weight_decay

    def updated(
        self, param: Tensor, grad: Tensor, state: Mapping[str, Tensor], factors: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        beta1, beta2 = self.betas
        rate, root, shrink = factors.unbind()
        if self.maximize:
            grad = -grad
        if self.weight_decay and self.decoupled:
            param = param * shrink
        elif self.weight_decay:
            grad = grad + self.weight_decay * param
        m = state["exp_avg"] * beta1 + grad * (1 - beta1)
        v = state["exp_avg_sq"] * beta2 + grad * grad * (1 - beta2)
        moved = {"exp_avg": m, "exp_avg_sq": v}
        if self.amsgrad:
            v = moved["max_exp_avg_sq"] = torch.maximum(state["max_exp_avg_sq"], v)
        return param - rate * (m / (v.sqrt() / root + self.eps)), moved


class AdamSpec(AdamFamily):
    """Adam: a learning rate of its own for each parameter."""

    type: Literal["Adam"] = "Adam"

    twin: ClassVar[str] = "torch.optim.Adam"


class _DecoupledSpec(AdamSpec):
    """Adam with the weight decay of AdamW, as torch's switch for it makes it."""

    decoupled: ClassVar[bool] = True


class Adam(SpecOptimizer):
    """`Adam(params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, *,
    maximize=False, decoupled_weight_decay=False)`: as torch.optim.Adam, whose `foreach`, `capturable`,
    `differentiable` and `fused` it takes, too. With `decoupled_weight_decay` it is AdamW.

    Raises:
        ValueError: numbers out of range, or parameters as for `Optimizer`.
    """

    spec_type = AdamSpec
    switches = MappingProxyType({**SpecOptimizer.switches, "decoupled_weight_decay": False})

    def _variant(self, switches: Mapping[str, bool | None]) -> type[OptimizerSpec]:
        return _DecoupledSpec if switches["decoupled_weight_decay"] else AdamSpec
