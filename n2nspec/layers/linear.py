"""Linear: a matrix product over the last axis.

With x of shape (*, I), any leading axes, and weight W of shape (O, I):

    forward    y = x·Wᵀ + b
    backward   gx = gy·W      gW = Σ_* gyᵀ·x      gb = Σ_* gy
    sizes      (*, I) becomes (*, O)

Source: arguments, layout and shapes of torch.nn.Linear,
https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from n2nspec.geometry import Shape, ShapeError, elements
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs, ParameterSpec, Saved, fixed
from n2nspec.layers._fields import Count, Switch
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Linear", "LinearSpec"]


class LinearSpec(LayerSpec):
    """Affine map of the last axis."""

    type: Literal["Linear"] = "Linear"
    out_features: Count = Field(description="Size of the last axis of the output.")
    bias: Switch = Field(True, description="Add a number to each output feature.")

    inferred: ClassVar[tuple[str, ...]] = ("in_features",)
    inferred_axis: ClassVar[int] = -1
    twin: ClassVar[str] = "torch.nn.Linear"

    def infer(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        if not shape:
            raise ShapeError("Linear expects at least one dimension, (*, in_features); received none")
        fixed(shape[-1], "features")
        return (*shape[:-1], self.out_features)

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterSpec, ...]:
        in_features = fixed(inputs[0][-1], "features")
        fans = {"fan_in": in_features, "fan_out": self.out_features}
        weight = ParameterSpec(name="weight", shape=(self.out_features, in_features), **fans)
        if not self.bias:
            return (weight,)
        return weight, ParameterSpec(name="bias", shape=(self.out_features,), **fans)

    def macs(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> int:
        """One a weight and row."""
        return elements(inputs[0]) * self.out_features

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        return (Saved(of="input"),)

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        y = x @ params["weight"].t()
        if self.bias:
            y += params["bias"]
        return y, x

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        x: Tensor = saved
        gparams: dict[str, Tensor] = {}
        if needs.parameters:
            gy_ro = gy.reshape(-1, gy.shape[-1])
            gparams["weight"] = gy_ro.t() @ x.reshape(-1, x.shape[-1])
            if self.bias:
                gparams["bias"] = gy_ro.sum(0)
        return ((gy @ params["weight"]) if needs.inputs[0] else None,), gparams

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(fields={"in_features": 5, "out_features": 3}, inputs=((4, 5),)),
        Case(fields={"in_features": 1, "out_features": 1}, inputs=((1, 1),)),
        Case(fields={"in_features": 5, "out_features": 3}, inputs=((5,),)),
        Case(fields={"in_features": 2, "out_features": 7, "bias": False}, inputs=((3, 4, 2),)),
        Case(fields={"in_features": 6, "out_features": 4}, inputs=((2, 3, 5, 6),)),
        Case(fields={"in_features": 6, "out_features": 4}, inputs=((2, 3, 6),), contiguous=False),
        Case(fields={"in_features": 3, "out_features": 2}, inputs=((0, 3),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"in_features": 3, "out_features": 0}, match="greater than or equal to 1"),
        BadCase(fields={"in_features": 0, "out_features": 3}, match="in_features: expected an integer"),
        BadCase(fields={"in_features": 3, "out_features": 2.0}, match="integer"),
        BadCase(fields={"in_features": 3, "out_features": 2, "bias": 1}, match="boolean"),
        BadCase(fields={"in_features": 3, "out_features": 2}, inputs=((4, 2),), match="expects 3"),
        BadCase(fields={"in_features": 3, "out_features": 2}, inputs=((),), match="expects 3"),
    )


class Linear(Layer):
    """`Linear(in_features, out_features, bias=True, device=None, dtype=None)`: as torch.nn.Linear, with a
    backward of its own.

    Input (*, in_features) of any rank. Parameters `weight` (out, in) and `bias` (out,).

    Raises:
        ValueError: arguments that make no layer, or an input that does not fit.
    """

    spec_type = LinearSpec
