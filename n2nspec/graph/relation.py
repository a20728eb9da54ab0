"""How the nodes of two graphs belong together, and which of them read something else than before.

In: two graphs. Out: a `Relation`. Of several ways to match, by name and by structure, it is the one that
leaves least to say. What a node reads is compared through the nodes that only one of the graphs has: a layer
put in between changes nothing about the layers around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from n2nspec.graph.matching import INPUT, By, Pair, Side, in_both_orders, match, numbered, values
from n2nspec.graph.model import ShapedGraph, ShapedNode

__all__ = ["Relation", "relate", "renamed"]

Fields = Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """Who is who, by numbers of nodes.

    Attributes:
        pairs: those of the second graph by those of the first.
        fields: for each pair that differs in type, fields or whose weights it shares: how.
        moved: the pairs that read something else.
        backbone: pairs that come one after the other in both graphs, as many as there are.
        output_equal: the output is the same, or follows from what only one graph has.
    """

    pairs: Mapping[int, int]
    fields: Mapping[Pair, Fields]
    moved: frozenset[Pair]
    backbone: tuple[Pair, ...]
    output_equal: bool

    def turned(self) -> Relation:
        """The same, seen from the other graph."""
        return Relation(
            pairs={b: a for a, b in self.pairs.items()},
            fields={(b, a): _turned(fields) for (a, b), fields in self.fields.items()},
            moved=frozenset((b, a) for a, b in self.moved),
            backbone=tuple((b, a) for a, b in self.backbone),
            output_equal=self.output_equal,
        )


def relate(before: ShapedGraph, after: ShapedGraph) -> Relation:
    """The relation with the fewest differences; `relate(b, a)` is that of `relate(a, b)`, turned."""
    first, second = Side(before), Side(after)
    if _rank(first) > _rank(second):  # ties are broken in one direction, so that both agree
        return relate(after, before).turned()
    best, least = None, 0
    for trusted in get_args(By):
        found = _moves(first, second, match(first, second, trusted))
        to_say = _to_say(before, after, found)
        if best is None or to_say < least:
            best, least = found, to_say
        if not least:
            break
    assert best is not None
    return best


def renamed(old: ShapedNode, new: ShapedNode) -> bool:
    """Whether a name is another one. The number of a node without a name is none, but for its weights."""
    if old.name == new.name:
        return False
    keep_names = any((old.parameters, old.buffers, new.parameters, new.buffers))
    return keep_names or numbered(old) is None or numbered(old) != numbered(new)


def _turned(fields: Fields) -> Fields:
    return {name: (new, old) for name, (old, new) in fields.items()}


def _rank(side: Side) -> list[Any]:
    """Something to sort graphs by; different ones have different ranks."""
    nodes = zip(side.nodes, side.tokens, side.sources, side.owners, strict=True)
    return [side.output, *((node.name, *others) for node, *others in nodes)]


def _to_say(before: ShapedGraph, after: ShapedGraph, found: Relation) -> int:
    """How long a report would be."""
    unpaired = len(before.nodes) + len(after.nodes) - 2 * len(found.pairs)
    names = sum(renamed(before.nodes[a], after.nodes[b]) for a, b in found.pairs.items())
    fields = sum(10 + len(fields) for fields in found.fields.values())
    return 10 * (unpaired + len(found.moved) + (not found.output_equal)) + fields + 3 * names


def _moves(first: Side, second: Side, pairs: Mapping[int, int]) -> Relation:
    """The relation that pairs make."""
    backbone = in_both_orders(pairs.items())
    wiring = _Wiring(first, second, pairs)
    moved, carried = wiring.unexplained(), set[int]()
    out_of_order = pairs.keys() - {a for a, _ in backbone}
    if jumped := moved & out_of_order:
        # what reads a node that jumped, jumps with it; for the others it is as if all of them were taken out
        for number in sorted(out_of_order):
            if number in jumped or carried.intersection(first.sources[number]):
                carried.add(number)
        wiring = _Wiring(first, second, pairs, frozenset(carried))
        fewer = jumped | wiring.unexplained()
        if len(fewer) < len(moved):
            moved = fewer
        else:
            wiring = _Wiring(first, second, pairs)
    return Relation(
        pairs=pairs,
        fields=dict(_changes(first, second, pairs)),
        moved=frozenset((a, pairs[a]) for a in moved),
        backbone=tuple(backbone),
        output_equal=wiring.explained((first.output,), (second.output,)),
    )


class _Wiring:
    """Compares what paired nodes read, looking through nodes of one graph only and those in `passing`."""

    def __init__(
        self, first: Side, second: Side, pairs: Mapping[int, int], passing: frozenset[int] = frozenset()
    ) -> None:
        self.first, self.second, self.pairs, self.passing = first, second, pairs, passing
        self._before = _reach(first, {a: a for a in pairs if a not in passing})
        self._after = _reach(second, {b: a for a, b in pairs.items() if a not in passing})

    def unexplained(self) -> set[int]:
        """The nodes of the first graph that read something else; those in `passing` are not judged."""
        return {
            a
            for a, b in self.pairs.items()
            if a not in self.passing and not self.explained(self.first.sources[a], self.second.sources[b])
        }

    def explained(self, ours: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
        """Whether two nodes read the same, argument by argument."""
        if len(ours) != len(theirs):
            return False
        return all(
            (other == INPUT if one == INPUT else self.pairs.get(one) == other)
            or self._before[one] & self._after[other]
            for one, other in zip(ours, theirs, strict=True)
        )


def _reach(side: Side, known: Mapping[int, int]) -> dict[int, frozenset[int]]:
    """For each node, the known ones that it is or comes from through others; the input is one of them."""
    found = {INPUT: frozenset((INPUT,))}
    for number, sources in enumerate(side.sources):
        if number in known:
            found[number] = frozenset((known[number],))
        else:
            found[number] = frozenset().union(*(found[source] for source in sources))
    return found


def _changes(first: Side, second: Side, pairs: Mapping[int, int]) -> Iterator[tuple[Pair, Fields]]:
    """The pairs that differ in themselves, with how."""
    ours: dict[int, int] = {}  # whose weights → the first of the paired nodes that use them
    theirs: dict[int, int] = {}
    for a in sorted(pairs):
        ours.setdefault(first.owners[a], a)
        theirs.setdefault(second.owners[pairs[a]], a)
    for a, b in pairs.items():
        mates = ours[first.owners[a]], theirs[second.owners[b]]
        if first.tokens[a] == second.tokens[b] and mates[0] == mates[1]:
            continue
        old, new = first.nodes[a].layer, second.nodes[b].layer
        fields: dict[str, tuple[Any, Any]] = {}
        if first.kinds[a] != second.kinds[b]:
            fields["type"] = old.type, new.type
        mine, others = values(old), values(new)
        for name in {**mine, **others}:
            if mine.get(name) != others.get(name) or (name in mine) != (name in others):
                fields[name] = mine.get(name), others.get(name)
        if mates[0] != mates[1]:
            fields["share"] = (
                first.nodes[mates[0]].name if mates[0] != a else None,
                second.nodes[pairs[mates[1]]].name if mates[1] != a else None,
            )
        if fields:
            yield (a, b), fields
