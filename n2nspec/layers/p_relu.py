"""PReLU: the positive part, and the negative one times a slope that is learnt.

    forward    y = x where x > 0, else w·x; one w for all, or one a channel (axis 1)
    backward   gx = gy where x > 0, else w·gy      gw = Σ gy·x where x ≤ 0
    sizes      as the input's, of any shape

Source: He et al. 2015, Delving Deep into Rectifiers, section 2.1; torch.nn.PReLU,
https://docs.pytorch.org/docs/stable/generated/torch.nn.PReLU.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from n2nspec._lazy import torch
from n2nspec.diagnostics import plural
from n2nspec.geometry import Shape, ShapeError
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs, ParameterSpec, Saved, fixed
from n2nspec.layers._fields import Count, Number
from n2nspec.layers._memory import Alive
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PReLU", "PReLUSpec"]


class PReLUSpec(LayerSpec):
    """Rectified linear unit whose negative slope is learnt."""

    type: Literal["PReLU"] = "PReLU"
    num_parameters: Count = Field(1, description="Slopes: 1 for all channels, or as many as channels.")
    init: Number = Field(0.25, description="What the slopes start as.")

    activation: ClassVar[bool] = True
    alive: ClassVar[tuple[Alive, Alive]] = Alive(2, 1), Alive(3, 1)
    twin: ClassVar[str] = "torch.nn.PReLU"

    def infer(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        if self.num_parameters > 1:
            channels = fixed(shape[1], "channels") if len(shape) > 1 else 1
            if channels != self.num_parameters:
                raise ShapeError(
                    f"PReLU got {plural(channels, 'channel')}, which num_parameters = {self.num_parameters}"
                    " does not fit",
                    help=f"choose num_parameters 1 or {channels}",
                    field="num_parameters",
                )
        return shape

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterSpec, ...]:
        return (ParameterSpec(name="weight", shape=(self.num_parameters,), value=self.init),)

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        return (Saved(of="input"),)

    def _slopes(self, params: Mapping[str, Tensor], rank: int) -> Tensor:
        """The parameter in a shape that broadcasts along axis 1."""
        one = self.num_parameters == 1
        return params["weight"].view(() if one else (-1, *(1,) * (rank - 2)))

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        return torch.where(x > 0, x, self._slopes(params, x.dim()) * x), x

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        x: Tensor = saved
        gparams: dict[str, Tensor] = {}
        if needs.parameters:
            terms = torch.where(x > 0, 0, x * gy)
            one = self.num_parameters == 1
            gparams["weight"] = terms.sum().view(1) if one else terms.sum((0, *range(2, x.dim())))
        gx = torch.where(x > 0, gy, self._slopes(params, x.dim()) * gy) if needs.inputs[0] else None
        return (gx,), gparams

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(fields={"num_parameters": 3}, inputs=((2, 3, 4, 5),)),
        Case(fields={"num_parameters": 3, "init": -0.5}, inputs=((4, 3),)),
        Case(fields={"num_parameters": 4}, inputs=((3, 4, 5),)),
        Case(inputs=((7,),)),
        Case(inputs=((),)),
        Case(fields={"num_parameters": 3}, inputs=((0, 3, 2),)),
        Case(fields={"num_parameters": 3}, inputs=((2, 3, 4, 5),), contiguous=False),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"num_parameters": 0}, match="greater than or equal to 1"),
        BadCase(fields={"init": "he"}, match="valid number"),
        BadCase(
            fields={"num_parameters": 3}, inputs=((2, 4, 4, 5),), match="num_parameters = 3 does not fit"
        ),
        BadCase(fields={"num_parameters": 3}, inputs=((3,),), match="num_parameters = 3 does not fit"),
        BadCase(fields={"num_parameters": 3}, inputs=((),), match="num_parameters = 3 does not fit"),
    )


class PReLU(Layer):
    """`PReLU(num_parameters=1, init=0.25, device=None, dtype=None)`: as torch.nn.PReLU, with a backward of
    its own. Any shape; with several parameters axis 1 has as many channels. Parameter `weight`.

    Raises:
        ValueError: arguments that make no layer, or an input with another number of channels.
    """

    spec_type = PReLUSpec
