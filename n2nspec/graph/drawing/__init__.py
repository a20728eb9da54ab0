"""Drawings of a network: SVG to look at, Mermaid and DOT for tools that lay out by themselves.

In: a shaped graph, and a picture size where numbers are wanted. Out: the text of a file; equal networks give
equal texts.
"""

from __future__ import annotations

from collections.abc import Mapping

from n2nspec.graph.drawing.blocks import diagram
from n2nspec.graph.drawing.dot import to_dot
from n2nspec.graph.drawing.mermaid import to_mermaid
from n2nspec.graph.drawing.svg import to_svg
from n2nspec.graph.model import ShapedGraph

__all__ = ["FORMATS", "MARK", "draw"]

FORMATS = (".svg", ".mmd", ".dot")
MARK = "drawn by n2nspec"
"""Stands near the beginning of every drawing."""


def draw(graph: ShapedGraph, suffix: str, values: Mapping[str, int] | None = None) -> str:
    """The text of a drawing.

    Args:
        suffix: one of FORMATS.
        values: for symbols of the input's shape, as `size_values` gives them; formulae without.
    """
    values = values or {}
    match suffix:
        case ".svg":
            return to_svg(diagram(graph, values))
        case ".mmd":
            return to_mermaid(graph, values)
        case ".dot":
            return to_dot(graph, values)
    raise ValueError(f"expected one of {', '.join(FORMATS)}; received {suffix!r}")
