"""ShapedGraph → Program: what a step computes, on pictures of known size, as operations that passes rewrite.

In: a shaped graph and the shape of an input. Out: a `Program`, a list of operations in topological order,
each with the shape of its value. At first every operation is a layer as written; `passes` turn them into
fewer, cheaper ones that compute the same values. Integers only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from n2nspec.compiler.correlation import AxisMap
from n2nspec.graph import ShapedGraph
from n2nspec.layers import LayerSpec
from n2nspec.layers._composite import CompositeSpec

__all__ = ["Activation", "ConvOp", "LayerOp", "Op", "PoolOp", "Program", "Source", "Weights", "program"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Which parameters an operation uses: those of node `owner`, whose names begin with `prefix`.

    `node` is where the operation stands; running statistics are its own even when weights are shared.
    """

    owner: str
    node: str
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operation. `name` is that of the value it makes, `covers` the nodes that it stands for."""

    name: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    covers: tuple[str, ...]

    def macs(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Multiply-accumulates of one forward pass, as this operation does it."""
        return 0

    @property
    def kind(self) -> str:
        return type(self).__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOp(Op):
    """A layer by its pure functions."""

    layer: LayerSpec
    weights: Weights | None

    def macs(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        return self.layer.macs(tuple(shapes[name] for name in self.inputs), self.shape)

    @property
    def kind(self) -> str:
        return self.layer.type


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """What is done to each number at last: "relu", "leaky_relu" with a slope from 0 to 1, or "sigmoid"."""

    kind: str
    slope: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One input of a convolution: as many of its channels as the value has, and the maps of both axes."""

    value: str
    channels: int
    maps: tuple[AxisMap, AxisMap]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvOp(Op):
    """A convolution of the inputs side by side, each with maps of its own; then bias and activation.

    `transposed` tells the layout of the weights: (I, O, kH, kW) instead of (O, I, kH, kW); `joins_loss`, that
    the gradient before the activation may come from the loss at once.
    """

    sources: tuple[Source, ...]
    weights: Weights
    transposed: bool
    bias: bool
    activation: Activation | None = None
    joins_loss: bool = False

    def macs(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        batch, channels = self.shape[:2]
        total = 0
        for source in self.sources:
            size = batch * source.channels * channels
            for axis_map, n, out in zip(source.maps, shapes[source.value][-2:], self.shape[-2:], strict=True):
                size *= axis_map.grid(n, out).windows * axis_map.length * axis_map.scale
            total += size
        return total

    @property
    def kind(self) -> str:
        return "conv"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOp(Op):
    """Max-pooling with windows that do not overlap."""

    window: tuple[int, int]

    @property
    def kind(self) -> str:
        return "max_pool"


@dataclass(frozen=True, kw_only=True)
class Program:
    """Operations in topological order."""

    ops: tuple[Op, ...]
    input_name: str
    input_shape: tuple[int, ...]
    output: str

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {self.input_name: self.input_shape, **{op.name: op.shape for op in self.ops}}

    @cached_property
    def readers(self) -> Mapping[str, tuple[Op, ...]]:
        """For each value, the operations that read it."""
        found: dict[str, dict[str, Op]] = {name: {} for name in self.shapes}
        for op in self.ops:
            for name in op.inputs:
                found[name][op.name] = op
        return {name: tuple(ops.values()) for name, ops in found.items()}

    @cached_property
    def by_name(self) -> Mapping[str, Op]:
        return {op.name: op for op in self.ops}

    def only_reader(self, name: str) -> Op | None:
        """The one operation that reads a value; None when there are several or it is the output."""
        readers = self.readers[name]
        return readers[0] if len(readers) == 1 and name != self.output else None

    @property
    def macs(self) -> int:
        return sum(op.macs(self.shapes) for op in self.ops)

    @property
    def numbers(self) -> int:
        """Numbers that all values hold together."""
        return sum(prod(op.shape) for op in self.ops)

    def with_ops(self, ops: Iterable[Op], output: str | None = None) -> Program:
        """The same program of other operations; nothing that nobody reads stays."""
        kept = tuple(ops)
        output = self.output if output is None else output
        wanted = {output}
        for op in reversed(kept):
            if op.name in wanted:
                wanted.update(op.inputs)
        return replace(self, ops=tuple(op for op in kept if op.name in wanted), output=output)

    def renamed(self, names: Mapping[str, str], ops: Iterable[Op]) -> Program:
        """The program without the values that `names` gives others for."""

        def final(name: str) -> str:
            while name in names:
                name = names[name]
            return name

        changed = []
        for op in ops:
            if op.name in names:
                continue
            inputs = tuple(final(name) for name in op.inputs)
            if isinstance(op, ConvOp):
                sources = tuple(replace(source, value=final(source.value)) for source in op.sources)
                op = replace(op, sources=sources)
            changed.append(replace(op, inputs=inputs) if inputs != op.inputs else op)
        return self.with_ops(changed, final(self.output))


def program(graph: ShapedGraph, input_shape: tuple[int, ...]) -> Program:
    """Every layer that the output depends on, as written; composites as their parts."""
    shapes = {graph.input_name: input_shape}
    ops: list[Op] = []
    for node in graph.nodes:
        if node.name not in graph.live:
            continue
        inputs = node.inputs
        layer = node.layer
        steps = layer.parts() if isinstance(layer, CompositeSpec) else (("", layer),)
        for index, (part, layer) in enumerate(steps):
            last = index == len(steps) - 1
            name = node.name if last else f"{node.name}:{part}"
            given = tuple(shapes[value] for value in inputs)
            shape = layer.infer(given)
            has = bool(layer.parameters(given)) or layer.is_modal()
            prefix = f"{part}." if part else ""
            weights = Weights(owner=node.owner, node=node.name, prefix=prefix) if has else None
            numbers = tuple(dim for dim in shape if isinstance(dim, int))
            assert len(numbers) == len(shape)
            ops.append(
                LayerOp(
                    name=name, inputs=inputs, shape=numbers, covers=(node.name,), layer=layer, weights=weights
                )
            )
            inputs, shapes[name] = (name,), numbers
    return Program(ops=tuple(ops), input_name=graph.input_name, input_shape=input_shape, output=graph.output)
