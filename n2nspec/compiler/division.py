"""How a batch is divided: among processes, and into groups of pictures that pass through the network in turn.

In: a shaped graph, the shape of a batch. Out: whether it may be divided, and numbers of pictures. It may be
where a picture's way through the network depends on no other picture, so that the loss and the gradients of
the whole are sums of those of its parts. What a group takes lies in the processor's caches, and its memory
serves the next one.
"""

from __future__ import annotations

from n2nspec.compiler.program import program
from n2nspec.graph import ShapedGraph
from n2nspec.layers import LAYERS

__all__ = ["divisible", "groups", "shares", "smaller_groups"]

LEAST_MACS = 16_000_000
"""Multiply-accumulates forward from which on a part is worth a process: what passes between processes takes
0.1 to 0.4 ms a step; forward and backward, that many take a core 0.7 to 2 ms. Counted as the spec has
them."""

GROUP_MACS = 64_000_000
"""Multiply-accumulates forward of a group at least, where the batch has that many. Below that, what every
kernel costs by itself begins to show: a picture of specs/n2n.toml takes 9 % more in a group of half the
size."""


def divisible(graph: ShapedGraph) -> bool:
    """Whether every picture of a batch goes its own way.

    Layers that behave differently in training look at the whole batch (BatchNorm2d) or draw random numbers in
    its order (Dropout); a Concat of pictures makes another batch. Nothing is known of layers from elsewhere,
    which a helper would have to run as well.
    """
    first, *others = graph.input_shape
    return (
        not isinstance(first, int)
        and first not in others
        and all(shape[0] == first for shape in graph.shapes.values())
        and all(
            node.layer.type in LAYERS
            and isinstance(node.layer, LAYERS[node.layer.type])
            and not node.layer.is_modal()
            for node in graph.nodes
        )
    )


def shares(graph: ShapedGraph, shape: tuple[int, ...], processes: int) -> tuple[int, ...]:
    """Pictures of a batch for each process, as equal as can be; one process where more would not pay."""
    pictures = shape[0]
    if processes == 1 or pictures < 2 or not divisible(graph):
        return (pictures,)
    worth = pictures * _macs_each(graph, shape) // LEAST_MACS
    return _pieces(pictures, max(1, min(processes, pictures, worth)))


def groups(graph: ShapedGraph, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Pictures of a batch that pass through the network at a time.

    All groups are of one size where up to twice as large ones can be: each size has kernels of its own.
    """
    pictures = shape[0]
    if pictures < 2 or not divisible(graph):
        return (pictures,)
    count = max(1, min(pictures, pictures * _macs_each(graph, shape) // GROUP_MACS))
    even = (fewer for fewer in range(count, count // 2, -1) if pictures % fewer == 0)
    return _pieces(pictures, next(even, count))


def smaller_groups(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Twice as many groups, or one for each picture."""
    pictures = sum(sizes)
    return _pieces(pictures, min(pictures, 2 * len(sizes)))


def _macs_each(graph: ShapedGraph, shape: tuple[int, ...]) -> int:
    return program(graph, (1, *shape[1:])).macs


def _pieces(whole: int, count: int) -> tuple[int, ...]:
    """`whole` in so many pieces, larger ones first."""
    size, more = divmod(whole, count)
    return tuple(size + (index < more) for index in range(count))
