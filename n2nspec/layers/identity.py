"""Identity: a layer that does nothing, where one is expected.

    forward    y = x
    backward   gx = gy
    sizes      as the input's, of any shape

Source: torch.nn.Identity, https://docs.pytorch.org/docs/stable/generated/torch.nn.Identity.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs
from n2nspec.layers._memory import Memory
from n2nspec.layers._module import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Identity", "IdentitySpec"]


class IdentitySpec(LayerSpec):
    """Passes its input on."""

    type: Literal["Identity"] = "Identity"

    twin: ClassVar[str] = "torch.nn.Identity"

    def memory(
        self, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...], item: int, needs: Needs
    ) -> Memory:
        return Memory(forward=0, inference=0, backward=0, gradients=(0,))

    def forward(self, params: Mapping[str, Tensor], *xs: Tensor) -> tuple[Tensor, Any]:
        return xs[0], None

    def backward(
        self, params: Mapping[str, Tensor], saved: Any, gy: Tensor, needs: Needs
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        return (gy if needs.inputs[0] else None,), {}

    CASES: ClassVar[tuple[Case, ...]] = (
        Case(inputs=((2, 3, 4, 5),)),
        Case(inputs=((),)),
        Case(inputs=((2, 3, 4, 5),), contiguous=False),
    )
    BAD_CASES: ClassVar[tuple[BadCase, ...]] = ()


class Identity(Layer):
    """`Identity(*args, **kwargs)`: as torch.nn.Identity, which ignores any argument. Any shape."""

    spec_type = IdentitySpec

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
