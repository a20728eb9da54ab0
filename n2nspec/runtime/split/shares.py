"""How a batch is divided, and whether it may be.

In: a shaped graph, a number of processes, the shape of a batch. Out: pictures for each process. A step is
divided where a picture's way through the network depends on no other picture, so that the loss and the
gradients of the whole are sums of those of the parts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from n2nspec._lazy import torch
from n2nspec.compiler.program import program
from n2nspec.graph import ShapedGraph
from n2nspec.layers import LAYERS

__all__ = ["Shares", "default_processes", "divisible"]

MOST = 8
"""Processes that are started without being asked for: each takes some 200 MB for its copy of torch's code."""

LEAST_MACS = 16_000_000
"""Multiply-accumulates forward from which on a part is worth a process: what passes between processes takes
about 0.4 ms a step; forward and backward, that many take a core about 2 ms. Counted as the spec has them."""


def default_processes() -> int:
    """As many as torch would use threads."""
    return min(torch.get_num_threads(), MOST)


def divisible(graph: ShapedGraph) -> bool:
    """Whether every picture of a batch goes its own way.

    Layers that behave differently in training look at the whole batch (BatchNorm2d) or draw random numbers in
    its order (Dropout). Nothing is known of layers from elsewhere, which a helper would have to run as well.
    """
    first, *others = graph.input_shape
    return (
        not isinstance(first, int)
        and first not in others
        and all(
            node.layer.type in LAYERS
            and isinstance(node.layer, LAYERS[node.layer.type])
            and not node.layer.is_modal()
            for node in graph.nodes
        )
    )


@dataclass(slots=True, kw_only=True)
class Shares:
    """Pictures for each process by the shape of a batch; one process where more would not pay."""

    graph: ShapedGraph
    processes: int
    _known: dict[tuple[int, ...], tuple[int, ...]] = field(default_factory=dict)

    def __call__(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """As equal as can be, larger ones first."""
        if shape not in self._known:
            self._known[shape] = self._divided(shape)
        return self._known[shape]

    def _divided(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        pictures = shape[0]
        if self.processes == 1 or pictures < 2:
            return (pictures,)
        each = program(self.graph, (1, *shape[1:])).macs
        parts = max(1, min(self.processes, pictures, pictures * each // LEAST_MACS))
        size, more = divmod(pictures, parts)
        return tuple(size + (index < more) for index in range(parts))
