"""What differs between two networks: nodes added, removed, changed, moved and renamed.

In: two shaped graphs. Out: their difference as graphs, whatever their texts look like. What merely follows,
such as the shapes behind a new stride, is told apart from what was done.

Two graphs are equal when their nodes belong together one to one, with the same types, fields, wiring, shared
weights, input shape, output and picture sizes that work. Names are no part of that, and neither is training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from n2nspec.geometry import Dim, Shape, SizeFunction, SizeLimitError, SizeSet, Symbolic
from n2nspec.graph.model import ShapedGraph, ShapedNode
from n2nspec.graph.relation import Relation, relate, renamed

__all__ = ["Change", "GraphDiff", "NodeDiff", "diff"]

Change = Literal["added", "removed", "changed", "moved", "renamed"]
Weights = Literal["fit", "fit when renamed", "do not fit"]
Place = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDiff:
    """A node that is not the same in both.

    Attributes:
        change: "added" or "removed" alone; else one or more of "changed" (its type, its fields or whose
            weights it shares), "moved" (it reads something else) and "renamed". The number that a node
            without a name gets, such as relu2, is a name only when weights are called after it.
        fields: what "changed" means, before and after; None for a field that the other type does not have.
    """

    change: tuple[Change, ...]
    before: ShapedNode | None
    after: ShapedNode | None
    fields: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphDiff:
    """The difference of two networks.

    Attributes:
        nodes: in the order of `after`, those removed where they were.
        affected: nodes that are the same, but not their shape or their number of parameters.
        input_equal: the input shapes are the same, but for the names of symbols.
        output_equal: the output is the same node, or follows from what was added, removed and moved.
        sizes_equal: the same picture sizes work; what `[require]` says counts, too.
        weights: whether those of one load into the other: as they are, under other names, or not at all.
        written_out: fields with their default's value in both that only one of the specs writes out.
    """

    before: ShapedGraph
    after: ShapedGraph
    nodes: tuple[NodeDiff, ...]
    affected: tuple[tuple[ShapedNode, ShapedNode], ...]
    input_equal: bool
    output_equal: bool
    sizes_equal: bool
    weights: Weights
    written_out: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether both compute the same from the same weights, for the same picture sizes."""
        same = self.input_equal and self.output_equal and self.sizes_equal
        return same and all(node.change == ("renamed",) for node in self.nodes)


def diff(before: ShapedGraph, after: ShapedGraph) -> GraphDiff:
    """How one network becomes the other; `diff(b, a)` says the same of the way back."""
    relation = relate(before, after)
    shapes = _Shapes(before, after)
    in_order = sorted(relation.pairs.items(), key=lambda pair: pair[1])
    pairs = [(before.nodes[a], after.nodes[b]) for a, b in in_order]
    found = sorted(_nodes(before, after, relation), key=lambda placed: placed[0])
    told = {id(node.after) for _, node in found}
    affected = (
        (old, new)
        for old, new in pairs
        if id(new) not in told and (_count(old) != _count(new) or not shapes.same(old.shape, new.shape))
    )
    return GraphDiff(
        before=before,
        after=after,
        nodes=tuple(node for _, node in found),
        affected=tuple(affected),
        input_equal=shapes.same_input,
        output_equal=relation.output_equal,
        sizes_equal=shapes.same_sizes,
        weights=_weights(before, after, pairs),
        written_out=tuple(_written_out(pairs)),
    )


def _nodes(before: ShapedGraph, after: ShapedGraph, relation: Relation) -> Iterator[tuple[Place, NodeDiff]]:
    """What there is to say of single nodes, with the places of it in a report."""
    came_from = {b: a for a, b in relation.pairs.items()}
    ours = {a: index for index, (a, _) in enumerate(relation.backbone, start=1)}
    theirs = {b: index for index, (_, b) in enumerate(relation.backbone, start=1)}
    passed = 0
    for a, node in enumerate(before.nodes):
        passed = ours.get(a, passed)
        if a not in relation.pairs:
            yield (passed, 1, a), NodeDiff(change=("removed",), before=node, after=None, fields={})
    passed = 0
    for b, node in enumerate(after.nodes):
        passed = theirs.get(b, passed)
        place = (passed, 0 if b in theirs else 2, b)
        if b not in came_from:
            yield place, NodeDiff(change=("added",), before=None, after=node, fields={})
            continue
        pair = came_from[b], b
        old, fields = before.nodes[pair[0]], relation.fields.get(pair, {})
        said: tuple[tuple[Change, bool], ...] = (
            ("changed", bool(fields)), ("moved", pair in relation.moved), ("renamed", renamed(old, node)),
        )  # fmt: skip
        if change := tuple(name for name, so in said if so):
            yield place, NodeDiff(change=change, before=old, after=node, fields=fields)


class _Shapes:
    """Compares shapes whose symbols may be called differently, for the sizes that work in both graphs."""

    def __init__(self, before: ShapedGraph, after: ShapedGraph) -> None:
        ours, theirs = before.input_shape, after.input_shape
        self._symbols: dict[tuple[str, str], SizeSet | None] = {}
        self.same_sizes = True
        for old, new in zip(ours[::-1], theirs[::-1], strict=False):  # a batch axis may be missing in front
            if isinstance(old, Symbolic) and isinstance(new, Symbolic):
                sizes, others = before.sizes[old.symbol], after.sizes[new.symbol]
                self.same_sizes &= sizes == others
                self._symbols[old.symbol, new.symbol] = _common(sizes, others)
        self._known: dict[tuple[SizeFunction, SizeFunction, str], bool] = {}
        symbols = list(self._symbols)
        one_to_one = len(dict(symbols)) == len(symbols) == len({new for _, new in symbols})
        self.same_input = one_to_one and self.same(ours, theirs)

    def same(self, old: Shape, new: Shape) -> bool:
        return len(old) == len(new) and all(map(self._same, old, new))

    def _same(self, old: Dim, new: Dim) -> bool:
        if isinstance(old, int) or isinstance(new, int):
            return old == new
        if (old.symbol, new.symbol) not in self._symbols:
            return False
        if old.function == new.function:
            return True
        key = (old.function, new.function, old.symbol)
        if key not in self._known:
            common = self._symbols[old.symbol, new.symbol]
            try:
                self._known[key] = common is not None and (
                    old.function.within(common) == new.function.within(common)
                )
            except SizeLimitError:
                self._known[key] = False
        return self._known[key]


def _common(sizes: SizeSet, others: SizeSet) -> SizeSet | None:
    """The sizes in both; None when there are none, or none that can be told."""
    try:
        common = sizes & others
    except SizeLimitError:
        return None
    return None if common.is_empty else common


def _count(node: ShapedNode) -> int:
    return sum(parameter.size for parameter in node.parameters)


def _weights(before: ShapedGraph, after: ShapedGraph, pairs: list[tuple[ShapedNode, ShapedNode]]) -> Weights:
    """Compares names and shapes of what a state_dict holds."""
    owners = {old.name: new.owner for old, new in pairs}
    names = {old.name: new.name for old, new in pairs}
    ours, theirs = _state(before, {}, {}), _state(after, {}, {})
    if ours == theirs:
        return "fit"
    called = _state(before, owners, names)
    return "fit when renamed" if called == theirs and len(called) == len(ours) else "do not fit"


def _state(
    graph: ShapedGraph, owners: Mapping[str, str], names: Mapping[str, str]
) -> dict[tuple[str, str], tuple[int, ...]]:
    """Shapes of parameters and buffers, by node and name; nodes are called by their names in the mappings."""
    return {
        **{
            (owners.get(node.name, node.name), parameter.name): parameter.shape
            for node in graph.nodes
            for parameter in node.parameters
        },
        **{
            (names.get(node.name, node.name), buffer.name): buffer.shape
            for node in graph.nodes
            for buffer in node.buffers
        },
    }


def _written_out(pairs: list[tuple[ShapedNode, ShapedNode]]) -> Iterator[str]:
    for old, new in pairs:
        one, other = old.layer, new.layer
        if type(one) is type(other):
            for name in type(one).model_fields:
                only_one = (name in one.model_fields_set) != (name in other.model_fields_set)
                if only_one and getattr(one, name) == getattr(other, name):
                    yield f"{new.name}.{name}"
