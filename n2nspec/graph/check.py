"""Spec → ShapedGraph, with every mistake of every stage in one run.

In: a spec, or the file or dict of one. Out: the shaped graph with its warnings; or all errors, in source
order. A mistake in one place never hides one in another, and is not reported again where it shows up later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from n2nspec.diagnostics import Diagnostic, DiagnosticError
from n2nspec.graph.build import connected
from n2nspec.graph.model import ShapedGraph
from n2nspec.graph.places import in_order, once
from n2nspec.graph.shapes import Shapes, infer, shaped
from n2nspec.graph.warnings import repeated, unread, untrainable, unused
from n2nspec.graph.wiring import Wiring, wire
from n2nspec.spec import Part, Spec, examine

__all__ = ["analyse", "check"]


def analyse(spec: Spec) -> ShapedGraph:
    """`shape(build(spec))`, with all warnings.

    Raises:
        DiagnosticError: the mistakes of both stages.
    """
    wiring = wire(Part(spec=spec))
    return _finish(wiring, infer(wiring))


def check(
    source: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    allow_plugins: bool = False,
    folder: str | Path | None = None,
) -> ShapedGraph:
    """`analyse(load(…))` with the same arguments, but mistakes in the text do not hide those in the graph.

    Raises:
        DiagnosticError: the mistakes of all stages, in source order.
    """
    found = examine(source, overrides, allow_plugins=allow_plugins, folder=folder)
    if found.part is None:
        raise DiagnosticError(found.problems)
    wiring = wire(found.part)
    return _finish(wiring, infer(wiring), found.problems)


def _finish(wiring: Wiring, found: Shapes, before: tuple[Diagnostic, ...] = ()) -> ShapedGraph:
    problems = [*before, *once([*wiring.problems, *found.problems])]
    if problems:
        raise DiagnosticError(in_order(wiring.spec, problems))
    graph = shaped(connected(wiring), wiring, found)
    warnings = [*unused(wiring), *repeated(wiring), *unread(graph), *untrainable(graph)]
    return replace(graph, warnings=in_order(wiring.spec, [*wiring.spec.warnings, *once(warnings)]))
