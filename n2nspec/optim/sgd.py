"""SGD: stochastic gradient descent, plain or with momentum.

With g the gradient (its negative to maximise) plus weight_decay·p, at step t:

    b ← g at step 1, then momentum·b + (1 - dampening)·g
    d = g without momentum, b with it, g + momentum·b with Nesterov's
    p ← p - lr·d

Source: the source report, section 1.2.1, for the plain form; Sutskever et al. 2013,
https://proceedings.mlr.press/v28/sutskever13.html, for momentum; torch.optim.SGD,
https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html, for its details.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, Strict, model_validator
from pydantic_core import PydanticCustomError

from n2nspec.layers._fields import Switch
from n2nspec.optim._base import NonNegative, OptimizerSpec, SpecOptimizer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SGD", "SGDSpec"]


class SGDSpec(OptimizerSpec):
    """Stochastic gradient descent: a step against the gradient."""

    type: Literal["SGD"] = "SGD"
    momentum: NonNegative = Field(
        0.0, description="How much of the last step's direction is kept; 0 for none."
    )
    dampening: Annotated[float, Strict(), Field(ge=-1e9, le=1e9)] = Field(
        0.0, description="How much the gradient counts less once there is momentum."
    )
    weight_decay: NonNegative = Field(
        0.0, description="L2 penalty: this times the parameter joins the gradient."
    )
    nesterov: Switch = Field(False, description="Nesterov's momentum: look ahead along the direction kept.")
    maximize: Switch = Field(False, description="Step along the gradient instead of against it.")

    twin: ClassVar[str] = "torch.optim.SGD"

    @model_validator(mode="after")
    def _check_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise PydanticCustomError(
                "nesterov_momentum", "nesterov needs momentum above 0; received momentum = {momentum}",
                {"momentum": self.momentum, "field": "nesterov"},
            )  # fmt: skip
        return self

    @model_validator(mode="after")
    def _check_dampening(self) -> Self:
        if self.nesterov and self.dampening != 0:
            raise PydanticCustomError(
                "nesterov_dampening", "nesterov needs no dampening; received dampening = {dampening}",
                {"dampening": self.dampening, "field": "dampening"},
            )  # fmt: skip
        return self

    def state_names(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def temporaries(self) -> int:
        """A direction for each thing that changes it; of two, the first is gone once the second is there."""
        return min(2, self.maximize + bool(self.weight_decay) + self.nesterov)

    def update(self, param: Tensor, grad: Tensor, state: Mapping[str, Tensor], step: int) -> None:
        direction = -grad if self.maximize else grad
        if self.weight_decay:
            direction = direction.add(param, alpha=self.weight_decay)
        if self.momentum:
            buffer = state["momentum_buffer"]
            if step == 1:
                buffer.copy_(direction)
            else:
                buffer.mul_(self.momentum).add_(direction, alpha=1 - self.dampening)
            direction = direction.add(buffer, alpha=self.momentum) if self.nesterov else buffer
        param.add_(direction, alpha=-self.lr)

    def factors(self, step: int) -> tuple[float, ...]:
        return self.lr, 1.0 if step == 1 else 1 - self.dampening

    def updated(
        self, param: Tensor, grad: Tensor, state: Mapping[str, Tensor], factors: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        rate, share = factors.unbind()
        direction = -grad if self.maximize else grad
        if self.weight_decay:
            direction = direction + self.weight_decay * param
        if not self.momentum:
            return param - rate * direction, {}
        buffer = self.momentum * state["momentum_buffer"] + share * direction
        direction = direction + self.momentum * buffer if self.nesterov else buffer
        return param - rate * direction, {"momentum_buffer": buffer}


class SGD(SpecOptimizer):
    """`SGD(params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, *, maximize=False)`: as
    torch.optim.SGD, whose `foreach`, `differentiable` and `fused` it takes, too.

    Raises:
        ValueError: numbers out of range, Nesterov's momentum without momentum or with dampening, or
            parameters as for `Optimizer`.
    """

    spec_type = SGDSpec
    switches = MappingProxyType({"foreach": None, "differentiable": False, "fused": None})
