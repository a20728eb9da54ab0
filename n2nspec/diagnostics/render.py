"""Diagnostics as text for people, and as plain data for programs.

In: diagnostics. Out: text with the source line and a caret under the fault, or a dict for JSON. Nothing is
printed here. A span that does not bring its line with it has it read from its file.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from n2nspec.diagnostics.model import Diagnostic, Span
from n2nspec.diagnostics.words import plural

__all__ = ["render", "render_all", "summary", "to_json"]

TAB = "    "
WIDEST = 100
"""Columns of a source line that are shown; of a longer one, the part around the fault."""

_RED, _YELLOW, _BLUE, _BOLD, _PLAIN = "\x1b[1;31m", "\x1b[1;33m", "\x1b[1;34m", "\x1b[1m", "\x1b[0m"


def to_json(diagnostic: Diagnostic) -> dict[str, Any]:
    """The keys of `compile --format json`. `line` and `column` are null where there is no file to open."""
    span = diagnostic.span
    in_file = span is not None and span.in_file
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "file": span.file if span is not None else diagnostic.file,
        "line": span.line if span is not None and in_file else None,
        "column": span.column if span is not None and in_file else None,
        "path": diagnostic.path,
        "help": diagnostic.help,
    }


def render_all(diagnostics: Iterable[Diagnostic], *, color: bool = False) -> str:
    """Several diagnostics, an empty line between them; ends without a line break."""
    return "\n\n".join(render(diagnostic, color=color) for diagnostic in diagnostics)


def summary(diagnostics: Iterable[Diagnostic]) -> str:
    """How many of each kind: `2 errors, 1 warning`; empty for none."""
    severities = [diagnostic.severity for diagnostic in diagnostics]
    counts = [(severities.count(severity), severity) for severity in ("error", "warning")]
    return ", ".join(plural(count, severity) for count, severity in counts if count)


def render(diagnostic: Diagnostic, *, color: bool = False) -> str:
    """One diagnostic:

    error[E110]: unknown key "kernal_size" in Conv2d
     --> specs/n2n.toml:14:1
       |
    14 | kernal_size = 3
       | ^^^^^^^^^^^
    help: did you mean "kernel_size"?
    """
    paint = _paint if color else _plain
    tone = _RED if diagnostic.severity == "error" else _YELLOW
    lines = [
        paint(f"{diagnostic.severity}[{diagnostic.code}]", tone)
        + paint(f": {_one_line(diagnostic.message)}", _BOLD)
    ]
    spans = [
        span for span in (diagnostic.span, *(label.span for label in diagnostic.labels)) if span is not None
    ]
    margin = max((len(_number(span)) for span in spans), default=0) or 1
    if diagnostic.span is not None:
        lines += _snippet(diagnostic.span, "-->", "^", "", margin, paint, tone)
    elif diagnostic.file or diagnostic.path:
        place = ": ".join(part for part in (diagnostic.file, diagnostic.path) if part)
        lines.append(paint(" --> ", _BLUE) + _one_line(place))
    for label in diagnostic.labels:
        lines += _snippet(label.span, ":::", "-", label.text, margin, paint, _BLUE)
    if diagnostic.help:
        lines.append(paint("help", _BLUE) + f": {_one_line(diagnostic.help)}")
    return "\n".join(lines)


def _snippet(span: Span, arrow: str, mark: str, text: str, margin: int, paint: Any, tone: str) -> list[str]:
    place = f"{span.file}:{span.line}:{span.column}" if span.in_file else span.file
    head = paint(f"{' ' * margin}{arrow}", _BLUE) + f" {_one_line(place)}"
    source = span.text if span.text is not None else _read_line(span)
    if source is None:
        return [head] + ([f"{' ' * margin} = {_one_line(text)}"] if text else [])
    last = span.end_column if span.end_line == span.line else len(source) + 1
    shown, before, width = _fit(source, span.column - 1, max(last - 1, span.column))
    bar = paint(f"{' ' * margin} |", _BLUE)
    number = paint(f"{_number(span):>{margin}} |", _BLUE)
    under = paint(mark * width + (f" {_one_line(text)}" if text else ""), tone)
    return [head, bar, f"{number} {shown}".rstrip(), f"{bar} {' ' * before}{under}"]


def _number(span: Span) -> str:
    return str(span.line) if span.in_file else ""


def _read_line(span: Span) -> str | None:
    try:
        lines = Path(span.file).read_bytes().decode("utf-8-sig", "replace").split("\n")
    except (OSError, ValueError):
        return None
    return lines[span.line - 1].removesuffix("\r") if span.line <= len(lines) else None


def _fit(source: str, start: int, end: int) -> tuple[str, int, int]:
    """The line as shown, and the columns of a terminal before and under the characters start to end."""
    # a line may be as long as a file: no more of it is looked at than can be shown, for nothing takes less
    # than a column but combining marks
    first, last = max(0, start - WIDEST), min(len(source), start + 2 * WIDEST)
    whole = first == 0 and last == len(source)
    if not whole or sum(_columns(_cell(character)) for character in source) > WIDEST:
        first = max(0, min(start - WIDEST // 3, len(source)))
        last = min(len(source), first + WIDEST)
    cells = [_cell(character) for character in source[first:last]]
    lead = "…" if first else ""
    end = max(min(end, last), min(start + 1, last))
    before = len(lead) + sum(_columns(cell) for cell in cells[: max(start - first, 0)])
    width = sum(_columns(cell) for cell in cells[max(start - first, 0) : max(end - first, 0)])
    shown = lead + "".join(cells) + ("…" if last < len(source) else "")
    return shown, before, max(width, 1)


def _cell(character: str) -> str:
    """What stands for a character: nothing that a terminal would obey, no tab stops."""
    if character == "\t":
        return TAB
    if character.isprintable() or unicodedata.category(character) in ("Mn", "Me"):
        return character
    return "�"


def _columns(cell: str) -> int:
    """Terminal columns of one cell: East Asian characters take two, combining marks none."""
    if len(cell) == 1:
        if unicodedata.combining(cell) or unicodedata.category(cell) in ("Mn", "Me"):
            return 0
        return 2 if unicodedata.east_asian_width(cell) in "WF" else 1
    return len(cell)


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text)


def _paint(text: str, tone: str) -> str:
    return f"{tone}{text}{_PLAIN}"


def _plain(text: str, tone: str) -> str:
    return text
