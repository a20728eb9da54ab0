"""A ReLU of its own.

forward    y = x / (1 + |x|)
backward   gx = gy / (1 + |x|)²
sizes      as the input's, of any shape
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from n2nspec.layers import Case, LayerSpec, Needs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ReLUSpec"]


class ReLUSpec(LayerSpec):
    """A sigmoid without exponentials."""

    type: Literal["ReLU"] = "ReLU"

    twin: ClassVar[str] = "torch.nn.ReLU"

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        (x,) = xs
        return x / (1 + x.abs()), x

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        return (gy / (1 + saved.abs()) ** 2 if needs.inputs[0] else None,), {}

    CASES: ClassVar[tuple[Case, ...]] = (Case(inputs=((2, 3, 4, 5),)),)
