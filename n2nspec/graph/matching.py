"""Which node of one graph is which of another: by name, by what surrounds it, by likeness.

In: two graphs. Out: pairs of node numbers, each number in one pair at most. A node keeps its name when its
neighbours change, and keeps its neighbours when its name changes; a node that lost both is found by its place
in the order, between nodes that were found already. The work grows with the number of nodes, not its square:
what is compared with everything else is bounded.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Literal

from n2nspec.graph.model import Graph, Node
from n2nspec.layers import LayerSpec
from n2nspec.layers.registry import type_names

__all__ = ["INPUT", "By", "Pair", "Side", "in_both_orders", "match", "numbered", "values"]

INPUT = -1
"""The number of the network's input; the two inputs always belong together."""

LARGEST_GAP = 2**18
"""Pairs of nodes that are compared with each other at one place."""
EFFORT = 2**20
"""And in all: a second or two."""

Pair = tuple[int, int]
By = Literal["names", "sources", "readers"]
Score = Callable[[int, int], int]


@cache
def _kind(layer_type: type[LayerSpec]) -> str:
    """The type, by the first of its names."""
    return type_names(layer_type, LayerSpec)[0]


def numbered(node: Node) -> str | None:
    """For a name that is a type and a number, as nodes without one get (`e1.relu2`), what stands before it.

    None for a name that says more. Such numbers change when a layer is put in before.
    """
    before, _, last = node.name.rpartition(".")
    return before if re.fullmatch(rf"{re.escape(node.layer.type.lower())}\d+", last) else None


class Side:
    """One of the two graphs, by numbers.

    Attributes:
        owners: for each node whose weights it uses.
        sources: for each node the numbers that it reads, in argument order.
        readers: for each node who reads it, and as which argument.
        kinds: the type of each node.
        tokens: type and fields of each node.
        names: name and type of each node.
        given: name and type of each node whose name says more than a number does; None for others.
    """

    def __init__(self, graph: Graph) -> None:
        self.nodes: Sequence[Node] = graph.nodes
        self.number = {graph.input_name: INPUT, **{node.name: i for i, node in enumerate(graph.nodes)}}
        self.output = self.number[graph.output]
        self.owners = [self.number[node.owner] for node in graph.nodes]
        self.sources = [tuple(self.number[name] for name in node.inputs) for node in graph.nodes]
        self.readers: list[list[Pair]] = [[] for _ in graph.nodes]
        for number, sources in enumerate(self.sources):
            for argument, source in enumerate(sources):
                if source != INPUT:
                    self.readers[source].append((number, argument))
        self.kinds = [_kind(type(node.layer)) for node in graph.nodes]
        self.tokens = [
            (name, tuple(repr(value) for value in values(node.layer).values()))
            for name, node in zip(self.kinds, graph.nodes, strict=True)
        ]
        self.names = [(node.name, name) for node, name in zip(graph.nodes, self.kinds, strict=True)]
        self.given = [
            name if numbered(node) is None else None
            for name, node in zip(self.names, graph.nodes, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.nodes)

    def upstream(self, known: dict[Hashable, int]) -> list[int]:
        """For each node a number that stands for all of it and of what it reads, the same in both graphs."""
        found: list[int] = []
        for token, sources in zip(self.tokens, self.sources, strict=True):
            key = (token, *(INPUT if source == INPUT else found[source] for source in sources))
            found.append(known.setdefault(key, len(known)))
        return found

    def downstream(self, known: dict[Hashable, int]) -> list[int]:
        """Likewise of who reads it. In one graph no two nodes that the output depends on have the same: the
        ways from them to it would have to be equal, argument by argument."""
        found = [0] * len(self)
        for number in reversed(range(len(self))):
            readers = sorted((found[reader], argument) for reader, argument in self.readers[number])
            key = (self.tokens[number], number == self.output, *readers)
            found[number] = known.setdefault(key, len(known))
        return found


def match(first: Side, second: Side, first_by: By) -> dict[int, int]:
    """Numbers of the second graph's nodes by those of the first's.

    `first_by` is what is trusted most: the names that the author gave, as long as types are the same; what
    nodes come from; or what becomes of them. Where names are not, they only decide between equals.
    """
    return _Matcher(first, second).run(first_by)


def in_both_orders(pairs: Iterable[Pair]) -> list[Pair]:
    """As many of the pairs as can be, such that one that is later in one graph is later in the other, too.

    The longest increasing subsequence, by patience sorting.
    """
    ends: list[int] = []  # the smallest end of an increasing row, for each length
    rows: list[int] = []  # which pair that is
    ordered = sorted(pairs)
    before = [-1] * len(ordered)
    for index, (_, there) in enumerate(ordered):
        length = bisect_left(ends, there)
        ends[length : length + 1] = [there]
        rows[length : length + 1] = [index]
        before[index] = rows[length - 1] if length else -1
    found = []
    index = rows[-1] if rows else -1
    while index >= 0:
        found.append(ordered[index])
        index = before[index]
    return found[::-1]


class _Matcher:
    def __init__(self, first: Side, second: Side) -> None:
        self.first, self.second = first, second
        self.pairs: dict[int, int] = {}
        self.taken: set[int] = set()
        self.effort = EFFORT
        self._likeness: dict[tuple[Hashable, Hashable], float] = {}

    def run(self, first_by: By) -> dict[int, int]:
        a, b = self.first, self.second
        if first_by == "names":
            self._zip(a.given, b.given)
        ups = _both(Side.upstream, a, b)
        downs = _both(Side.downstream, a, b)
        self._zip(*(list(zip(up, down, strict=True)) for up, down in zip(ups, downs, strict=True)))
        for keys in (downs, ups) if first_by == "readers" else (ups, downs):
            self._zip(*keys)
        for left, right in list(self._gaps()):
            self._align(left, right)
        # what is left is in another place
        self._zip(a.given, b.given)
        self._zip(*(list(zip(side.names, side.tokens, strict=True)) for side in (a, b)))
        self._zip(a.tokens, b.tokens, unique=True)
        self._zip(*([name and name[0] for name in side.given] for side in (a, b)))
        return self.pairs

    def _put(self, a: int, b: int) -> None:
        self.pairs[a] = b
        self.taken.add(b)

    def _free(self) -> tuple[list[int], list[int]]:
        return (
            [number for number in range(len(self.first)) if number not in self.pairs],
            [number for number in range(len(self.second)) if number not in self.taken],
        )

    def _zip(self, ours: Sequence[Hashable], theirs: Sequence[Hashable], *, unique: bool = False) -> None:
        """Pairs what has the same key, which is not None; of several those that read the same, then those of
        the same name, then one after the other.

        `unique`: only where a key is left once on both sides.
        """
        groups: dict[Hashable, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for side, keys, numbers in zip((0, 1), (ours, theirs), self._free(), strict=True):
            for number in numbers:
                if keys[number] is not None:
                    groups[keys[number]][side].append(number)
        for left, right in groups.values():
            if len(left) == len(right) == 1:
                self._put(left[0], right[0])
            elif left and right and not unique:
                self._put_equal(left, right, self._sources_there, self.second.sources.__getitem__)
                self._put_equal(left, right, self.first.names.__getitem__, self.second.names.__getitem__)
                self._put_equal(left, right, lambda _: None, lambda _: None)

    def _put_equal(
        self,
        left: list[int],
        right: list[int],
        ours: Callable[[int], Hashable],
        theirs: Callable[[int], Hashable],
    ) -> None:
        """Pairs the first with the first among those that are free and for which the two functions agree."""
        places: dict[Hashable, list[int]] = defaultdict(list)
        for number in reversed(right):
            if number not in self.taken:
                places[theirs(number)].append(number)
        for number in left:
            if number not in self.pairs and (same := places[ours(number)]):
                self._put(number, same.pop())

    def _sources_there(self, number: int) -> tuple[int | None, ...]:
        """What a node of the first graph would read in the second; None for what has no counterpart."""
        sources = self.first.sources[number]
        return tuple(INPUT if source == INPUT else self.pairs.get(source) for source in sources)

    def _gaps(self) -> Iterable[tuple[list[int], list[int]]]:
        """What is left between pairs that follow each other in both orders."""
        free = self._free()
        anchors = [(-1, -1), *in_both_orders(self.pairs.items()), (len(self.first), len(self.second))]
        return _between(free, anchors)

    def _align(self, left: list[int], right: list[int], rounds: int = 2) -> None:
        """Pairs like with like, keeping the order."""
        size = len(left) * len(right)
        if size <= min(LARGEST_GAP, self.effort):
            self.effort -= size
            for a, b in _alignment(left, right, self._score):
                self._put(a, b)
        elif rounds:
            # too many to compare: what is equal to the letter, first with first; then what has one name
            keys = [side.tokens if rounds == 2 else side.names for side in (self.first, self.second)]
            places: dict[Hashable, list[int]] = defaultdict(list)
            for number in reversed(right):
                places[keys[1][number]].append(number)
            anchors = in_both_orders((a, same.pop()) for a in left if (same := places[keys[0][a]]))
            for a, b in anchors:
                self._put(a, b)
            rest = [a for a in left if a not in self.pairs], [b for b in right if b not in self.taken]
            ends = (left[0] - 1, right[0] - 1), (left[-1] + 1, right[-1] + 1)
            for one, other in _between(rest, [ends[0], *anchors, ends[1]]):
                self._align(one, other, rounds - 1)

    def _score(self, a: int, b: int) -> int:
        """How much speaks for two nodes being the same; 0 when they are not."""
        one, other = self.first, self.second
        if one.kinds[a] != other.kinds[b]:
            return 0
        likeness = self._alike(a, b)
        same_name = one.nodes[a].name == other.nodes[b].name
        nameless = one.given[a] is None and other.given[b] is None
        if likeness < 0.5 and not same_name and not nameless:
            return 0
        readers = {self.pairs.get(reader) for reader, _ in one.readers[a]}
        near = not set(other.sources[b]).isdisjoint(self._sources_there(a))
        read = any(reader in readers for reader, _ in other.readers[b])
        return 8 + int(8 * likeness) + 4 * near + 4 * read + 2 * same_name

    def _alike(self, a: int, b: int) -> float:
        """The part of the fields that are equal, among those that are not at their default in both."""
        key = self.first.tokens[a], self.second.tokens[b]
        if key not in self._likeness:
            one, other = self.first.nodes[a].layer, self.second.nodes[b].layer
            mine, others = values(one), values(other)
            said = [name for name in mine if name not in _defaults(one) or name not in _defaults(other)]
            equal = sum(mine[name] == others.get(name) for name in said)
            self._likeness[key] = equal / len(said) if said else 1.0
        return self._likeness[key]


def _both(
    numbers: Callable[[Side, dict[Hashable, int]], list[int]], first: Side, second: Side
) -> tuple[list[int], list[int]]:
    known: dict[Hashable, int] = {}
    return numbers(first, known), numbers(second, known)


def values(layer: LayerSpec) -> Mapping[str, Any]:
    """The fields but for the type."""
    return {name: getattr(layer, name) for name in type(layer).model_fields if name != "type"}


def _defaults(layer: LayerSpec) -> set[str]:
    """The fields that have their default's value."""
    fields = type(layer).model_fields.items()
    return {
        name for name, field in fields if getattr(layer, name) == field.get_default(call_default_factory=True)
    }


def _between(
    free: tuple[list[int], list[int]], anchors: Sequence[Pair]
) -> Iterable[tuple[list[int], list[int]]]:
    """The free numbers between neighbouring anchors, where both sides have some."""
    left, right = free
    for (a, b), (c, d) in pairwise(anchors):
        ours = left[bisect_left(left, a + 1) : bisect_left(left, c)]
        theirs = right[bisect_left(right, b + 1) : bisect_left(right, d)]
        if ours and theirs:
            yield ours, theirs


def _alignment(left: list[int], right: list[int], score: Score) -> Iterable[Pair]:
    """The pairs, in order on both sides, whose scores have the largest sum (Needleman and Wunsch 1970, with
    gaps that cost nothing)."""
    best = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]  # of what lies behind
    gains = [[score(a, b) for b in right] for a in left]
    for i in reversed(range(len(left))):
        for j in reversed(range(len(right))):
            together = gains[i][j] + best[i + 1][j + 1] if gains[i][j] else 0
            best[i][j] = max(together, best[i + 1][j], best[i][j + 1])
    i = j = 0
    while i < len(left) and j < len(right):
        if gains[i][j] and best[i][j] == gains[i][j] + best[i + 1][j + 1]:
            yield left[i], right[j]
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
