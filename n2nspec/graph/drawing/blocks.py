"""ShapedGraph → Diagram: what a picture of the network shows, before anything has a place.

In: a shaped graph, and values for its symbols where numbers are wanted. Out: blocks and arrows.

A block is a feature map, as in figure 1 of Ronneberger et al. 2015, U-Net (https://arxiv.org/abs/1505.04597):
the layer that makes it is the arrow that leads to it. What follows it elementwise and is its only reader is a
strip on its side; so is a sum. A concatenation shows the values that it takes over as copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod, sqrt
from typing import Literal

from n2nspec.geometry import Dim, Shape
from n2nspec.graph.drawing.texts import dims_text, facts, layer_text, without_batch
from n2nspec.graph.drawing.units import (
    SIGNS,
    Kind,
    Numbers,
    Unit,
    is_strip,
    kind_of,
    numbers,
    scales,
    units,
)
from n2nspec.graph.model import ShapedGraph, ShapedNode

__all__ = ["Arrow", "Block", "Diagram", "Segment", "diagram"]


NAMED = 8
"""Inputs that the text of a join lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A piece of a block: its body, the copy of another value, or a strip for a layer.

    Attributes:
        node: the layer, or input, that it shows; of a copy, the concatenation.
        channels: of a body or a copy.
        text: all that there is to say about it.
        join: of a strip, whether it takes in other values.
        activation: of a strip, whether it is a nonlinearity.
    """

    form: Literal["body", "copy", "strip"]
    node: str
    type: str
    text: str
    channels: Dim = 0
    join: bool = False
    activation: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A value of the network, with the layers that are drawn on it.

    Attributes:
        name: the layer that makes it, or the input.
        share: the layer whose weights its maker uses.
        segments: the body (if any), then as the layers come.
        channels: of the value that leaves the block.
        size: height and width as text; empty for what is no picture.
        scale: pixels for each pixel of the input.
        side: pixels along a side of the picture, for a large input; None for what is no picture.
        roles: "input", "output" or both, where it is that.
    """

    name: str
    share: str | None
    segments: tuple[Segment, ...]
    channels: Dim
    size: tuple[str, ...]
    scale: Fraction
    side: float | None
    live: bool
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """From block to block. `segment` of the target is where it ends; None for the block as a whole.

    `text` is the layer that it stands for.
    """

    source: int
    target: int
    segment: int | None
    kind: Kind
    text: str
    live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagram:
    """Blocks in topological order, the input first; arrows in the order of their targets."""

    name: str
    description: str
    facts: str
    blocks: tuple[Block, ...]
    arrows: tuple[Arrow, ...]


def diagram(graph: ShapedGraph, values: Mapping[str, int]) -> Diagram:
    """The diagram of a graph, with numbers for the symbols that have values."""
    shapes = numbers(graph)
    scale = scales(graph, shapes)
    found = units(graph, shapes)
    number = {unit.value(graph): index for index, unit in enumerate(found)}
    blocks: list[Block] = []
    arrows: list[Arrow] = []
    for index, unit in enumerate(found):
        maker, value = unit.maker, unit.value(graph)
        shape = graph.shapes[value]
        picture = shape[-2:] if len(shape) > 2 else ()
        live = maker is None or maker.name in graph.live
        pieces = _Pieces(graph, shapes, values)
        pieces.add(unit)
        block = Block(
            name=maker.name if maker else graph.input_name, share=maker.share if maker else None,
            segments=tuple(pieces.segments), channels=_channels(shape),
            size=tuple(dims_text([dim], graph.sizes, values) for dim in picture),
            scale=scale[value], side=sqrt(prod(shapes[value][-2:])) if picture else None, live=live,
            roles=("input",) * (maker is None) + ("output",) * (value == graph.output),
        )  # fmt: skip
        blocks.append(block)
        arrows += [
            Arrow(
                source=number[entry.value], target=index, segment=entry.segment, kind=entry.kind,
                text=layer_text(entry.node), live=live,
            )
            for entry in pieces.entries
        ]  # fmt: skip
    return Diagram(
        name=graph.spec.name, description=graph.spec.description, facts=facts(graph, values),
        blocks=tuple(blocks), arrows=tuple(arrows),
    )  # fmt: skip


def _channels(shape: Shape) -> Dim:
    return shape[-3] if len(shape) > 2 else shape[-1] if shape else 1


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A value that enters a block."""

    value: str
    segment: int | None
    kind: Kind
    node: ShapedNode


class _Pieces:
    """What a block is made of, and what enters it where."""

    def __init__(self, graph: ShapedGraph, shapes: Mapping[str, Numbers], values: Mapping[str, int]) -> None:
        self.graph, self.shapes, self.values = graph, shapes, values
        self.segments: list[Segment] = []
        self.entries: list[_Entry] = []

    def add(self, unit: Unit) -> None:
        before = self.graph.input_name
        if unit.maker is None:
            self._body(before, "input", "the input")
        else:
            before = unit.maker.name
            self._make(unit.maker)
        for node in unit.others:
            rest = [name for name in node.inputs if name != before]
            if node.layer.type == "Concat" and rest:
                self._copies(node, rest)
            else:
                place = len(self.segments)
                self.entries += [_Entry(value=name, segment=place, kind="skip", node=node) for name in rest]
                self._strip(node)
            before = node.name

    def _make(self, node: ShapedNode) -> None:
        if node.layer.type == "Concat" and len(node.inputs) > 1:
            self._copies(node, node.inputs)
            return
        shares = f" with the weights of {node.share}" if node.share else ""
        self._body(node.name, node.layer.type, layer_text(node) + shares)
        kind = kind_of(self.graph, node)
        self.entries += [_Entry(value=name, segment=None, kind=kind, node=node) for name in node.inputs]
        if is_strip(self.graph, node, self.shapes) or node.layer.type in SIGNS:
            self._strip(node)

    def _body(self, name: str, kind: str, words: str) -> None:
        channels = _channels(self.graph.shapes[name])
        text = self._said(name, words)
        self.segments.append(Segment(form="body", node=name, type=kind, text=text, channels=channels))

    def _copies(self, node: ShapedNode, names: Iterable[str]) -> None:
        text = self._said(node.name, f"Concat of {_named(node.inputs)}")
        for name in names:
            self.entries.append(_Entry(value=name, segment=len(self.segments), kind="skip", node=node))
            self.segments.append(
                Segment(
                    form="copy", node=node.name, type=node.layer.type, text=f"{text}; here {name}",
                    channels=_channels(self.graph.shapes[name]),
                )
            )  # fmt: skip

    def _strip(self, node: ShapedNode) -> None:
        join = len(node.inputs) > 1
        words = layer_text(node) + (f" of {_named(node.inputs)}" if join else "")
        self.segments.append(
            Segment(
                form="strip", node=node.name, type=node.layer.type, text=self._said(node.name, words),
                join=join, activation=node.layer.activation,
            )
        )  # fmt: skip

    def _said(self, name: str, words: str) -> str:
        shape = dims_text(without_batch(self.graph.shapes[name]), self.graph.sizes, self.values)
        return f"{name}: {words}, {shape}"
