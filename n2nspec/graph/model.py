"""The module graph: immutable nodes with an ordered tuple of inputs.

In: nothing; these are the values that `build` and `shape` produce.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from n2nspec.diagnostics import Diagnostic
from n2nspec.geometry import Shape, SizeSet
from n2nspec.layers import LayerSpec
from n2nspec.layers._base import BufferSpec, ParameterSpec
from n2nspec.spec import Spec

__all__ = ["Condition", "DocumentPath", "Graph", "Narrowing", "Node", "ShapedGraph", "ShapedNode"]

DocumentPath = tuple[str | int, ...]
"""A place in the spec's document, such as ("encoder", 0)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One layer in its place. `inputs` are names of nodes or of the network's input, in argument order.

    `share` names the node whose parameters it uses; None for a node with its own.
    """

    name: str
    layer: LayerSpec
    inputs: tuple[str, ...]
    stage: str
    path: DocumentPath
    share: str | None = None

    @property
    def owner(self) -> str:
        """The node that the parameters belong to."""
        return self.share or self.name


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
        found = {self.output}
        for node in reversed(self.nodes):
            if node.name in found:
                found.update(node.inputs)
        return frozenset(found & self.by_name.keys())


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapedNode(Node):
    """A node with its output shape and its own parameters (none, where it shares another's).

    Shapes hold exact functions of the picture's size.
    """

    shape: Shape
    parameters: tuple[ParameterSpec, ...]
    buffers: tuple[BufferSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """A node whose inputs agree for some picture sizes only.

    Attributes:
        sizes: those of `symbol` for which they do.
        example: a size for which they do not, and what each input's `axis` is then.
    """

    node: str
    symbol: str
    axis: str
    sizes: SizeSet
    example: int
    values: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        *others, last = (f"{name} is {value}" for name, value in self.values)
        inputs = f"{', '.join(others)} and {last}" if others else last
        return f"at {self.symbol} = {self.example} {inputs}, which {self.node} cannot join"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What ties sizes to each other: not all of these at once, as a node needs more than one value.

    Attributes:
        training: asked of training only.
        ones: for each symbol, the sizes that leave a single value along its axis; empty when it is so for
            every size.
    """

    node: str
    training: bool
    ones: Mapping[str, SizeSet]

    def __str__(self) -> str:
        when = " in training" if self.training else ""
        together = " and ".join(f"{symbol} in {ones.members()}" for symbol, ones in self.ones.items())
        rule = f": not {together} at once" if together else ", which no picture size gives"
        return f"{self.node} needs more than one value a channel{when}{rule}"

    def broken(self, values: Mapping[str, int]) -> bool:
        """Whether these sizes leave a single value."""
        return all(values[symbol] in ones for symbol, ones in self.ones.items())


@dataclass(frozen=True, kw_only=True)
class ShapedGraph(Graph):
    """A graph that is known to fit together, and for which picture sizes.

    Attributes:
        sizes: for each symbol of the input shape, the values that work.
        narrowings: the nodes that leave out sizes because their inputs would not agree.
        conditions: what else is asked of several sizes together.
    """

    nodes: tuple[ShapedNode, ...]
    sizes: Mapping[str, SizeSet]
    narrowings: tuple[Narrowing, ...] = ()
    conditions: tuple[Condition, ...] = ()

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

    def broken(self, values: Mapping[str, int], *, training: bool) -> Condition | None:
        """The first condition that these sizes break; those of training count in training only."""
        asked = (c for c in self.conditions if training or not c.training)
        return next((condition for condition in asked if condition.broken(values)), None)

    def enlarged(
        self, values: Mapping[str, int], sizes: Mapping[str, SizeSet], *, training: bool
    ) -> dict[str, int] | None:
        """The same sizes, some of them larger, so that no condition is broken; None where there are none.

        Args:
            values: for each symbol of the input shape.
            sizes: what may become larger, and to which sizes; the first named first.
        """
        found = dict(values)
        while condition := self.broken(found, training=training):
            for symbol, ones in condition.ones.items():
                larger = (sizes[symbol] - ones).at_least(found[symbol]) if symbol in sizes else None
                if larger is not None:
                    found[symbol] = larger
                    break
            else:
                return None
        return found

    @property
    def parameter_count(self) -> int:
        return sum(parameter.size for node in self.nodes for parameter in node.parameters)
