"""What is legal in a graph but surely not meant.

In: a wiring, or a shaped graph and the picture sizes it is asked about. Out: warnings; nobody is kept from
anything by them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import gcd, lcm

from n2nspec.diagnostics import Diagnostic, plural, quote
from n2nspec.geometry import AxisRule, Dim, SizeSet
from n2nspec.graph.model import ShapedGraph
from n2nspec.graph.places import at, in_order, label, once
from n2nspec.graph.wiring import INPUT, Wiring

__all__ = ["repeated", "untrainable", "unread", "unused", "warnings_at"]

LONGEST_SEARCH = 2**16
"""Picture sizes that are looked at one by one for one layer; a law with a longer period is not judged."""


def unused(wiring: Wiring) -> Iterator[Diagnostic]:
    """W201: layers that nobody reads and that are not the output."""
    assert wiring.output is not None
    read = {source for sources in wiring.sources for source in sources or ()} | {wiring.output}
    result = wiring.named(wiring.output)
    for number, node in enumerate(wiring.nodes):
        if number not in read:
            yield at(
                wiring.spec, node.path, "W201", f"nobody uses the output of {quote(node.name)}", show="name",
                help=f"use it in a `from`, name it in [output], or remove it; the result is {quote(result)}",
            )  # fmt: skip


def repeated(wiring: Wiring) -> Iterator[Diagnostic]:
    """W202: an activation that reads one of its own type; one warning for each row of them."""
    rows: dict[int, list[int]] = {}  # by their last layer
    for number in wiring.order:
        node, sources = wiring.nodes[number], wiring.sources[number]
        if not node.layer.activation or sources is None or sources[0] == INPUT:
            continue
        before = sources[0]
        if type(wiring.nodes[before].layer) is type(node.layer):
            # what goes on from a row's last layer lengthens it; what branches off is another
            row = rows.pop(before, [before])
            row.append(number)
            rows[number] = row
    for row in rows.values():
        first, second, last = (wiring.nodes[number] for number in (row[0], row[1], row[-1]))
        kind = second.layer.type
        yield at(
            wiring.spec, second.path, "W202",
            f"{quote(second.name)} is a {kind} right after {quote(first.name)}, another one"
            if len(row) == 2
            else f"{quote(first.name)} to {quote(last.name)} are {len(row):,} {kind} layers in a row",
            help=f"remove {'one' if len(row) == 2 else 'all but one'} of them, or put a layer with weights in"
            " between",
            show="name", labels=[label(wiring.spec, (*first.path, "name"), "the first one")],
        )  # fmt: skip


def untrainable(graph: ShapedGraph) -> Iterator[Diagnostic]:
    """W204: layers that get a single value a channel in training, whatever the picture."""
    for condition in graph.conditions:
        if not condition.ones:
            node = graph.by_name[condition.node]
            yield at(
                graph.spec, node.path, "W204",
                f"this network cannot be trained: {quote(node.name)} needs more than one value a channel in"
                " training, and gets one for every picture size",
                show="name", help="put it where the picture is larger, or leave it out",
            )  # fmt: skip


def unread(graph: ShapedGraph, values: Mapping[str, int] | None = None) -> Iterator[Diagnostic]:
    """W203: layers whose stride leaves the last rows or columns of their input unread.

    Without `values` of the symbols: those that do so for every picture size that works.
    """
    for node in graph.nodes:
        if not node.layer.spatial:
            continue
        dims = graph.shapes[node.inputs[0]][-2:]
        found = [
            (what, rule, dim, size)
            for what, rule, dim in zip(("row", "column"), node.layer.axes(), dims, strict=True)
            if (size := _leaving(rule, dim, graph.sizes, values)) is not None
        ]
        if found:
            parts = " and ".join(_counted(what, rule.unread(size)) for what, rule, _, size in found)
            formulae = " and ".join(dict.fromkeys(rule.remainder(size) for _, rule, _, size in found))
            always = values is None and any(not isinstance(dim, int) for _, _, dim, _ in found)
            sizes = ", at any picture size that works; at the smallest" if always else ""
            yield at(
                graph.spec, (*node.path, "stride"), "W203",
                f"{quote(node.name)} never reads the last {parts} of its input{sizes}: {formulae}",
                help="add padding, or choose a kernel_size and a stride that leave no remainder",
            )  # fmt: skip


def _counted(what: str, number: int) -> str:
    return what if number == 1 else plural(number, what)


def _leaving(
    rule: AxisRule, dim: Dim, sizes: Mapping[str, SizeSet], values: Mapping[str, int] | None
) -> int | None:
    """A size of the layer's input that leaves something unread, if all those in question do."""
    if rule.period == 1:
        return None
    if isinstance(dim, int):
        return dim if rule.unread(dim) else None
    function = dim.function
    if values is not None:
        pictures: list[int] = [values[dim.symbol]]
    else:
        # from `start` on what is left repeats with `period`: the function's, until it moves by whole strides
        allowed = sizes[dim.symbol]
        start = max(function.start, allowed.start)
        turns = rule.period // gcd(rule.period, function.gain)
        period = lcm(function.period * turns, allowed.period)
        if start + period > LONGEST_SEARCH:
            return None
        pictures = [*allowed.exceptions, *range(allowed.start, start + period)]
    smallest = None
    for picture in pictures:
        if values is None and picture not in sizes[dim.symbol]:
            continue
        size = function(picture)
        if size is None or not rule.unread(size):
            return None
        smallest = size if smallest is None else smallest
    return smallest


def warnings_at(graph: ShapedGraph, values: Mapping[str, int]) -> tuple[Diagnostic, ...]:
    """The graph's warnings, as they are for one picture size."""
    kept = [warning for warning in graph.warnings if warning.code != "W203"]
    return in_order(graph.spec, [*kept, *once(unread(graph, values))])
