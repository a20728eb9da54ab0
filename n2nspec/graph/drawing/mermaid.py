"""ShapedGraph → Mermaid, a flowchart that GitHub and many editors draw.

In: a shaped graph. Out: the text of an .mmd file with every layer, its shape, and a subgraph for each block.
Syntax: https://mermaid.js.org/syntax/flowchart.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from n2nspec.graph.drawing.listing import COLOURS, Entry, edges, groups
from n2nspec.graph.model import ShapedGraph

__all__ = ["to_mermaid"]

ENTITIES = str.maketrans({"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;"})


def to_mermaid(graph: ShapedGraph, values: Mapping[str, int]) -> str:
    """A flowchart from left to right, with numbers for the symbols that have values."""
    return "\n".join(_lines(graph, values)) + "\n"


def _lines(graph: ShapedGraph, values: Mapping[str, int]) -> Iterator[str]:
    number = {name: f"n{index}" for index, name in enumerate(graph.shapes)}  # names may be words of Mermaid
    listed = groups(graph, values)
    yield from ("---", f'title: "{graph.spec.name}"', "---", "%% drawn by n2nspec", "flowchart LR")
    for index, (group, entries) in enumerate(listed.items()):
        if group:
            yield f'  subgraph s{index}["{group}"]'
        for entry in entries:
            yield f"  {'  ' if group else ''}{_node(number[entry.name], entry)}"
        if group:
            yield "  end"
    for edge in edges(graph):
        line = "-->" if edge.live else "-.->"
        place = f"|{edge.place}|" if edge.place else ""
        yield f"  {number[edge.source]} {line}{place} {number[edge.target]}"
    looks = dict.fromkeys(entry.look for entries in listed.values() for entry in entries)
    for look in looks:
        fill, stroke = COLOURS[look]
        dash = ",stroke-dasharray:4 3" if look == "unused" else ""
        yield f"  classDef {look} fill:{fill},stroke:{stroke},color:#1f2937{dash}"


def _node(identifier: str, entry: Entry) -> str:
    label = "<br>".join(line.translate(ENTITIES) for line in (entry.name, *entry.lines))
    shape = '(["{}"])' if entry.look == "input" else '["{}"]'
    return f"{identifier}{shape.format(label)}:::{entry.look}"
