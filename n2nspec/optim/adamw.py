"""AdamW: Adam whose weight decay acts on the parameters themselves.

At step t, with g the gradient (its negative to maximise) and m and v as in Adam:

    p ← (1 - lr·weight_decay)·p
    p ← p - lr / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)

so that large and small gradients' parameters decay alike. With amsgrad as in Adam.

Source: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101; torch.optim.AdamW,
https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from n2nspec.optim._base import NonNegative, SpecOptimizer
from n2nspec.optim.adam import AdamFamily

__all__ = ["AdamW", "AdamWSpec"]


class AdamWSpec(AdamFamily):
    """Adam with decoupled weight decay."""

    type: Literal["AdamW"] = "AdamW"
    weight_decay: NonNegative = Field(
        1e-2, description="The part of each parameter, times lr, that a step takes away."
    )

    decoupled: ClassVar[bool] = True
    twin: ClassVar[str] = "torch.optim.AdamW"


class AdamW(SpecOptimizer):
    """`AdamW(params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *,
    maximize=False)`: as torch.optim.AdamW, whose `foreach`, `capturable`, `differentiable` and `fused` it
    takes, too.

    Raises:
        ValueError: numbers out of range, or parameters as for `Optimizer`.
    """

    spec_type = AdamWSpec
