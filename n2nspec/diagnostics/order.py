"""Diagnostics in the order in which the author of a spec meets their places.

In: diagnostics of several stages. Out: the same by file, line and column; those without a text by their place
in the document, layers by their index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from n2nspec.diagnostics.model import Diagnostic

__all__ = ["in_source_order"]

_STEP = re.compile(r'\[(\d{1,9})\]|("(?:[^"\\]|\\.)*"|[\w-]+)')


def in_source_order(
    diagnostics: Iterable[Diagnostic], *, files: Sequence[str] = (), tables: Sequence[str] = ()
) -> tuple[Diagnostic, ...]:
    """Stable: what has no place of its own keeps its order, in front of what has one.

    Args:
        files: which text comes first; others follow by name, and the command line is last.
        tables: the order of the document's tables, for a spec without a text.
    """
    file_rank = {file: rank for rank, file in enumerate(files)}
    table_rank = {table: rank for rank, table in enumerate(tables)}

    def key(diagnostic: Diagnostic) -> tuple[object, ...]:
        span = diagnostic.span
        if span is not None:
            return (not span.in_file, file_rank.get(span.file, len(files)), span.file, span.line, span.column)
        place = _STEP.findall(diagnostic.path)
        first = table_rank.get(place[0][1], len(tables)) if place else -1
        return (False, -1, "", first, *(int(index) for index, _ in place if index))

    return tuple(sorted(diagnostics, key=key))
