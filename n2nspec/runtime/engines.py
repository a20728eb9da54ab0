"""The engines by name, and what they have in common.

In: the name of an engine. Out: its class; every one computes the same numbers, up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from n2nspec.graph import ShapedGraph
from n2nspec.layers._base import Mode
from n2nspec.losses import LossSpec
from n2nspec.runtime.compiled import CompiledEngine
from n2nspec.runtime.optimized import OptimizedEngine
from n2nspec.runtime.reference import ReferenceEngine

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

__all__ = ["AUTO", "ENGINES", "ENGINE_TYPES", "Engine", "make_engine"]

ENGINE_TYPES: Mapping[str, type[ReferenceEngine] | type[OptimizedEngine]] = {
    "reference": ReferenceEngine,
    "optimized": OptimizedEngine,
    "compiled": CompiledEngine,
}
ENGINES = ("auto", *ENGINE_TYPES)


AUTO = "optimized"
"""What "auto" takes."""

Tensors = Mapping[str, Mapping[str, "Tensor"]]


class Engine(Protocol):
    """What computes: forward and backward passes over tensors that are given at every call.

    `forward` gives the output, what `backward` needs later, and the buffers of layers that changed;
    `backward` and `step` add to `gradients`, and `step` gives the loss.
    """

    name: str

    def forward(
        self, tensors: Tensors, x: Tensor, mode: Mode, *, keep: bool
    ) -> tuple[Tensor, Any, dict[str, dict[str, Tensor]]]: ...

    def backward(self, kept: Any, tensors: Tensors, gy: Tensor, gradients: Tensors, /) -> Tensor | None: ...

    def step(
        self, tensors: Tensors, x: Tensor, target: Tensor, loss: LossSpec, mode: Mode, gradients: Tensors
    ) -> tuple[Tensor, dict[str, dict[str, Tensor]]]: ...


def make_engine(name: str, graph: ShapedGraph, kind: dtype, place: device, precision: str) -> Engine:
    """An engine by its name; `precision` is that of the training steps, where it has a choice."""
    if name == CompiledEngine.name:
        return CompiledEngine(graph, kind=kind, place=place, precision=precision)
    return ENGINE_TYPES[name](graph, kind=kind, place=place)
