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

from n2nspec.graph.model import ShapedGraph

__all__ = ["Reach", "receptive_field"]

AXES = ("H", "W")


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
    """Per axis "H" and "W"; empty when the input is no picture."""
    if not graph.size_contract:
        return {}
    return {axis: _axis(graph, index) for index, axis in enumerate(AXES)}


def _axis(graph: ShapedGraph, index: int) -> Reach | Literal["global"]:
    live = [node for node in graph.nodes if node.name in graph.live]
    upstream = _depends_on_input(graph)
    if any(node.layer.sees_whole_picture() and node.name in upstream for node in live):
        return "global"

    scales: dict[str, Fraction] = {graph.input_name: Fraction(1)}  # pixels per input pixel
    for node in live:
        rule = node.layer.axes()[index]
        source = scales.get(node.inputs[0], Fraction(1))
        scales[node.name] = source * rule.gain / rule.period
    period = lcm(*((scales[name] / scales[graph.output]).denominator for name in scales))
    ratio = 1 / scales[graph.output]

    lefts, rights, extents = [], [], []
    for phase in range(period):
        reads: dict[str, tuple[int, int]] = {graph.output: (phase, phase)}
        for node in reversed(live):
            if node.name not in reads:
                continue
            interval = node.layer.axes()[index].reach(*reads[node.name])
            if interval is None:
                continue
            for source_name in node.inputs:
                low, high = reads.get(source_name, interval)
                reads[source_name] = (min(low, interval[0]), max(high, interval[1]))
        if graph.input_name not in reads:
            extents.append(0)
            continue
        low, high = reads[graph.input_name]
        here = int(phase * ratio // 1)
        lefts.append(here - low)
        rights.append(high - here)
        extents.append(high - low + 1)
    return Reach(left=max(0, *lefts, 0), right=max(0, *rights, 0), extents=tuple(extents))


def _depends_on_input(graph: ShapedGraph) -> set[str]:
    names = {graph.input_name}
    for node in graph.nodes:
        if any(name in names for name in node.inputs):
            names.add(node.name)
    return names
