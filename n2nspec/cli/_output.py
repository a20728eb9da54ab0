"""Consoles and the printing of diagnostics, shared by the commands."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from n2nspec.diagnostics import Diagnostic, render_all, summary

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["bold", "finite", "human", "human_bytes", "print_diagnostics", "stderr", "stdout"]


class _Tolerant:
    """A stream that nobody may be reading: progress that cannot be shown must not end a training run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def stdout() -> Console:
    """For results. Wide enough for any table: a terminal may wrap a row, but no column is left out."""
    from n2nspec.cli._consoles import PatientConsole  # here: rich takes as long to import as a check to run

    return PatientConsole(file=sys.stdout, highlight=False, width=160)


def stderr() -> Console:
    """For progress."""
    from n2nspec.cli._consoles import PatientConsole

    return PatientConsole(file=cast(TextIO, _Tolerant(sys.stderr)), highlight=False)


def print_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """On stderr, with source lines and carets, empty lines between them, and the number of several."""
    found = tuple(diagnostics)
    if found:
        print(render_all(found, color=_colourful(sys.stderr)), file=_Tolerant(sys.stderr))
    if len(found) > 1:
        print(f"\n{summary(found)}", file=_Tolerant(sys.stderr))


def bold(text: str) -> str:
    """A heading on stdout."""
    return f"\x1b[1m{text}\x1b[0m" if _colourful(sys.stdout) else text


def _colourful(stream: TextIO) -> bool:
    """On a terminal that shows colours, for a reader who has not refused them (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


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
