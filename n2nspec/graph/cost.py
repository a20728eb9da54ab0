"""What a training step costs for one picture size: multiply-accumulates and bytes, without running it.

In: a shaped graph, a picture size and a batch size. Out: per node the concrete shape, MACs and the bytes it
keeps for backward; the sum of each; and the most memory that a training step and a forward pass take on the
reference executor (`memory`). No torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from n2nspec.diagnostics import SIZE_OPTION, Diagnostic, DiagnosticError, Label, Span
from n2nspec.geometry import concrete, elements
from n2nspec.graph.memory import peaks, waited_for
from n2nspec.graph.model import ShapedGraph

__all__ = ["Cost", "GivenSize", "NodeCost", "cost", "size_values"]

BYTES = {"float32": 4, "float64": 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCost:
    """One node at one size. A tensor that several nodes keep is counted at the first of them."""

    shape: tuple[int, ...]
    macs: int
    saved_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The whole network at one size: MACs of one forward pass, bytes that a training step saves for backward.

    `peak_bytes` is the most that a training step takes, `inference_bytes` the most that a forward pass in
    evaluation mode does; `graph.memory` says what counts.
    """

    nodes: Mapping[str, NodeCost]
    macs: int
    saved_bytes: int
    peak_bytes: int
    inference_bytes: int


class GivenSize(tuple[int, int]):
    """Height and width from the command line, with the text there, which is what a diagnostic shows."""

    text: str

    @classmethod
    def of(cls, size: tuple[int, int], text: str) -> GivenSize:
        found = cls(size)
        found.text = text
        return found

    def span(self, axis: int | None) -> Span:
        """Where the height (0), the width (1) or both (None) are given."""
        whole = len(self.text)
        middle = len(re.split("[x×]", self.text)[0])
        first, last = (0, whole) if axis is None else (0, middle) if axis == 0 else (middle + 1, whole)
        return Span(
            file=SIZE_OPTION, line=1, column=first + 1, end_line=1, end_column=last + 1, text=self.text
        )


def size_values(graph: ShapedGraph, size: tuple[int, int], batch: int) -> dict[str, int]:
    """Values for the symbols of the input shape.

    Raises:
        DiagnosticError: the network does not take pictures of this size.
    """
    contract = graph.size_contract
    shape = graph.input_shape
    problems: list[tuple[str, int | None]] = []
    values: dict[str, int] = {}
    for axis, offset, number in (("H", -2, size[0]), ("W", -1, size[1])):
        if not contract:
            problems.append((f'the input "{graph.input_name}" is no picture, so it has no size', None))
            break
        dim = shape[offset]
        symbol = axis if isinstance(dim, int) else dim.symbol
        if number not in contract[axis]:
            near = contract[axis].at_least(number)
            hint = f"; the next is {near}" if near else ""
            works = contract[axis].render(symbol)
            problems.append((f"{axis} = {number} does not work; sizes that do: {works}{hint}", offset + 2))
        elif not isinstance(dim, int) and values.setdefault(symbol, number) != number:
            message = f"height and width are both {symbol} in [input]; received {size[0]}x{size[1]}"
            problems.append((message, None))
    problems += [
        (f"{dim.symbol} in [input] is {values[dim.symbol]} as a size; the batch would make it {batch}", None)
        for dim in shape[:-2]
        if not isinstance(dim, int) and values.setdefault(dim.symbol, batch) != batch
    ]
    if not problems and (condition := graph.broken(values, training=False)):
        received = ", ".join(f"{symbol} = {values[symbol]}" for symbol in condition.ones)
        problems.append((f"{received} does not work: {condition}", None))
    if problems:
        written = graph.spec.locate(("input", graph.input_name))
        given = size if isinstance(size, GivenSize) else None
        labels = (Label(span=written, text="the input"),) if written is not None else ()
        raise DiagnosticError(
            Diagnostic(
                code="E208", message=message, file=graph.spec.source_file, path=f"input.{graph.input_name}",
                span=given.span(axis) if given is not None else written, help="choose a size that works",
                labels=labels if given is not None else (),
            )
            for message, axis in problems
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
    wanted = waited_for(graph)
    kept: set[str] = set()  # values that some node keeps
    for node in graph.nodes:
        inputs = tuple(shapes[name] for name in node.inputs)
        saved_bytes = 0
        for saved in node.layer.saves(inputs, shapes[node.name]) if node.name in wanted else ():
            value = node.inputs[saved.index] if saved.of == "input" else node.name
            if saved.of == "own":
                saved_bytes += saved.size * (saved.item_bytes or item)
            elif value not in kept:
                kept.add(value)
                saved_bytes += elements(shapes[value]) * item
        nodes[node.name] = NodeCost(
            shape=shapes[node.name],
            macs=node.layer.macs(inputs, shapes[node.name]),
            saved_bytes=saved_bytes,
        )
    peak_bytes, inference_bytes = peaks(graph, shapes, item)
    return Cost(
        nodes=nodes,
        macs=sum(node.macs for node in nodes.values()),
        saved_bytes=sum(node.saved_bytes for node in nodes.values()),
        peak_bytes=peak_bytes,
        inference_bytes=inference_bytes,
    )
