"""Parameters, and their gradients, as views of one flat tensor: an optimiser's step is one update of it all.

In: shapes by node and name. Out: named views. A view that was handed out is never overwritten: before the
next change everything moves to new memory, and whoever holds the old views keeps them as they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.compiler.plan import plan
from n2nspec.graph import ShapedGraph

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

__all__ = ["FlatTensors", "named", "parameter_layout"]

Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]


class FlatTensors:
    """Named tensors in one. `order` is that of the nodes in `flat`; a training step changes the first
    `stepped` numbers, or all."""

    def __init__(
        self, shapes: Shapes, order: Sequence[str], stepped: int | None = None, *, kind: dtype, place: device
    ) -> None:
        self._shapes = {node: shapes[node] for node in order}
        size = sum(prod(shape) for own in shapes.values() for shape in own.values())
        self._stepped = size if stepped is None else stepped
        self.flat = torch.zeros(size, dtype=kind, device=place)
        self._lent = False
        self.by_node: dict[str, dict[str, Tensor]] = {}
        self._bind()

    def _bind(self) -> None:
        self.by_node = self.views(self.flat)
        self.stepped = self.flat[: self._stepped]

    def views(self, flat: Tensor) -> dict[str, dict[str, Tensor]]:
        """`flat`, or the beginning of it, by node and name."""
        found: dict[str, dict[str, Tensor]] = {}
        start = 0
        for node, own in self._shapes.items():
            found[node] = {}
            for name, shape in own.items():
                size = prod(shape)
                if start + size <= flat.numel():
                    found[node][name] = flat[start : start + size].view(shape)
                start += size
        return found

    def move(self, flat: Tensor) -> None:
        """To other memory, with what stands there."""
        self.flat = flat
        self._bind()

    def lend(self) -> dict[str, Tensor]:
        """The views by full name, to hand out."""
        self._lent = True
        return named(self.by_node)

    def own(self) -> bool:
        """Moves away from memory that was handed out; tells whether it did. To be called before a change."""
        if not self._lent:
            return False
        with torch.inference_mode(False):  # what is made in that mode cannot be changed outside it
            self.move(self.flat.clone())
        self._lent = False
        return True


def named(by_node: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """`conv1.weight` → tensor."""
    return {f"{node}.{name}": tensor for node, own in by_node.items() for name, tensor in own.items()}


def parameter_layout(graph: ShapedGraph) -> tuple[Shapes, list[str], int]:
    """The shapes of a network's parameters by node and name, the order of nodes, and how many numbers of the
    first are changed by a step.

    Those come first; as in torch, no gradient means no weight decay either.
    """
    shapes = {node.name: {p.name: p.shape for p in node.parameters} for node in graph.nodes}
    stepped = {
        step.node.owner for step in plan(graph, input_gradient=False).backward if step.needs.parameters
    }
    order = [*(name for name in shapes if name in stepped), *(n for n in shapes if n not in stepped)]
    return shapes, order, sum(prod(shape) for name in stepped for shape in shapes[name].values())
