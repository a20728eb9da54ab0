"""Softplus: a smooth rectifier, log(1 + exp(x)), that is never 0.

    forward    y = log(1 + exp(beta·x)) / beta, and y = x where beta·x > threshold
    backward   gx = gy·σ(beta·x) with σ(z) = 1 / (1 + exp(-z)), and gx = gy where beta·x > threshold
    sizes      as the input's, of any shape

log(1 + exp(z)) is computed as max(z, 0) + log(1 + exp(-|z|)), which no threshold makes overflow. Just around
the threshold both branches give the same y, so backward needs x.

Source: torch.nn.Softplus, https://docs.pytorch.org/docs/stable/generated/torch.nn.Softplus.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, Strict

from n2nspec._lazy import torch
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs, Saved
from n2nspec.layers._fields import Number
from n2nspec.layers._memory import Alive
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Softplus", "SoftplusSpec"]


class SoftplusSpec(LayerSpec):
    """Smooth rectifier whose output is always positive."""

    type: Literal["Softplus"] = "Softplus"
    beta: Annotated[float, Strict(), Field(gt=0, le=1e9, allow_inf_nan=False)] = Field(
        1.0, description="Sharpness of the bend; the larger, the more like ReLU."
    )
    threshold: Number = Field(20.0, description="Where beta·x is above this, the output is x.")

    activation: ClassVar[bool] = True
    alive: ClassVar[tuple[Alive, Alive]] = Alive(4), Alive(3, 1)
    twin: ClassVar[str] = "torch.nn.Softplus"

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        return (Saved(of="input"),)

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        z = self.beta * x
        smooth = (z.clamp(min=0) + (-z.abs()).exp().log1p()) / self.beta
        return torch.where(z > self.threshold, x, smooth), x

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        if not needs.inputs[0]:
            return (None,), {}
        x: Tensor = saved
        z = self.beta * x
        return (torch.where(z > self.threshold, gy, gy / (1 + (-z).exp())),), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(inputs=((3, 4, 5),)),
        Case(inputs=((7,),)),
        Case(inputs=((),)),
        Case(inputs=((0, 3),)),
        Case(inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"beta": 3}, inputs=((2, 3, 4, 5),)),
        Case(fields={"beta": 0.1, "threshold": 0.05}, inputs=((2, 3, 4, 5),)),
        Case(fields={"threshold": 1.0}, inputs=((2, 3, 4, 5),)),
        Case(fields={"beta": 2.0, "threshold": -1}, inputs=((2, 3, 4, 5),)),
        Case(fields={"threshold": 500.0}, inputs=((2, 3, 5),), contiguous=False),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"beta": 0.0}, match="beta: .*greater than 0"),
        BadCase(fields={"beta": -1.0}, match="beta: .*greater than 0"),
        BadCase(fields={"beta": float("inf")}, match="beta"),
        BadCase(fields={"beta": "1"}, match="valid number"),
        BadCase(fields={"threshold": float("nan")}, match="threshold"),
        BadCase(fields={"threshold": float("inf")}, match="threshold"),
        BadCase(fields={"threshold": True}, match="valid number"),
    )


class Softplus(Layer):
    """`Softplus(beta=1.0, threshold=20.0)`: as torch.nn.Softplus, with a backward of its own. Any shape.

    Raises:
        ValueError: `beta` is not above 0, or a number is not finite.
    """

    spec_type = SoftplusSpec
