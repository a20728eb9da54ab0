"""GELU: the input times the probability that a standard normal number is below it.

With Φ and φ the normal distribution and its density, Φ(x) = (1 + erf(x / √2)) / 2:

    forward    y = x·Φ(x)
    backward   gx = gy·(Φ(x) + x·φ(x))
    sizes      as the input's, of any shape

approximate = "tanh" takes Φ(x) ≈ (1 + tanh u) / 2 with u = √(2/π)·(x + 0.044715·x³), whose derivative
(1 - tanh² u)·u'/2 stands for φ(x).

Like SiLU it falls before it rises, so backward needs x. At ±∞ the slope is no number, and at -∞ nor is the
output, as in torch; any finite input gives finite numbers, however large (torch's tanh form overflows).

Source: Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415; torch.nn.GELU,
https://docs.pytorch.org/docs/stable/generated/torch.nn.GELU.html.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs, Saved
from n2nspec.layers._memory import Alive
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GELU", "GELUSpec"]

CUBIC = 0.044715
SCALE = math.sqrt(2 / math.pi)
FAR = 100
"""Beyond ±100 tanh u is ±1 to the last bit: 1 - tanh² u is 0, and u' must only be finite."""


class GELUSpec(LayerSpec):
    """Gaussian error linear unit, a smooth rectifier."""

    type: Literal["GELU"] = "GELU"
    approximate: Literal["none", "tanh"] = Field(
        "none", description='"tanh" replaces the error function by an approximation.'
    )

    activation: ClassVar[bool] = True
    alive: ClassVar[tuple[Alive, Alive]] = Alive(3), Alive(5)
    twin: ClassVar[str] = "torch.nn.GELU"

    def saves(self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> tuple[Saved, ...]:
        return (Saved(of="input"),)

    def _probability(self, x: Tensor) -> Tensor:
        """2·Φ(x)."""
        if self.approximate == "none":
            return 1 + (x * math.sqrt(0.5)).erf()
        return 1 + (SCALE * (x + CUBIC * x * x * x)).tanh()

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        return 0.5 * x * self._probability(x), x

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        if not needs.inputs[0]:
            return (None,), {}
        x: Tensor = saved
        twice = self._probability(x)
        if self.approximate == "none":
            density = (-0.5 * x * x).exp() / math.sqrt(2 * math.pi)
        else:  # 1 - tanh² = (1 + tanh)·(1 - tanh)
            density = 0.5 * twice * (2 - twice) * SCALE * (1 + 3 * CUBIC * x.clamp(-FAR, FAR).square())
        return (gy * (0.5 * twice + x * density),), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(inputs=((3, 4, 5),)),
        Case(inputs=((7,),)),
        Case(inputs=((),)),
        Case(inputs=((0, 3),)),
        Case(inputs=((2, 3, 4, 5),), contiguous=False),
        Case(fields={"approximate": "none"}, inputs=((4, 3),)),
        Case(fields={"approximate": "tanh"}, inputs=((2, 3, 4, 5),)),
        Case(fields={"approximate": "tanh"}, inputs=((),)),
        Case(fields={"approximate": "tanh"}, inputs=((2, 3, 5),), contiguous=False),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = (
        BadCase(fields={"approximate": "erf"}, match="'none' or 'tanh'"),
        BadCase(fields={"approximate": None}, match="'none' or 'tanh'"),
    )


class GELU(Layer):
    """`GELU(approximate="none")`: as torch.nn.GELU, with a backward of its own. Any shape.

    Raises:
        ValueError: `approximate` is neither "none" nor "tanh".
    """

    spec_type = GELUSpec
