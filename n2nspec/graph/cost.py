"""What a training step costs for one picture size: multiply-accumulates and bytes, without running it.

In: a shaped graph, a picture size and a batch size. Out: per node the concrete shape, MACs and the bytes it
keeps for backward; the sum of each; and the peak of a training step.

The peak follows the reference executor's order: every activation is freed after its last reader unless a
backward pass needs it, every gradient after it was used. It counts parameters, their gradients and two
optimiser moments (Adam's), live activations, saved tensors, live gradients, and the temporary of the layer
that runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from n2nspec.diagnostics import Diagnostic, DiagnosticError
from n2nspec.geometry import concrete, elements
from n2nspec.graph.model import ShapedGraph, ShapedNode

__all__ = ["Cost", "NodeCost", "cost", "size_values"]

BYTES = {"float32": 4, "float64": 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCost:
    """One node at one size. A tensor that several nodes keep is counted at the first of them."""

    shape: tuple[int, ...]
    macs: int
    saved_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The whole network at one size. MACs of one forward pass; bytes of one training step."""

    nodes: Mapping[str, NodeCost]
    macs: int
    saved_bytes: int
    peak_bytes: int


def size_values(graph: ShapedGraph, size: tuple[int, int], batch: int) -> dict[str, int]:
    """Values for the symbols of the input shape.

    Raises:
        DiagnosticError: the network does not take pictures of this size.
    """
    contract = graph.size_contract
    shape = graph.input_shape
    problems = []
    values: dict[str, int] = {}
    for axis, offset, number in (("H", -2, size[0]), ("W", -1, size[1])):
        if not contract:
            problems.append(f'the input "{graph.input_name}" is no picture, so it has no size')
            break
        dim = shape[offset]
        symbol = axis if isinstance(dim, int) else dim.symbol
        if number not in contract[axis]:
            near = contract[axis].at_least(number)
            hint = f"; the next that works is {near}" if near else ""
            problems.append(f"{axis} = {number} does not work: {contract[axis].render(symbol)}{hint}")
        elif not isinstance(dim, int) and values.setdefault(symbol, number) != number:
            problems.append(f"height and width are both {symbol} in [input]; received {size[0]}x{size[1]}")
    problems += [
        f"{dim.symbol} in [input] is {values[dim.symbol]} as a size; the batch would make it {batch}"
        for dim in shape[:-2]
        if not isinstance(dim, int) and values.setdefault(dim.symbol, batch) != batch
    ]
    if problems:
        raise DiagnosticError(
            Diagnostic(
                code="E208", message=problem, file=graph.spec.source_file, path=f"input.{graph.input_name}",
                span=graph.spec.locate(("input", graph.input_name)), help="choose a size that works",
            )
            for problem in problems
        )  # fmt: skip
    return values


def cost(graph: ShapedGraph, size: tuple[int, int], batch: int = 1) -> Cost:
    """Costs for pictures of (height, width) pixels.

    Raises:
        DiagnosticError: the network does not take pictures of this size.
    """
    values = size_values(graph, size, batch)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in graph.shapes.items():
        numbers = concrete(shape, values)
        assert numbers is not None, "the size contract admits only sizes that every node accepts"
        shapes[name] = numbers
    item = BYTES[graph.spec.train.dtype]

    nodes: dict[str, NodeCost] = {}
    kept: dict[tuple[str, int], int] = {}  # (value, number of an own tensor) → bytes
    keeps: dict[str, list[tuple[str, int]]] = {}
    kept_bytes = 0
    for node in graph.nodes:
        inputs = tuple(shapes[name] for name in node.inputs)
        before = kept_bytes
        keeps[node.name] = []
        if node.name in graph.live:
            for index, saved in enumerate(node.layer.saves(inputs, shapes[node.name])):
                if saved.of == "own":
                    key, size_bytes = (node.name, 1 + index), saved.size * (saved.item_bytes or item)
                else:
                    value = node.inputs[saved.index] if saved.of == "input" else node.name
                    key, size_bytes = (value, 0), elements(shapes[value]) * item
                if key not in kept:
                    kept[key] = size_bytes
                    kept_bytes += size_bytes
                keeps[node.name].append(key)
        nodes[node.name] = NodeCost(
            shape=shapes[node.name],
            macs=node.layer.macs(inputs, shapes[node.name]),
            saved_bytes=kept_bytes - before,
        )
    return Cost(
        nodes=nodes,
        macs=sum(node.macs for node in nodes.values()),
        saved_bytes=kept_bytes,
        peak_bytes=_peak(graph, shapes, kept, keeps, item),
    )


class _Held:
    """Tensors in memory, and their bytes altogether."""

    def __init__(self) -> None:
        self.total = 0
        self._bytes: dict[tuple[str, int], int] = {}

    def put(self, key: tuple[str, int], size: int) -> None:
        """A tensor that is there already is counted once."""
        self.total += size - self._bytes.get(key, 0)
        self._bytes[key] = size

    def drop(self, key: tuple[str, int]) -> None:
        self.total -= self._bytes.pop(key, 0)


def _peak(
    graph: ShapedGraph,
    shapes: Mapping[str, tuple[int, ...]],
    kept: Mapping[tuple[str, int], int],
    keeps: Mapping[str, list[tuple[str, int]]],
    item: int,
) -> int:
    live = [node for node in graph.nodes if node.name in graph.live]
    last_reader = {name: node.name for node in live for name in node.inputs}
    held = _Held()
    held.put((graph.input_name, 0), elements(shapes[graph.input_name]) * item)
    saved: set[tuple[str, int]] = set()
    peak = 0

    def temporary(node: ShapedNode) -> int:
        return node.layer.workspace(tuple(shapes[name] for name in node.inputs), shapes[node.name]) * item

    for node in live:
        held.put((node.name, 0), elements(shapes[node.name]) * item)
        for key in keeps[node.name]:
            held.put(key, kept[key])
            saved.add(key)
        peak = max(peak, held.total + temporary(node))
        for name in node.inputs:
            if last_reader[name] == node.name and (name, 0) not in saved and name != graph.input_name:
                held.drop((name, 0))
    gradients = _Held()
    gradients.put((graph.output, 0), elements(shapes[graph.output]) * item)
    for node in reversed(live):
        for name in node.inputs:
            if name != graph.input_name:
                gradients.put((name, 0), elements(shapes[name]) * item)
        peak = max(peak, held.total + gradients.total + temporary(node))
        gradients.drop((node.name, 0))
        held.drop((node.name, 0))
        for key in keeps[node.name]:
            if key[1]:
                held.drop(key)
    return peak + 4 * graph.parameter_count * item
