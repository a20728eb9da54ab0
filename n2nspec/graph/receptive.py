"""The exact receptive field: which input pixels an output pixel reads, per axis and pixel phase.

In: a shaped graph. Out: for height and width, the extents for each phase of an output pixel, and how many
pixels it reaches to either side; or "global" when a layer sees the whole picture.

Far from every border the pixels that a value reads move in step with it: shifting an output pixel by its
period shifts what it reads at every node by whole pixels. So the intervals of one period, followed backwards
through every path of the graph, state all of them. An interval is enough until a transposed convolution skips
output pixels (a stride wider than its kernel, or beside a dilation); from there on to the output the pixels
are told apart. (The textbook formula for chains gives one number, which
is neither of the two that an upsampling network really has.)

"Reads" is said of positions: a pixel counts that some channel of the output is computed from, whatever the
weights are. Channels are not followed one by one, so the result is an upper bound where a PixelShuffle
spreads channels that read different pixels: of PixelUnshuffle followed by PixelShuffle, the identity, it says
that each output pixel reads the whole block. Where a CropLike begins may depend on the picture's size by a
pixel; what is read at any size that works counts then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice, starmap
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
MOST_PIECES = 2**19
"""Intervals that are followed for all phases together; more of them are taken for whole intervals."""

Interval = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Input pixels read along one axis.

    `left` and `right` count from the input pixel at the same place as the output pixel (itself excluded).
    `extents[p]` is the width of the interval, from the first pixel that is read to the last, for output
    pixels j with j % len(extents) == p. Where not `exact`, it may be narrower: the graph was too large to
    tell which pixels between two taps are read.
    """

    left: int
    right: int
    extents: tuple[int, ...]
    exact: bool = True


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

    selective = (number for number, own in enumerate(rules) if any(rule and rule.selective for rule in own))
    views = [(phase, int(phase * ratio // 1)) for phase in range(period)]
    apart, exact = next(selective, len(live)), True
    try:
        found = [_reads(graph, live, rules, phase, apart, MOST_PIECES // period) for phase, _ in views]
    except _TooManyError:
        exact, found = False, [_reads(graph, live, rules, phase, len(live)) for phase, _ in views]
    seen = [(here, *interval) for (_, here), interval in zip(views, found, strict=True) if interval]
    return Reach(
        left=max(0, 0, *(here - low for here, low, _ in seen)),
        right=max(0, 0, *(high - here for here, _, high in seen)),
        extents=tuple(interval[1] - interval[0] + 1 if interval else 0 for interval in found),
        exact=exact,
    )


class _TooManyError(Exception):
    """More pieces than may be followed one by one."""


def _reads(
    graph: ShapedGraph,
    live: list[ShapedNode],
    rules: list[tuple[AxisRule | None, ...]],
    phase: int,
    apart: int,
    pieces: int = 0,
) -> Interval | None:
    """The first and last input pixel that one output pixel reads; None when it reads none.

    From the end back to the node of number `apart` the pixels are told apart, as at most so many `pieces`;
    before it, whatever lies between the first and the last counts.

    Raises:
        _TooManyError: there are more.
    """
    reads = {graph.output: (phase, phase)}
    if apart < len(live):
        reads = _told_apart(reads, live[apart:], rules[apart:], pieces)
    for number in range(apart - 1, -1, -1):
        node = live[number]
        if node.name not in reads:
            continue
        first, last = reads[node.name]
        for name, rule in zip(node.inputs, rules[number], strict=True):
            interval = rule.reach(first, last) if rule else None
            if interval is None:
                continue
            low, high = reads.get(name, interval)
            reads[name] = (min(low, interval[0]), max(high, interval[1]))
    return reads.get(graph.input_name)


def _told_apart(
    reads: dict[str, Interval],
    nodes: list[ShapedNode],
    rules: list[tuple[AxisRule | None, ...]],
    pieces: int,
) -> dict[str, Interval]:
    """The first and last pixel that is read of each value that comes before these nodes.

    Raises:
        _TooManyError: what the nodes read is more than so many pieces.
    """
    found = {name: [interval] for name, interval in reads.items()}
    for node, own in zip(reversed(nodes), reversed(rules), strict=True):
        wanted = _joined(found.pop(node.name, []))
        for name, rule in zip(node.inputs, own, strict=True):
            if rule is None or not wanted:
                continue
            parts = list(islice(chain.from_iterable(starmap(rule.pieces, wanted)), pieces + 1))
            pieces -= len(parts)
            if pieces < 0:
                raise _TooManyError
            found.setdefault(name, []).extend(parts)
    return {
        name: (min(low for low, _ in parts), max(high for _, high in parts))
        for name, parts in found.items()
        if parts
    }


def _joined(parts: list[Interval]) -> list[Interval]:
    """The same pixels as intervals in order, with a gap between each two."""
    result: list[Interval] = []
    for low, high in sorted(parts):
        if result and low <= result[-1][1] + 1:
            result[-1] = result[-1][0], max(result[-1][1], high)
        else:
            result.append((low, high))
    return result


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
