"""What Mermaid and DOT files list: the graph layer by layer.

In: a shaped graph. Out: its nodes in the groups of its blocks (a name up to its first dot), and its edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from n2nspec.graph.drawing.texts import dims_text, layer_text, without_batch
from n2nspec.graph.drawing.units import Kind, kind_of
from n2nspec.graph.model import ShapedGraph

__all__ = ["COLOURS", "Edge", "Entry", "edges", "groups"]

Look = Kind | Literal["input", "unused"]
COLOURS: dict[Look, tuple[str, str]] = {
    "input": ("#ffffff", "#1f2937"),
    "convolution": ("#d6e8f5", "#0072b2"),
    "downsampling": ("#fbe3d3", "#d55e00"),
    "upsampling": ("#d3efe6", "#009e73"),
    "skip": ("#ececec", "#7d7d7d"),
    "other": ("#f3e4ef", "#a0568c"),
    "unused": ("#ffffff", "#9ca3af"),
}
"""Fill and line of a node; the lines are those of the arrows in the SVG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A node, the lines of its label, and what it looks like."""

    name: str
    lines: tuple[str, ...]
    look: Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """An input of a node; `place` counts from 1, and is 0 for an only one."""

    source: str
    target: str
    place: int
    live: bool


def groups(graph: ShapedGraph, values: Mapping[str, int]) -> dict[str, list[Entry]]:
    """The nodes by group, each in order; under "" those that belong to no block."""

    def shape(name: str) -> str:
        return dims_text(without_batch(graph.shapes[name]), graph.sizes, values)

    found = {"": [Entry(name=graph.input_name, lines=("input", shape(graph.input_name)), look="input")]}
    for node in graph.nodes:
        prefix, dot, _ = node.name.partition(".")
        shares = (f"shares {node.share}",) if node.share else ()
        look = kind_of(graph, node) if node.name in graph.live else "unused"
        entry = Entry(name=node.name, lines=(layer_text(node), shape(node.name), *shares), look=look)
        found.setdefault(prefix if dot else "", []).append(entry)
    return found


def edges(graph: ShapedGraph) -> Iterator[Edge]:
    """Every input of every node, twice what is read twice."""
    for node in graph.nodes:
        for place, name in enumerate(node.inputs, start=1):
            yield Edge(
                source=name, target=node.name, place=place if len(node.inputs) > 1 else 0,
                live=node.name in graph.live,
            )  # fmt: skip
