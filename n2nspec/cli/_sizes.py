"""The picture size that a command works with when none is named, and the shape of its input."""

from __future__ import annotations

from n2nspec.diagnostics import DiagnosticError, plural
from n2nspec.geometry import Symbolic, concrete
from n2nspec.graph import ShapedGraph, size_values

__all__ = ["in_groups", "input_shape", "render_size", "usual_size"]

PICTURE = (32, 32)
Size = tuple[int, int]


def usual_size(graph: ShapedGraph, batch: int) -> Size | None:
    """The size that a network trains on, 32 × 32 where it says none; None when there is no such picture."""
    contract = graph.size_contract
    if not contract:
        return None
    patch = graph.spec.data.patch if graph.spec.data else None
    height, width = (
        contract[axis].at_least(n) or contract[axis].smallest
        for axis, n in zip("HW", patch or PICTURE, strict=True)
    )
    if not height or not width:
        return None
    size = _enlarged(graph, (height, width), batch)
    try:
        size_values(graph, size, batch)
    except DiagnosticError:  # height and width are one symbol, and the two numbers differ
        return None
    return size


def _enlarged(graph: ShapedGraph, size: Size, batch: int) -> Size:
    """The same size, or a larger one where it leaves a normalisation a single value."""
    rows, columns = graph.input_shape[-2:]
    if rows == columns and size[0] != size[1]:
        return size
    given = zip(graph.input_shape, (*(batch,) * (len(graph.input_shape) - 2), *size), strict=True)
    values = {dim.symbol: number for dim, number in given if isinstance(dim, Symbolic)}
    free = {dim.symbol: graph.sizes[dim.symbol] for dim in (rows, columns) if isinstance(dim, Symbolic)}
    larger = graph.enlarged(values, free, training=False) or values
    height, width = (
        larger[dim.symbol] if isinstance(dim, Symbolic) else number
        for dim, number in zip((rows, columns), size, strict=True)
    )
    return height, width


def input_shape(graph: ShapedGraph, size: Size | None, batch: int) -> tuple[int, ...]:
    """The input's shape, in pictures of `size`, or of the usual one.

    Raises:
        DiagnosticError: E208, the network does not take pictures of this size, or none of the usual one.
    """
    size = size or usual_size(graph, batch)
    if size or graph.size_contract:
        values = size_values(graph, size or PICTURE, batch)
    else:  # no pictures: the first axis is the batch
        first = graph.input_shape[0]
        values = {
            symbol: batch
            if isinstance(first, Symbolic) and first.symbol == symbol
            else sizes.at_least(PICTURE[0]) or sizes.maximum or 1
            for symbol, sizes in graph.sizes.items()
        }
    shape = concrete(graph.input_shape, values)
    assert shape is not None, "the size contract lets through only what every layer accepts"
    return shape


def render_size(shape: tuple[int, ...]) -> str:
    """`32 × 3 × 64 × 64`."""
    return " × ".join(map(str, shape))


def in_groups(groups: tuple[int, ...]) -> str:
    """How many pictures of a batch pass through at a time; nothing where all do."""
    return f", in {len(groups)} groups of {plural(groups[0], 'picture')}" if len(groups) > 1 else ""
