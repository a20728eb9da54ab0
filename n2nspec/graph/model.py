"""The module graph: immutable nodes with an ordered tuple of inputs.

In: nothing; these are the values that `build` and `shape` produce. networkx serves as a view, for order,
cycles and reachability: its predecessor order is not the order of a layer's arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx

from n2nspec.diagnostics import Diagnostic
from n2nspec.geometry import Shape, SizeSet
from n2nspec.layers import LayerSpec
from n2nspec.layers._base import ParameterSpec
from n2nspec.spec import Spec

__all__ = ["DocumentPath", "Graph", "Node", "ShapedGraph", "ShapedNode"]

DocumentPath = tuple[str | int, ...]
"""A place in the spec's document, such as ("encoder", 0)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One layer in its place. `inputs` are names of nodes or of the network's input, in argument order."""

    name: str
    layer: LayerSpec
    inputs: tuple[str, ...]
    stage: str
    path: DocumentPath


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A directed acyclic graph of layers, its nodes in topological order (as written, where that is one)."""

    spec: Spec
    input_name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    output: str
    warnings: tuple[Diagnostic, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def live(self) -> frozenset[str]:
        """The nodes that the output depends on."""
        return frozenset(nx.ancestors(view(self.nodes), self.output) | {self.output}) & self.by_name.keys()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapedNode(Node):
    """A node with its output shape and parameters. Shapes hold exact functions of the picture's size."""

    shape: Shape
    parameters: tuple[ParameterSpec, ...]


@dataclass(frozen=True, kw_only=True)
class ShapedGraph(Graph):
    """A graph that is known to fit together, and for which picture sizes.

    Attributes:
        sizes: for each symbol of the input shape, the values that work.
    """

    nodes: tuple[ShapedNode, ...]
    sizes: Mapping[str, SizeSet]

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """The shape of every value: the input and each node's output."""
        return {self.input_name: self.input_shape, **{node.name: node.shape for node in self.nodes}}

    @cached_property
    def size_contract(self) -> Mapping[str, SizeSet]:
        """The picture heights ("H") and widths ("W") that work; empty for inputs that are no pictures."""
        if len(self.input_shape) < 3:
            return {}
        return {
            axis: SizeSet.finite([dim]) if isinstance(dim, int) else self.sizes[dim.symbol]
            for axis, dim in zip("HW", self.input_shape[-2:], strict=True)
        }

    @property
    def parameter_count(self) -> int:
        return sum(parameter.size for node in self.nodes for parameter in node.parameters)


def view(nodes: tuple[Node, ...]) -> nx.MultiDiGraph[str]:
    """The graph as networkx sees it; parallel edges stay apart, so `Add(x, x)` has two."""
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    graph.add_nodes_from(node.name for node in nodes)
    graph.add_edges_from((source, node.name) for node in nodes for source in node.inputs)
    return graph
