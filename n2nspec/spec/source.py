"""Spec text → document and positions.

In: a TOML or JSON file. Out: `Source`: the text, the plain document, and the place of every key and value.
tomllib and json are the judges of what is valid; the positions come from tree-sitter, later and only if
someone asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

from n2nspec.diagnostics import Diagnostic, DiagnosticError, Span, closest, fail, quote
from n2nspec.spec.parse import DEEPEST, parse_json, parse_toml
from n2nspec.spec.text import Lines, Path, Place

__all__ = ["Source", "plain", "read", "wrap"]

SUFFIXES = (".toml", ".json")
LARGEST_FILE = 4 * 2**20
FLAT = (str, int, float)
"""What most values are: looked for first, since asking whether one is a Mapping takes long."""


@dataclass(frozen=True)
class Source:
    """A spec as it was written.

    Attributes:
        file: its path as the user gave it; empty for a spec given as a dict.
        text: empty for a dict.
        document: tables as dicts, lists as lists, plain values.
    """

    file: str
    text: str
    document: dict[str, Any]

    @cached_property
    def places(self) -> Mapping[Path, Place]:
        """The span of every key and value, by path; computed at the first call."""
        if not self.file:
            return {}
        # imported here: a spec without mistakes needs no parser of positions
        if is_json(self.file):
            from n2nspec.spec.positions_json import positions
        else:
            from n2nspec.spec.positions_toml import positions
        return positions(Lines(self.file, self.text))


def is_json(file: str) -> bool:
    return file.lower().endswith(".json")


def read(path: FilePath) -> Source:
    """Reads a spec file.

    Raises:
        DiagnosticError: the file cannot be read, or is not valid TOML or JSON: then all faults that can be
            told without guesswork.
    """
    file = str(path)
    text = _read_text(path)
    document = parse_json(file, text) if is_json(file) else parse_toml(file, text)
    if not document:
        from n2nspec.spec.faults import empty

        raise DiagnosticError([empty(file, text)])
    deep = too_deep(document)
    if deep:
        from n2nspec.spec.faults import too_deep_at

        places = Source(file=file, text=text, document=document).places
        raise DiagnosticError([too_deep_at(places[deep].value)])
    return Source(file=file, text=text, document=_without_schema(document))


def wrap(document: Mapping[str, Any]) -> Source:
    """A spec given as a dict.

    Raises:
        DiagnosticError: it holds what TOML and JSON could not.
    """
    return Source(file="", text="", document=_without_schema(plain(document, "the spec")))


def _without_schema(document: dict[str, Any]) -> dict[str, Any]:
    """The document without `$schema`, by which editors of JSON find the schema; TOML has a comment for it."""
    return {key: value for key, value in document.items() if key != "$schema" or not isinstance(value, str)}


def plain(value: Any, what: str) -> Any:
    """A copy with dicts for tables and lists for lists.

    Raises:
        DiagnosticError: a key that is no string, or a value without a bottom.
    """
    if too_deep(value):
        raise fail("E107", f"{what} is nested more than {DEEPEST} levels deep")
    return _plain(value, what)


def _plain(value: Any, what: str) -> Any:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise fail("E112", f"keys of {what} are strings; received {key!r}")
        return {key: _plain(item, what) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, what) for item in value]
    return value


def too_deep(value: Any) -> Path:
    """Where tables and lists are nested deeper than `DEEPEST`, the first such place; empty when nowhere.

    Level by level, so never by recursion.
    """
    if not _is_deep(value):
        return ()
    level: list[tuple[Path, Any]] = [((), value)]
    for _ in range(DEEPEST + 1):
        inner = (
            ((*path, key), item)
            for path, outer in level
            for key, item in (outer.items() if isinstance(outer, Mapping) else enumerate(outer))
            if isinstance(item, (Mapping, list, tuple))
        )
        level = list({id(pair[1]): pair for pair in inner}.values())  # what a dict shares is looked at once
    return level[0][0] if level else ()


def _is_deep(value: Any) -> bool:
    """What `too_deep` says, without the place."""
    level = [value]
    for _ in range(DEEPEST + 2):
        tables = {
            id(item): item
            for item in level
            if not isinstance(item, FLAT) and isinstance(item, (Mapping, list, tuple))
        }
        if not tables:
            return False
        level = [
            item
            for table in tables.values()
            for item in (table.values() if isinstance(table, Mapping) else table)
        ]
    return True


def _read_text(path: FilePath) -> str:
    file = str(path)
    if "\0" in file:
        raise fail("E101", "a path has no NUL character in it", file=file)
    try:
        if path.is_dir():
            kind = "folder"
        elif path.suffix.lower() not in SUFFIXES and path.exists():
            kind = "other"
        else:
            kind = "spec"
            with path.open("rb") as stream:
                data = stream.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise fail("E101", "no such file", file=file, help=_near(path)) from None
    except OSError as error:
        raise fail("E101", f"cannot read the file: {error.strerror or error}", file=file) from None
    if kind == "folder":
        raise fail("E101", f"{file} is a folder", file=file, help="name a spec in it: a .toml or .json file")
    if kind == "other":
        message = f"a spec ends in .toml or .json; received {quote(path.name)}"
        raise fail("E105", message, file=file, help="rename the file")
    if len(data) > LARGEST_FILE:
        raise fail("E101", f"the file is larger than {LARGEST_FILE // 2**20} MiB", file=file)
    try:
        text = data.decode("utf-8-sig")  # Windows editors put a byte order mark first
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        what = "the file is UTF-16" if utf16 else f"the byte 0x{data[error.start]:02x} is not UTF-8"
        span = Span(file=file, line=line, column=column, end_line=line, end_column=column + 1)
        raise DiagnosticError(
            [Diagnostic(code="E104", message=what, file=file, span=None if utf16 else span,
                        help="save the file as UTF-8")]
        ) from None  # fmt: skip
    return text


def _near(path: FilePath) -> str:
    try:
        names = [item.name for item in path.parent.iterdir() if item.suffix.lower() in SUFFIXES]
    except OSError:
        return "there is no such folder either"
    near = closest(path.name, names)
    return f"did you mean {quote(near)}?" if near else "give the path of a .toml or .json file"
