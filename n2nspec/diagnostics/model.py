"""Errors and warnings as data: a stable code, one sentence, a place, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["COMMAND_LINE", "SIZE_OPTION", "Diagnostic", "DiagnosticError", "Label", "Span", "fail"]

COMMAND_LINE = "--set"
"""The "file" of spans in values that were given outside of any file."""
SIZE_OPTION = "--size"
"""The same of a picture size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of text. Lines and columns count from 1, columns in characters; `end_column` is exclusive.

    `text` is the whole first line, so that a diagnostic can be shown even when the file has changed since.
    """

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    text: str | None = field(default=None, compare=False, repr=False)

    @property
    def in_file(self) -> bool:
        """Whether there is a file to open: not for what stands on the command line."""
        return self.file not in (COMMAND_LINE, SIZE_OPTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A second place that matters, with a few words about it."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One mistake, or one doubt.

    Attributes:
        code: stable, `E…` for errors and `W…` for warnings; see `n2nspec.diagnostics.codes`.
        message: one sentence: what was expected, what was received.
        file: the file at fault; may be empty when there is none (a spec given as a dict).
        span: the place in a text file, when there is one.
        path: the place in the document, such as `encoder[0].kernel_size`; may be empty.
        help: what to do next; may be empty.
        labels: other places involved.
    """

    code: str
    message: str
    file: str = ""
    span: Span | None = None
    path: str = ""
    help: str = ""
    labels: tuple[Label, ...] = ()

    @property
    def severity(self) -> Literal["error", "warning"]:
        return "warning" if self.code.startswith("W") else "error"


class DiagnosticError(ValueError):
    """The user's input is at fault; carries everything that was found, in source order."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(f"{d.code}: {d.message}" for d in self.diagnostics))


def fail(code: str, message: str, *, file: object = "", path: str = "", help: str = "") -> DiagnosticError:
    """A `DiagnosticError` with one diagnostic, to be raised where there is no text to point at."""
    return DiagnosticError([Diagnostic(code=code, message=message, file=str(file), path=path, help=help)])
