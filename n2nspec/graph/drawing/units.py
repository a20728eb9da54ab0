"""ShapedGraph → units: which layers are drawn together as one block.

In: a shaped graph. Out: units: each the layer that makes a value (or the input), and those that are drawn on
it, which follow it elementwise or join it with others while nothing else reads the value in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Literal

from n2nspec.geometry import SAME, concrete
from n2nspec.graph.model import ShapedGraph, ShapedNode
from n2nspec.layers import ParameterSpec

__all__ = ["SIGNS", "Kind", "Numbers", "Unit", "is_strip", "kind_of", "numbers", "scales", "units"]

Kind = Literal["convolution", "downsampling", "upsampling", "skip", "other"]
Numbers = tuple[int, ...]

SIGNS = {"Add": "+", "Sub": "−", "Mul": "×"}
REFERENCE = 256
"""Pixels a side at which sizes with symbols are compared with each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A block's layers. `maker` is None for the input."""

    maker: ShapedNode | None
    others: tuple[ShapedNode, ...] = ()

    def value(self, graph: ShapedGraph) -> str:
        """The name of what leaves the block."""
        last = self.others[-1] if self.others else self.maker
        return last.name if last else graph.input_name


def numbers(graph: ShapedGraph) -> dict[str, Numbers]:
    """Every shape for one large picture: what is as large as what is seen there, whatever its formula."""
    sizes = {symbol: works.at_least(REFERENCE) or works.maximum or 1 for symbol, works in graph.sizes.items()}
    return {name: concrete(shape, sizes) or () for name, shape in graph.shapes.items()}


def kind_of(graph: ShapedGraph, node: ShapedNode) -> Kind:
    """What the arrow of a layer stands for."""
    if len(node.inputs) > 1:
        return "skip"
    ratio = _growth(node)
    if ratio != 1:
        return "upsampling" if ratio > 1 else "downsampling"
    return "convolution" if any(len(parameter.shape) > 2 for parameter in _weights(graph, node)) else "other"


def _growth(node: ShapedNode) -> Fraction:
    """How the area of a picture grows in a layer of one input, borders left aside."""
    # a crop to a fixed size has no gain: it shows a part of the picture at the same scale
    ratios = (Fraction(rule.gain, rule.period) for rule in node.layer.axes())
    return prod((ratio for ratio in ratios if ratio), start=Fraction(1))


def scales(graph: ShapedGraph, shapes: Mapping[str, Numbers]) -> dict[str, Fraction]:
    """Pixels of each value for one of the input's; what joins values has the scale of one of its own size."""
    found = {graph.input_name: Fraction(1)}
    for node in graph.nodes:
        size = shapes[node.name][-2:]
        like = next((name for name in node.inputs if shapes[name][-2:] == size), node.inputs[0])
        found[node.name] = found[like] * (_growth(node) if len(node.inputs) == 1 else 1)
    return found


def _weights(graph: ShapedGraph, node: ShapedNode) -> tuple[ParameterSpec, ...]:
    """The parameters that a layer works with, its own or another's."""
    return node.layer.parameters(tuple(graph.shapes[name] for name in node.inputs))


def is_strip(graph: ShapedGraph, node: ShapedNode, shapes: Mapping[str, Numbers]) -> bool:
    """Elementwise, or nearly (a normalisation): one input, the same shape, no matrix of weights."""
    return (
        len(node.inputs) == 1
        and shapes[node.inputs[0]] == shapes[node.name]
        and node.layer.axes() == (SAME, SAME)
        and all(len(parameter.shape) < 2 for parameter in _weights(graph, node))
    )


def _is_join(node: ShapedNode, value: str, shapes: Mapping[str, Numbers]) -> bool:
    """A node of several inputs that can be drawn on the block of one of them."""
    if len(node.inputs) < 2:
        return False
    before, after = shapes[value], shapes[node.name]
    if node.layer.type == "Concat":
        return len(before) > 2 and before[-2:] == after[-2:] and before[:-3] == after[:-3]
    return node.layer.type in SIGNS and before == after


def units(graph: ShapedGraph, shapes: Mapping[str, Numbers]) -> list[Unit]:
    """All units, in topological order of the values that leave them."""
    readers: dict[str, list[str]] = {name: [] for name in graph.shapes}
    for node in graph.nodes:
        for name in node.inputs:
            readers[name].append(node.name)
    live = graph.live | {graph.input_name}
    depths = {graph.input_name: 0}
    found = {graph.input_name: Unit(maker=None)}  # by the value that leaves it
    for node in graph.nodes:
        hosts = [
            name
            for name in node.inputs
            if readers[name] == [node.name]
            and name in found
            and name != graph.output
            and (name in live) == (node.name in live)
            and (is_strip(graph, node, shapes) or _is_join(node, name, shapes))
        ]
        branches = [
            unit.maker.inputs
            for name in dict.fromkeys(node.inputs)
            if readers[name] == [node.name] and (unit := found.get(name)) and unit.maker
        ]
        if len(branches) > len(set(branches)):
            hosts = []  # side by side from one value: none of them is what the others meet
        host = max(reversed(hosts), key=depths.__getitem__, default=None)  # the longest way: others meet it
        depths[node.name] = 1 + max(depths[name] for name in node.inputs)
        if host is None:
            found[node.name] = Unit(maker=node)
        else:
            unit = found.pop(host)
            found[node.name] = Unit(maker=unit.maker, others=(*unit.others, node))
    return list(found.values())
