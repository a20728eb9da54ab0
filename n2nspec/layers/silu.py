"""SiLU: the input times its own sigmoid, also known as swish.

    forward    y = x·σ(x) with σ(x) = 1 / (1 + exp(-x))
    backward   gx = gy·σ(x)·(1 + x·(1 - σ(x)))
    sizes      as the input's, of any shape

Far below 0 exp(-x) is infinite, σ(x) is 0, and so are output and slope. The function falls before it rises,
so x does not follow from y and is what backward needs. At ±∞ the slope is no number, and at -∞ nor is the
output, as in torch.

Source: Elfwing et al. 2018, https://arxiv.org/abs/1702.03118; torch.nn.SiLU,
https://docs.pytorch.org/docs/stable/generated/torch.nn.SiLU.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs, Saved
from n2nspec.layers._fields import Switch
from n2nspec.layers._memory import Alive
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SiLU", "SiLUSpec"]


class SiLUSpec(LayerSpec):
    """Sigmoid linear unit, a smooth rectifier; also known as swish."""

    type: Literal["SiLU"] = "SiLU"
    inplace: Switch = Field(
        False, description="Overwrite the input; for a layer used on its own. Engines plan memory themselves."
    )

    activation: ClassVar[bool] = True
    alive: ClassVar[tuple[Alive, Alive]] = Alive(2), Alive(4)
    twin: ClassVar[str] = "torch.nn.SiLU"

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        return (Saved(of="input"),)

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        return x / (1 + (-x).exp()), x

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        if not needs.inputs[0]:
            return (None,), {}
        x: Tensor = saved
        sigmoid = 1 / (1 + (-x).exp())
        return (gy * sigmoid * (1 + x * (1 - sigmoid)),), {}

    def twin_fields(self) -> dict[str, Any]:
        """Without `inplace`: in a graph a value may have other readers."""
        return {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(inputs=((3, 4, 5),)),
        Case(inputs=((7,),)),
        Case(inputs=((),)),
        Case(inputs=((0, 3),)),
        Case(inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"inplace": True}, inputs=((2, 3, 4, 5),)),
        Case(fields={"inplace": True}, inputs=((2, 3, 5),), contiguous=False),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (BadCase(fields={"inplace": "yes"}, match="boolean"),)


class SiLU(Layer):
    """`SiLU(inplace=False)`: as torch.nn.SiLU, with a backward of its own. Any shape.

    Raises:
        ValueError: `inplace` is not a boolean.
    """

    spec_type = SiLUSpec
