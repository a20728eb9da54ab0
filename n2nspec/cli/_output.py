"""Consoles and the printing of diagnostics, shared by the commands."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable

import click
from rich.console import Console

from n2nspec.diagnostics import Diagnostic, render

__all__ = ["finite", "human", "human_bytes", "print_diagnostics", "stderr", "stdout"]


def stdout() -> Console:
    """For results. Never wraps or truncates a table when the output is not a terminal."""
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 160)


def stderr() -> Console:
    """For progress."""
    return Console(file=sys.stderr, highlight=False)


def print_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """Each with its source line and caret, on stderr."""
    for diagnostic in diagnostics:
        click.echo(render(diagnostic, color=sys.stderr.isatty()), err=True)


def finite(value: float) -> float | None:
    """For JSON, which has no NaN and no infinity."""
    return value if math.isfinite(value) else None


def human(count: int) -> str:
    """A count with thousands separated: 2,027,520."""
    return f"{count:,}"


def human_bytes(count: int) -> str:
    """Bytes in the largest binary unit that leaves at least 1: 1.5 MiB."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
