"""Spec → Wiring: names, connections and order, whatever is wrong with them.

In: a spec, or the sound part of one. Out: its layers as nodes, connected by their numbers, and every mistake
in the connections. What cannot be known because of a mistake (a source of no name or of two, an input in a
circle, a layer that did not validate) is `None`, so that what follows is neither guessed at nor blamed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise

from n2nspec._lazy import networkx as nx
from n2nspec.diagnostics import Diagnostic, quote
from n2nspec.geometry import Shape, Symbolic
from n2nspec.graph.model import DocumentPath, Node
from n2nspec.graph.places import Names, at, label
from n2nspec.spec import Part, Spec, Unsound

__all__ = ["INPUT", "Wiring", "wire"]

INPUT = -1
"""The number of the network's input; the nodes count from 0, as written."""

SHOWN = 6
"""Nodes of a circle that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """The layers of a spec and what they read.

    Attributes:
        input_shape: None when [input] is wrong.
        nodes: as written.
        sources: for each node the numbers of what it reads, in argument order; None when unknown.
        order: the numbers of the nodes, topologically; as written, where that is an order.
        output: the number of the result; None when unknown.
        problems: what is wrong with the connections.
    """

    part: Part
    input_name: str
    input_shape: Shape | None
    nodes: tuple[Node, ...]
    sources: tuple[tuple[int, ...] | None, ...]
    order: tuple[int, ...]
    output: int | None
    problems: tuple[Diagnostic, ...] = ()

    @property
    def spec(self) -> Spec:
        return self.part.spec

    def named(self, number: int) -> str:
        return self.input_name if number == INPUT else self.nodes[number].name

    def path(self, number: int) -> DocumentPath:
        """Where a value gets its name: in its layer, or in [input]."""
        return ("input", self.input_name) if number == INPUT else (*self.nodes[number].path, "name")

    @property
    def numbers(self) -> dict[str, int | None]:
        """Number by name; None for a name that two layers have."""
        return _numbers([self.input_name, *(node.name for node in self.nodes)])


def wire(part: Part) -> Wiring:
    """The wiring of the layers of a spec."""
    spec = part.spec
    ((input_name, dims),) = spec.input.items()
    shape: Shape = tuple(Symbolic(dim) if isinstance(dim, str) else dim for dim in dims)
    nodes = _nodes(spec, input_name)
    reader = _Reader(part, input_name, nodes)
    problems = [*_duplicates(spec, nodes, input_name), *reader.read(), *_shares(part, nodes, input_name)]

    circles, order = _order(reader.known)
    for circle in circles:
        problems.append(_circle(spec, nodes, reader.known, circle))
        for number in circle:
            reader.sources[number] = None
    output = len(nodes) - 1 if nodes else None
    if spec.output:
        ((key, name),) = spec.output.items()
        place = ("output", key)
        output = reader.numbers.get(name)
        if output == INPUT or (name not in reader.numbers and not part.may_name(name)):
            output = None
            layers = Names([node.name for node in nodes], input=input_name)
            problems.append(layers.unknown(spec, place, name))
    if "output" in part.doubtful:
        output = None
    if not nodes:
        problems.append(at(spec, (), "E201", "the spec has no layers", help="add a [[encoder]] table"))
    sources = tuple(reader.sources)
    return Wiring(
        part=part,
        input_name=input_name,
        input_shape=None if "input" in part.doubtful else shape,
        nodes=nodes,
        sources=sources,
        order=order,
        output=output,
        problems=tuple(problems),
    )


def _nodes(spec: Spec, input_name: str) -> tuple[Node, ...]:
    """Nodes as written, with the names and inputs that were left out filled in."""
    entries = [
        (stage, index, entry)
        for stage in ("encoder", "decoder")
        for index, entry in enumerate(getattr(spec, stage))
    ]
    taken = {entry.name for _, _, entry in entries} | {input_name}
    free: dict[str, Iterator[str]] = {}  # for each type, the names that are still to be given
    nodes: list[Node] = []
    previous = input_name
    for stage, index, entry in entries:
        kind = entry.type.lower()
        numbered = free.setdefault(kind, _numbered(kind, taken))
        name = next(numbered) if entry.name is None else entry.name
        inputs = (previous,) if entry.sources is None else entry.sources
        nodes.append(
            Node(
                name=name, layer=entry.layer, inputs=inputs, stage=stage, path=(stage, index),
                share=entry.share,
            )
        )  # fmt: skip
        previous = name
    return tuple(nodes)


def _numbered(kind: str, taken: set[str | None]) -> Iterator[str]:
    """relu1, relu2, … without the names that the author gave."""
    return (name for number in count(1) if (name := f"{kind}{number}") not in taken)


def _numbers(names: Sequence[str]) -> dict[str, int | None]:
    numbers: dict[str, int | None] = {}
    for number, name in enumerate(names, start=INPUT):
        numbers[name] = None if name in numbers else number
    numbers[names[0]] = INPUT  # whoever reads it means the input, not a layer that is called so, too
    return numbers


class _Reader:
    """Finds what each node reads.

    Attributes:
        known: the numbers that are certain, for order and circles.
        sources: the whole tuple, or None when a part of it is unknown.
    """

    def __init__(self, part: Part, input_name: str, nodes: tuple[Node, ...]) -> None:
        self.part, self.nodes = part, nodes
        self.entries = (*part.spec.encoder, *part.spec.decoder)
        names = [input_name, *(node.name for node in nodes)]
        self.numbers = _numbers(names)
        self.known: list[tuple[int, ...]] = []
        self.sources: list[tuple[int, ...] | None] = []
        self._names = Names(names)

    def read(self) -> Iterator[Diagnostic]:
        spec = self.part.spec
        for number, node in enumerate(self.nodes):
            found: list[int | None] = [number - 1]
            if self.entries[number].sources is not None:
                found = [
                    None if self.part.may_count(name) else self.numbers.get(name) for name in node.inputs
                ]
                listed = not isinstance(self.entries[number].from_, str)
                for name in dict.fromkeys(node.inputs):
                    if name not in self.numbers and not self.part.may_name(name):
                        index = (node.inputs.index(name),) if listed else ()
                        yield self._names.unknown(spec, (*node.path, "from", *index), name)
            self.known.append(tuple(source for source in found if source is not None))
            problem = self._arity(node, number)
            if problem:
                yield problem
            sound = not problem and not isinstance(node.layer, Unsound)
            self.sources.append(self.known[-1] if sound and len(self.known[-1]) == len(found) else None)

    def _arity(self, node: Node, number: int) -> Diagnostic | None:
        least, most = node.layer.arity, node.layer.most_inputs
        if least <= len(node.inputs) <= (most or len(node.inputs)):
            return None
        spec = self.part.spec
        expected = (
            f"{least} or more" if most is None else f"{least} to {most}" if most > least else str(least)
        )
        too_few = least > len(node.inputs)
        given = self.entries[number].sources is not None
        before = (*self.nodes[number - 1].path, "name") if number else ("input", next(iter(spec.input)))
        return at(
            spec,
            (*node.path, "from"),
            "E205",
            f"{node.layer.type} {quote(node.name)} takes {expected} input{'s' * (expected != '1')};"
            f" received {len(node.inputs)}",
            help='list the names in `from`, such as from = ["a", "b"]'
            if too_few
            else "name one input in `from`, or use a layer of several inputs",
            labels=[] if given else [label(spec, before, "without `from`, it reads this")],
        )


def _duplicates(spec: Spec, nodes: tuple[Node, ...], input_name: str) -> Iterator[Diagnostic]:
    first: dict[str, DocumentPath] = {input_name: ("input", input_name)}
    for node in nodes:
        if node.name in first:
            before = first[node.name]
            is_input = before[0] == "input"
            place = label(spec, before if is_input else (*before, "name"), "first used here", key=is_input)
            yield at(
                spec,
                (*node.path, "name"),
                "E202",
                f"the name {quote(node.name)} is used twice",
                help="give this layer another name",
                labels=[place],
            )
        first.setdefault(node.name, node.path)


def _shares(part: Part, nodes: tuple[Node, ...], input_name: str) -> Iterator[Diagnostic]:
    """Names in `share` that are no layers, or layers that have no weights of their own to share."""
    names = Names([node.name for node in nodes], input=input_name)
    by_name = {node.name: node for node in nodes}
    for node in nodes:
        if node.share is None:
            continue
        place = (*node.path, "share")
        owner = by_name.get(node.share)
        if owner is None:
            if not part.may_name(node.share):
                yield names.unknown(part.spec, place, node.share)
        elif owner.share is not None:
            itself = owner.name == node.name
            yield at(
                part.spec, place, "E210",
                f"{quote(node.name)} shares its own weights"
                if itself
                else f"{quote(owner.name)} has no weights of its own to share: it shares those of"
                f" {quote(owner.share)}",
                help="name another layer, or remove this line"
                if itself
                else f"write share = {quote(owner.share)}",
                labels=[] if itself else [label(part.spec, (*owner.path, "share"), "it shares these")],
            )  # fmt: skip


def _order(known: list[tuple[int, ...]]) -> tuple[list[list[int]], tuple[int, ...]]:
    """The circles, and all numbers in order, as if nothing in a circle read anything."""
    if all(source < number for number, sources in enumerate(known) for source in sources):
        return [], tuple(range(len(known)))
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(known)))
    graph.add_edges_from(
        (source, number) for number, sources in enumerate(known) for source in sources if source != INPUT
    )
    circles = sorted(
        sorted(circle)
        for circle in nx.strongly_connected_components(graph)
        if len(circle) > 1 or graph.has_edge(*circle, *circle)
    )
    for circle in circles:
        graph.remove_edges_from(list(graph.in_edges(circle)))
    return circles, tuple(nx.lexicographical_topological_sort(graph))


def _circle(
    spec: Spec, nodes: tuple[Node, ...], known: list[tuple[int, ...]], circle: list[int]
) -> Diagnostic:
    """One error for a knot of layers that wait for each other, whatever circles it is made of."""
    inside = set(circle)
    walk = [circle[0]]
    seen = {circle[0]: 0}
    while True:  # against the arrows, until a node comes back
        before = next(source for source in known[walk[-1]] if source in inside)
        if before in seen:
            walk = walk[seen[before] :]
            break
        seen[before] = len(walk)
        walk.append(before)
    walk.reverse()
    start = walk.index(min(walk))
    walk = walk[start:] + walk[:start]
    names = [nodes[number].name for number in (*walk, walk[0])]
    if len(names) > SHOWN:
        names = [*names[: SHOWN - 2], "…", *names[-2:]]
    members = [nodes[number] for number in walk]
    return at(
        spec, (*members[0].path, "from"), "E204", f"the graph runs in a circle: {' → '.join(names)}",
        help="a layer may only use what comes before it; change one of these `from`",
        labels=[
            label(spec, (*node.path, "from"), f"{quote(node.name)} reads {quote(before.name)}")
            for before, node in pairwise(members[: SHOWN - 1])
        ],
    )  # fmt: skip
