"""Diagnostics as workflow commands of GitHub Actions, which shows them beside the lines of a pull request.

In: a diagnostic. Out: one line, `::error file=…,line=…,col=…,endColumn=…,title=…::message`.

Source: https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions, section "Setting an
error message"; what is escaped, and how, is that of the runner and of `command.ts` in actions/toolkit.
"""

from __future__ import annotations

from n2nspec.diagnostics.codes import CODES
from n2nspec.diagnostics.model import COMMAND_LINE, Diagnostic

__all__ = ["to_github"]


def to_github(diagnostic: Diagnostic) -> str:
    """One workflow command, without a line break."""
    span = diagnostic.span
    properties: dict[str, object] = {}
    if span is not None and span.in_file:
        properties |= {"file": span.file, "line": span.line, "endLine": span.end_line}
        if span.line == span.end_line:  # of several lines GitHub accepts no columns
            properties |= {"col": span.column, "endColumn": span.end_column}
    elif diagnostic.file and diagnostic.file != COMMAND_LINE:  # a file that is none is refused
        properties["file"] = diagnostic.file
    properties["title"] = f"{diagnostic.code}: {CODES.get(diagnostic.code, diagnostic.severity)}"
    listed = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    message = diagnostic.message + (f"\nhelp: {diagnostic.help}" if diagnostic.help else "")
    return f"::{diagnostic.severity} {listed}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
