"""ShapedGraph → DOT, the language of Graphviz.

In: a shaped graph. Out: the text of a .dot file with every layer, its shape, and a cluster for each block.
Syntax: https://graphviz.org/doc/info/lang.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from n2nspec.graph.drawing.listing import COLOURS, Entry, edges, groups
from n2nspec.graph.model import ShapedGraph

__all__ = ["to_dot"]


def to_dot(graph: ShapedGraph, values: Mapping[str, int]) -> str:
    """A directed graph from left to right, with numbers for the symbols that have values."""
    return "\n".join(_lines(graph, values)) + "\n"


def _lines(graph: ShapedGraph, values: Mapping[str, int]) -> Iterator[str]:
    yield "// drawn by n2nspec"
    yield f"digraph {_quoted(graph.spec.name)} {{"
    yield '  graph [rankdir=LR, fontname="Helvetica", bgcolor=white, color="#9ca3af"];'
    yield '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];'
    yield '  edge [fontname="Helvetica", fontsize=9, color="#4b5563"];'
    for index, (group, entries) in enumerate(groups(graph, values).items()):
        if group:
            yield f"  subgraph cluster_{index} {{"
            yield f"    label={_quoted(group)};"
        for entry in entries:
            yield f"  {'  ' if group else ''}{_node(entry)}"
        if group:
            yield "  }"
    for edge in edges(graph):
        attributes = [f'label="{edge.place}"'] * (edge.place > 0) + ["style=dashed"] * (not edge.live)
        more = f" [{', '.join(attributes)}]" if attributes else ""
        yield f"  {_quoted(edge.source)} -> {_quoted(edge.target)}{more};"
    yield "}"


def _node(entry: Entry) -> str:
    fill, line = COLOURS[entry.look]
    dashed = ', style="rounded,filled,dashed"' if entry.look == "unused" else ""
    label = "\\n".join(_escaped(text) for text in (entry.name, *entry.lines))
    return f'{_quoted(entry.name)} [label="{label}", fillcolor="{fill}", color="{line}"{dashed}];'


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    """For double quotes; a backslash would begin one of Graphviz's own escapes."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
