"""What `compile --show-passes` says: a table for people, an array for programs."""

from __future__ import annotations

from typing import Any

from n2nspec.cli._output import bold, human
from n2nspec.cli._sizes import render_size
from n2nspec.cli._table import Table
from n2nspec.compiler.passes import Change, trace
from n2nspec.compiler.program import program
from n2nspec.graph import ShapedGraph

__all__ = ["changes", "document", "lines"]

NAMES_SHOWN = 8


def changes(graph: ShapedGraph, shape: tuple[int, ...]) -> list[Change]:
    """What each pass does for an input of this shape."""
    return list(trace(program(graph, shape)))


def document(changes: list[Change]) -> list[dict[str, Any]]:
    """What each pass changed, and the operations, MACs and numbers held before and after it."""
    return [
        {
            "name": change.name,
            "values": list(change.values),
            "operations": {"before": len(change.before.ops), "after": len(change.after.ops)},
            "macs": {"before": change.before.macs, "after": change.after.macs},
            "numbers": {"before": change.before.numbers, "after": change.after.numbers},
        }
        for change in changes
    ]


def lines(changes: list[Change]) -> list[str]:
    """The same for people, as what each pass saved."""
    assert changes
    title = f"passes at {render_size(changes[0].before.input_shape)}"
    table = Table(
        header=(title, "operations saved", "MACs saved", "numbers saved", "changed"),
        right=frozenset({1, 2, 3}),
    )
    for name, values, before, after in [
        *((change.name, change.values, change.before, change.after) for change in changes),
        ("all of them", None, changes[0].before, changes[-1].after),
    ]:
        saved = (
            len(before.ops) - len(after.ops), before.macs - after.macs, before.numbers - after.numbers
        )  # fmt: skip
        cells = [human(count) if count else "" for count in saved]
        table.rows.append([name, *cells, "" if values is None else _names(values)])
    first, *lines = table.lines()
    return [bold(first), *lines]


def _names(values: tuple[str, ...]) -> str:
    if not values:
        return "nothing"
    more = len(values) - NAMES_SHOWN
    return ", ".join(values[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
