"""Consoles and the printing of diagnostics, shared by the commands."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from n2nspec.diagnostics import Diagnostic, DiagnosticError, render_all, summary, to_json

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "MOST_SHOWN",
    "bold",
    "finite",
    "human",
    "human_bytes",
    "interrupted",
    "painted",
    "print_diagnostics",
    "refused",
    "stderr",
    "stdout",
]

MOST_SHOWN = 100
"""Diagnostics that are shown to people at once."""


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

    # FORCE_COLOR, which rich would follow here too, wants colours in a log, but no bar that moves
    return PatientConsole(
        file=cast(TextIO, _Tolerant(sys.stderr)), highlight=False, force_terminal=sys.stderr.isatty()
    )


def print_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """On stderr, with source lines and carets, empty lines between them, and the number of several.

    Nobody reads thousands of them: of very many the first are shown.
    """
    found = tuple(diagnostics)
    shown = found[:MOST_SHOWN]
    if found:
        print(render_all(shown, color=_colourful(sys.stderr)), file=_Tolerant(sys.stderr))
    if len(found) > len(shown):
        print(f"\n… and {len(found) - len(shown):,} more", file=_Tolerant(sys.stderr))
    if len(found) > 1:
        print(f"\n{summary(found)}", file=_Tolerant(sys.stderr))


def interrupted(*lines: str) -> int:
    """Says after Ctrl-C, whose ^C stands on the line, what is left; returns the exit code."""
    print("\ninterrupted" + "\n".join(lines), file=_Tolerant(sys.stderr))
    return 130


def refused(error: DiagnosticError, file: str | None = None) -> dict[str, Any]:
    """The JSON object of what could not be done; `file` is the spec, where one was named."""
    about = {} if file is None else {"file": file}
    return {"ok": False, **about, "diagnostics": [to_json(found) for found in error.diagnostics]}


def bold(text: str) -> str:
    """A heading on stdout."""
    return painted(text, 1)


def painted(text: str, code: int) -> str:
    """For stdout, where it shows colours; 31 is red, 32 green, 33 yellow, 36 cyan, 0 none."""
    return f"\x1b[{code}m{text}\x1b[0m" if code and _colourful(sys.stdout) else text


def _colourful(stream: TextIO) -> bool:
    """On a terminal that shows colours; the reader may refuse them (https://no-color.org), or ask for them
    elsewhere (https://force-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


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
