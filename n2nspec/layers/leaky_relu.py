"""LeakyReLU: the positive part, and a little of the negative one.

    forward    y = x where x > 0, else negative_slope·x
    backward   gx = gy where x > 0, else negative_slope·gy; so it is at x = 0, as in torch
    sizes      as the input's, of any shape

Unless the slope is negative, y > 0 just where x > 0, and backward needs only y, which the next layer usually
keeps anyway. A NaN is not above 0: it goes forward, and its gradient gets the slope, as in torch.

Source: Maas et al. 2013, "Rectifier nonlinearities improve neural network acoustic models", section 2;
torch.nn.LeakyReLU, https://docs.pytorch.org/docs/stable/generated/torch.nn.LeakyReLU.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from n2nspec._lazy import torch
from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs, Saved
from n2nspec.layers._fields import Number, Switch
from n2nspec.layers._memory import Alive
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LeakyReLU", "LeakyReLUSpec"]


class LeakyReLUSpec(LayerSpec):
    """Rectified linear unit that lets a part of the negative side through."""

    type: Literal["LeakyReLU"] = "LeakyReLU"
    negative_slope: Number = Field(0.01, description="The slope below 0.")
    inplace: Switch = Field(
        False, description="Overwrite the input; for a layer used on its own. Engines plan memory themselves."
    )

    activation: ClassVar[bool] = True
    alive: ClassVar[tuple[Alive, Alive]] = Alive(2, 1), Alive(2, 1)
    twin: ClassVar[str] = "torch.nn.LeakyReLU"

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        return (Saved(of="input" if self.negative_slope < 0 else "output"),)

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        y = torch.where(x > 0, x, x * self.negative_slope)
        return y, (x if self.negative_slope < 0 else y)

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        x_or_y: Tensor = saved
        return (torch.where(x_or_y > 0, gy, gy * self.negative_slope) if needs.inputs[0] else None,), {}

    def twin_fields(self) -> dict[str, Any]:
        """Without `inplace`: in a graph a value may have other readers."""
        return {"negative_slope": self.negative_slope}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(inputs=((3, 4, 5),)),
        Case(inputs=((7,),)),
        Case(inputs=((),)),
        Case(inputs=((0, 3),)),
        Case(inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"negative_slope": 0.2}, inputs=((2, 3, 4, 5),)),
        Case(fields={"negative_slope": 0}, inputs=((2, 3, 4, 5),)),
        Case(fields={"negative_slope": 1.0}, inputs=((3, 4),)),
        Case(fields={"negative_slope": -0.5}, inputs=((2, 3, 4, 5),)),
        Case(fields={"negative_slope": -0.5}, inputs=((2, 3, 5),), contiguous=False),
        Case(fields={"inplace": True}, inputs=((2, 3, 4, 5),)),
        Case(fields={"negative_slope": -0.5, "inplace": True}, inputs=((2, 3, 4, 5),)),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"negative_slope": "0.1"}, match="valid number"),
        BadCase(fields={"negative_slope": True}, match="valid number"),
        BadCase(fields={"negative_slope": float("nan")}, match="negative_slope"),
        BadCase(fields={"negative_slope": float("inf")}, match="negative_slope"),
        BadCase(fields={"inplace": "yes"}, match="boolean"),
    )


class LeakyReLU(Layer):
    """`LeakyReLU(negative_slope=0.01, inplace=False)`: as torch.nn.LeakyReLU, with a backward of its own. Any
    shape.

    Raises:
        ValueError: `negative_slope` is no finite number, or `inplace` not a boolean.
    """

    spec_type = LeakyReLUSpec
