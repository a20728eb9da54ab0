"""The exact receptive field: which input pixels an output pixel reads, per axis and pixel phase.

In: a shaped graph. Out: for height and width, the extents for each phase of an output pixel, and how many
pixels it reaches to either side; or "global" when a layer sees the whole picture.

Far from every border the pixels that a value reads move in step with it: shifting an output pixel by its
period shifts what it reads at every node by whole pixels. So the intervals of one period, followed backwards
through every path of the graph, state all of them. (The textbook formula for chains gives one number, which
is neither of the two that an upsampling network really has.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Literal

from n2nspec.diagnostics import DiagnosticError
from n2nspec.geometry import AxisRule, Shape, Symbolic
from n2nspec.graph.model import ShapedGraph, ShapedNode
from n2nspec.graph.places import at

__all__ = ["Reach", "receptive_field"]

AXES = ("H", "W")
MOST_STEPS = 2**22
"""Phases times layers; scale factors that need more are a typo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Input pixels read along one axis.

    `left` and `right` count from the input pixel at the same place as the output pixel (itself excluded).
    `extents[p]` is the width of the interval for output pixels j with j % len(extents) == p.
    """

    left: int
    right: int
    extents: tuple[int, ...]


def receptive_field(graph: ShapedGraph) -> Mapping[str, Reach | Literal["global"]]:
    """Per axis "H" and "W"; empty when the input is no picture.

    Raises:
        DiagnosticError: the scale factors give an output pixel more phases than anybody can look at.
    """
    if not graph.size_contract:
        return {}
    return {axis: _axis(graph, index) for index, axis in enumerate(AXES)}


def _axis(graph: ShapedGraph, index: int) -> Reach | Literal["global"]:
    upstream = _depends_on_input(graph)
    live = [node for node in graph.nodes if node.name in graph.live and node.name in upstream]
    if any(node.layer.sees_whole_picture() for node in live):
        return "global"
    shapes = {name: _within(graph, shape) for name, shape in graph.shapes.items()}
    rules: list[tuple[AxisRule | None, ...]] = []  # for each node, those of its inputs
    scales: dict[str, Fraction] = {graph.input_name: Fraction(1)}  # pixels per input pixel
    for node in live:
        pairs = node.layer.input_axes(tuple(shapes[name] for name in node.inputs))
        rules.append(tuple(pair and pair[index] for pair in pairs))
        read = {
            scales[name] * rule.gain / rule.period
            for name, rule in zip(node.inputs, rules[-1], strict=True)
            if rule and name in scales
        }
        if len(read) > 1 or any(rule and rule.everywhere for rule in rules[-1]):
            return "global"  # which pixels are read depends on the picture's size
        scales[node.name] = read.pop() if read else Fraction(1)
    period = lcm(*((scales[name] / scales[graph.output]).denominator for name in scales))
    ratio = 1 / scales[graph.output]
    if period * len(live) > MOST_STEPS:
        place = ("input", graph.input_name)
        message = f"strides and scale factors give an output pixel {period} different views of the picture"
        raise DiagnosticError(
            [at(graph.spec, place, "E206", message, help="check stride and scale_factor for a typo")]
        )

    lefts, rights, extents = [], [], []
    for phase in range(period):
        interval = _reads(graph, live, rules, phase)
        if interval is None:
            extents.append(0)
            continue
        low, high = interval
        here = int(phase * ratio // 1)
        lefts.append(here - low)
        rights.append(high - here)
        extents.append(high - low + 1)
    return Reach(left=max(0, *lefts, 0), right=max(0, *rights, 0), extents=tuple(extents))


def _reads(
    graph: ShapedGraph, live: list[ShapedNode], rules: list[tuple[AxisRule | None, ...]], phase: int
) -> tuple[int, int] | None:
    """The input pixels, first to last, that one output pixel reads; None when it reads none."""
    reads: dict[str, tuple[int, int]] = {graph.output: (phase, phase)}
    for node, own in zip(reversed(live), reversed(rules), strict=True):
        if node.name not in reads:
            continue
        for name, rule in zip(node.inputs, own, strict=True):
            interval = rule.reach(*reads[node.name]) if rule else None
            if interval is None:
                continue
            low, high = reads.get(name, interval)
            reads[name] = (min(low, interval[0]), max(high, interval[1]))
    return reads.get(graph.input_name)


def _within(graph: ShapedGraph, shape: Shape) -> Shape:
    """The shape for those picture sizes that work."""
    return tuple(
        dim if isinstance(dim, int) else Symbolic(dim.symbol, dim.function.within(graph.sizes[dim.symbol]))
        for dim in shape
    )


def _depends_on_input(graph: ShapedGraph) -> set[str]:
    names = {graph.input_name}
    for node in graph.nodes:
        if any(name in names for name in node.inputs):
            names.add(node.name)
    return names
