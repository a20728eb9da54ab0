"""The most memory that a training step and a forward pass take, without running them.

In: a shaped graph and its shapes at one size. Out: bytes. The reference executor is followed tensor by
tensor, in its order: what a node allocates while it runs, what it leaves behind, and what is let go of when.
Two names for the same memory (a layer's gradient may be a view of the one that it was given) count once.

A training step holds the parameters, their gradients, the optimiser's state, the layers' buffers, the input
and the target throughout; inference the parameters, the buffers and the input. Both count everything that is
allocated on the way besides, up to the output. What is smaller than a layer's numbers (the loss, a mean of
each channel, indices) may be left out, and so is what a library allocates for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from n2nspec.geometry import elements
from n2nspec.graph.model import ShapedGraph, ShapedNode
from n2nspec.layers._base import Needs
from n2nspec.layers._memory import Memory

__all__ = ["peaks", "standing_bytes", "update_bytes", "waited_for"]

Shapes = Mapping[str, tuple[int, ...]]


def waited_for(graph: ShapedGraph) -> frozenset[str]:
    """The nodes whose gradient a training step needs: for parameters of theirs, or of nodes before them."""
    found: set[str] = set()
    for node in graph.nodes:
        if node.name in graph.live and (_trained(node) or not found.isdisjoint(node.inputs)):
            found.add(node.name)
    return frozenset(found)


def _trained(node: ShapedNode) -> bool:
    return bool(node.parameters) or node.share is not None


def standing_bytes(graph: ShapedGraph, item: int, *, training: bool) -> int:
    """What lives between steps: parameters and buffers; for training also gradients and moments."""
    buffers = sum(
        elements(buffer.shape) * (8 if buffer.integer else item)
        for node in graph.nodes
        for buffer in node.buffers
    )
    gradients = graph.parameter_count + len(graph.spec.train.optimizer.state_names()) * _stepped(graph)
    return buffers + (graph.parameter_count + (gradients if training else 0)) * item


def update_bytes(graph: ShapedGraph, item: int) -> int:
    """What an optimiser's step allocates besides."""
    return graph.spec.train.optimizer.temporaries() * _stepped(graph) * item


def _stepped(graph: ShapedGraph) -> int:
    """Numbers in the parameters that a training step changes: the output depends on them."""
    owners = {node.owner for node in graph.nodes if node.name in graph.live}
    return sum(p.size for node in graph.nodes if node.name in owners for p in node.parameters)


def peaks(graph: ShapedGraph, shapes: Shapes, item: int) -> tuple[int, int]:
    """Bytes of a training step and of inference, for numbers of `item` bytes."""
    training = _Walk(graph, shapes, item, training=True)
    training.forward()
    training.loss()
    training.backward()
    # gradients are summed up and all else is gone: an update has its own tensors only
    training.memory.moment(update_bytes(graph, item))
    inference = _Walk(graph, shapes, item, training=False)
    inference.forward()
    return training.memory.peak, inference.memory.peak


@dataclass(slots=True, eq=False)
class _Tensor:
    """Memory that several may hold."""

    bytes: int
    holders: int = 1


class _Allocator:
    """Counts what is held, and the most that ever was."""

    def __init__(self, held: int) -> None:
        self.held = self.peak = held

    def moment(self, more: int) -> None:
        """So much more is allocated for a moment."""
        self.peak = max(self.peak, self.held + more)

    def new(self, size: int) -> _Tensor:
        self.held += size
        self.moment(0)
        return _Tensor(size)

    def hold(self, tensor: _Tensor) -> _Tensor:
        tensor.holders += 1
        return tensor

    def drop(self, tensor: _Tensor) -> None:
        tensor.holders -= 1
        if not tensor.holders:
            self.held -= tensor.bytes


class _Walk:
    """The reference executor's way through a graph, with tensors that are only sizes."""

    def __init__(self, graph: ShapedGraph, shapes: Shapes, item: int, *, training: bool) -> None:
        self.graph, self.shapes, self.item, self.training = graph, shapes, item, training
        self.sizes = {name: elements(shape) * item for name, shape in shapes.items()}
        self.own = {node.name: sum(p.size for p in node.parameters) * item for node in graph.nodes}
        self.nodes = [node for node in graph.nodes if node.name in graph.live]
        self.wanted = waited_for(graph) if training else frozenset()
        self.layers = {node.name: self._layer(node) for node in self.nodes}
        given = self.sizes[graph.input_name] + (self.sizes[graph.output] if training else 0)
        self.memory = _Allocator(standing_bytes(graph, item, training=training) + given)
        self.values = {graph.input_name: self.memory.new(0)}  # the caller's
        self.saved: dict[str, list[_Tensor]] = {}
        self.gradients: dict[str, _Tensor] = {}

    def _layer(self, node: ShapedNode) -> Memory:
        needs = Needs(inputs=tuple(name in self.wanted for name in node.inputs), parameters=_trained(node))
        return node.layer.memory(self._inputs(node), self.shapes[node.name], self.item, needs)

    def _inputs(self, node: ShapedNode) -> tuple[tuple[int, ...], ...]:
        return tuple(self.shapes[name] for name in node.inputs)

    def forward(self) -> None:
        last_reader = {name: node.name for node in self.nodes for name in node.inputs}
        for node in self.nodes:
            layer = self.layers[node.name]
            allocated = layer.forward if self.training else layer.inference
            self.memory.moment(allocated)
            if allocated:
                self.values[node.name] = self.memory.new(self.sizes[node.name])
            else:  # its first input under another name
                self.values[node.name] = self.memory.hold(self.values[node.inputs[0]])
            if node.name in self.wanted:
                self.saved[node.name] = self._save(node)
            for name in set(node.inputs):
                if last_reader[name] == node.name and name != self.graph.output:
                    self.memory.drop(self.values[name])

    def _save(self, node: ShapedNode) -> list[_Tensor]:
        found = []
        for saved in node.layer.saves(self._inputs(node), self.shapes[node.name]):
            if saved.of == "own":
                found.append(self.memory.new(saved.size * (saved.item_bytes or self.item)))
            else:
                name = node.inputs[saved.index] if saved.of == "input" else node.name
                found.append(self.memory.hold(self.values[name]))
        return found

    def loss(self) -> None:
        output = self.graph.output
        for alive in self.graph.spec.train.loss.alive:
            self.memory.moment(alive.bytes(elements(self.shapes[output]), self.item))
        self.gradients[output] = self.memory.new(self.sizes[output])
        self.memory.drop(self.values[output])

    def backward(self) -> None:
        sums: dict[str, _Tensor] = {}  # of the parameters' gradients, until all nodes have run
        for node in reversed(self.nodes):
            if node.name not in self.wanted:
                continue
            gy = self.gradients.pop(node.name)
            self.memory.moment(self.layers[node.name].backward)
            made = [
                (name, self.memory.new(kept) if kept else self.memory.hold(gy))
                for name, kept in zip(node.inputs, self.layers[node.name].gradients, strict=True)
                if name in self.wanted
            ]
            for tensor in (*self.saved.pop(node.name), gy):
                self.memory.drop(tensor)
            if _trained(node):
                size = self.own[node.owner]
                if node.owner in sums:
                    self.memory.moment(2 * size)  # another gradient and the new sum
                else:
                    sums[node.owner] = self.memory.new(size)
            for name, gradient in made:
                self._add(name, gradient)
        for tensor in sums.values():
            self.memory.drop(tensor)

    def _add(self, name: str, gradient: _Tensor) -> None:
        earlier = self.gradients.get(name)
        self.gradients[name] = gradient
        if earlier:
            self.gradients[name] = self.memory.new(self.sizes[name])
            self.memory.drop(earlier)
            self.memory.drop(gradient)
