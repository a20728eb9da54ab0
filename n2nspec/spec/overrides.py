"""Values put over those of a spec, from `--set KEY=VALUE` or from Python.

In: a document and values by dotted key. Out: a new document that knows the places of the new values: each is
its own line of a text called `--set`, so a mistake in it is shown there and not at what it replaces.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from n2nspec.diagnostics import (
    COMMAND_LINE,
    Diagnostic,
    DiagnosticError,
    Span,
    closest,
    describe_value,
    did_you_mean,
    fail,
    listing,
    quote,
    render_path,
)
from n2nspec.spec.source import plain
from n2nspec.spec.text import Lines, Path, Place
from n2nspec.spec.trace import UNKNOWN, Origin, Problems, Traced, Where

__all__ = ["Overrides", "apply_overrides", "parse_override", "parse_overrides", "read_overrides"]

DEFAULT_TYPES: Mapping[Path, str] = {("train", "loss"): "MSE", ("train", "optimizer"): "Adam"}
"""What `train.optimizer.lr` refers to when the spec leaves the optimizer to its default."""


class Overrides(dict[str, Any]):
    """Values by dotted key, with the text that each was given in, which is what a diagnostic shows.

    `wrong` has what is told of settings that are none.
    """

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.wrong: list[Diagnostic] = []


def parse_overrides(settings: Iterable[str]) -> Overrides:
    """What several `KEY=VALUE` say; of a key given twice the last counts.

    Raises:
        DiagnosticError: settings without a key or `=`; all of them.
    """
    found = read_overrides(settings)
    if found.wrong:
        raise DiagnosticError(found.wrong)
    return found


def read_overrides(settings: Iterable[str]) -> Overrides:
    """The same, but what is wrong with them is left to be told with what is wrong with the spec."""
    found = Overrides()
    for setting in settings:
        try:
            key, value = parse_override(setting)
        except DiagnosticError as error:
            found.wrong += error.diagnostics
        else:
            found[key], found.texts[key] = value, setting
    return found


def parse_override(text: str) -> tuple[str, Any]:
    """`train.optimizer.lr=1` as ("train.optimizer.lr", 1).

    The value is read as TOML; what is not TOML is taken as text, so `data.train=photos` needs no quotes.

    Raises:
        DiagnosticError: there is no `=`, or nothing before it.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        line = Lines(COMMAND_LINE, text.replace("\n", " "))
        message = f"expected KEY=VALUE; received {describe_value(text)}"
        span = line.span(1, 1, 1, len(key) + 1) if equals == "" else line.span(1, 1, 1, 2)
        raise DiagnosticError([
            Diagnostic(code="E117", message=message, file=COMMAND_LINE, span=span,
                       help="for example --set train.epochs=20")
        ])  # fmt: skip
    return key.strip(), _parse_value(value.strip())


def _parse_value(text: str) -> Any:
    return tomllib.loads(f"value = {text}")["value"] if _is_toml(text) else text


def _is_toml(text: str) -> bool:
    """Whether a text is one value of TOML."""
    try:
        return tomllib.loads(f"value = {text}").keys() == {"value"}
    except (ValueError, RecursionError):
        return False


@dataclass(frozen=True)
class Setting:
    """One override as a text of its own. Its places are by path in the document, and found only when needed.

    Attributes:
        line: what the author wrote, or what it is in TOML for a value from Python.
        number: which of the overrides it is, from 1: the line of its spans.
        parts: its key.
        path: the key as far as it could be followed: an index in place of a layer's name.
    """

    line: str
    number: int
    parts: tuple[str, ...]
    path: Path = ()
    file: str = field(default=COMMAND_LINE, init=False)

    @cached_property
    def places(self) -> Mapping[Path, Place]:
        after = self.parts
        return {
            (*self.path[: len(path)], *path[len(after) :]): place
            for path, place in self.written.items()
            if path[: len(after)] == after[: len(path)]
        }

    @cached_property
    def written(self) -> Mapping[Path, Place]:
        """Places by path in the text."""
        from n2nspec.spec.positions_toml import positions  # the parser of positions, only when needed

        key, _, value = self.line.partition("=")
        text = self.line if _is_toml(value.strip()) else f"{key}= 0"
        found = {
            path: Place(key=self._here(place.key), value=self._here(place.value))
            for path, place in positions(Lines(COMMAND_LINE, text)).items()
        }
        if self.parts not in found or text != self.line:
            start = len(self.line) - len(value.lstrip()) if value.strip() else len(self.line)
            span = self._span(start, len(self.line.rstrip()))
            known = found.get(self.parts)
            found[self.parts] = Place(
                key=known.key if known else self._span(0, len(key.rstrip())), value=span
            )
        return found

    def at(self, position: int | None) -> Span:
        """The span of a part of the key; of all of it for None."""
        place = self.written.get(self.parts[: position + 1]) if position is not None else None
        return place.key if place is not None else self._span(0, len(self.line.partition("=")[0].rstrip()))

    def value(self) -> Span:
        return self.written[self.parts].value

    def _here(self, span: Span) -> Span:
        last = span.end_column if span.end_line == span.line else len(span.text or "") + 1
        return Span(file=COMMAND_LINE, line=self.number, column=span.column, end_line=self.number,
                    end_column=last, text=self.line.split("\n")[span.line - 1])  # fmt: skip

    def _span(self, start: int, end: int) -> Span:
        first = self.line.split("\n")[0]
        start, end = min(start, len(first)), min(max(end, start + 1), len(first) + 1)
        return Span(file=COMMAND_LINE, line=self.number, column=start + 1, end_line=self.number,
                    end_column=end + 1, text=first)  # fmt: skip


class _LeadsNowhereError(Exception):
    """A key that cannot be followed; `position` is the part of it that is at fault, None all of it.

    `meant` is the key that was probably meant; empty when there is none.
    """

    def __init__(self, position: int | None, message: str, help: str, meant: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.position, self.message, self.help, self.meant = position, message, help, meant


def apply_overrides(
    document: Traced, overrides: Mapping[str, Any], problems: Problems, *, file: str = ""
) -> Traced:
    """The document with the values put in.

    A key that leads nowhere is reported. What it was probably meant to set is then not known.

    Raises:
        DiagnosticError: the overrides are no values by key.
    """
    if not isinstance(overrides, Mapping) or not all(isinstance(key, str) for key in overrides):
        raise fail(
            "E117",
            f"overrides are values by dotted key; received {describe_value(overrides)}",
            help='for example {"train.epochs": 3}',
        )
    given = overrides if isinstance(overrides, Overrides) else Overrides()
    for diagnostic in given.wrong:
        problems.tell(diagnostic, document.where)
    if not overrides:
        return document
    changed = copy.deepcopy(document.value)
    where = document.where

    def refused(code: str, message: str, help: str, span: Span) -> None:
        found = Diagnostic(code=code, message=message, file=file, span=span, path=key, help=help)
        problems.tell(found, document.where)

    for number, (key, value) in enumerate(overrides.items(), start=1):
        parts = _split(key)
        setting = Setting(given.texts.get(key) or f"{key} = {_spelt(value)}", number, parts)
        try:
            if not parts:
                raise _LeadsNowhereError(
                    None, f"{quote(key)} is not a dotted key", "for example train.optimizer.lr"
                )
            _refuse(parts, changed)
            where = _put(changed, setting, plain(value, key), where, defaults=not problems.partial)
        except _LeadsNowhereError as error:
            if not problems.partial or not error.position:
                refused("E117", error.message, error.help, setting.at(error.position))
            if parts[:1] == ("extends",):
                problems.partial = True
            with suppress(_LeadsNowhereError):
                where = _put(changed, replace(setting, parts=error.meant), UNKNOWN, where)
        except DiagnosticError as error:
            for found in error.diagnostics:
                refused(found.code, found.message, found.help, setting.value())
            with suppress(_LeadsNowhereError):
                where = _put(changed, setting, UNKNOWN, where)
    return Traced(changed, where)


def _placed(where: Where, path: Path, new: Where) -> Where:
    """The places of a document, with those of the value at a path exchanged."""
    if not path:
        return new
    part = _placed(where.part(path[0]), path[1:], new)
    return Where(where.origin, {**where.parts, path[0]: part})


def _refuse(parts: tuple[str, ...], document: dict[str, Any]) -> None:
    """What would have no effect: a base has been read already, and a new variable is used nowhere."""
    if parts[0] == "extends":
        raise _LeadsNowhereError(0, "extends cannot be set from outside", "name another spec instead")
    known = document.get("vars", {})
    if parts[0] == "vars" and len(parts) > 1 and isinstance(known, dict) and parts[1] not in known:
        help = did_you_mean(parts[1], known) or "the spec declares no variables"
        near = closest(parts[1], known)
        meant = ("vars", near) if near is not None else ()
        raise _LeadsNowhereError(1, f"there is no variable {describe_value(parts[1])}", help, meant)


def _spelt(value: Any) -> str:
    """A value from Python as TOML writes it, on one line; only to be shown."""
    if isinstance(value, Mapping):
        pairs = [f"{render_path([str(key)])} = {_spelt(item)}" for key, item in value.items()]
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_spelt, value))}]"
    return describe_value(value)


def _split(key: str) -> tuple[str, ...]:
    """The parts of a dotted key, which may be quoted as in TOML; none for what is no key."""
    try:
        document: Any = tomllib.loads(f"{key} = 0")
    except (ValueError, RecursionError):
        return ()
    parts: list[str] = []
    while isinstance(document, dict) and len(document) == 1:
        ((part, document),) = document.items()
        parts.append(part)
    return tuple(parts) if document == 0 else ()


def _put(document: Any, setting: Setting, value: Any, where: Where, *, defaults: bool = True) -> Where:
    """Puts a value into the document, and makes the tables around it; the places with those of the new."""
    path: Path = ()
    made: list[Path] = []
    for position, part in enumerate(setting.parts):
        last = position == len(setting.parts) - 1
        before = render_path(setting.parts[:position])
        step: str | int = part
        if document is UNKNOWN:  # an earlier one leads there in vain, which is told
            break
        if isinstance(document, list):
            step = _index(document, setting.parts, before, position)
        elif not isinstance(document, dict):
            message = f"{before} is {describe_value(document)}, which has no keys"
            meant = setting.parts[:position]
            raise _LeadsNowhereError(position, message, f"{before}=… sets it as a whole", meant)
        path = (*path, step)
        if last:
            document[step] = value
            made.append(path)
        elif isinstance(document, dict) and step not in document:
            kind = DEFAULT_TYPES.get(path) if defaults else None
            document[step] = {"type": kind} if kind else {}
            made.append(path)
        document = document[step]
    placed = Setting(setting.line, setting.number, setting.parts, path)
    for new in made:
        where = _placed(where, new, Where(Origin(placed, new)))
    return where


def _index(items: list[Any], parts: tuple[str, ...], before: str, position: int) -> int:
    """The index in a list: a number, or the name of one of its tables."""
    part = parts[position]
    named = [
        (item["name"], index)
        for index, item in enumerate(items)
        if isinstance(item, Mapping) and isinstance(item.get("name"), str)
    ]
    span = f"{before}.0 to {before}.{len(items) - 1}" if len(items) > 1 else f"{before}.0"
    if part.isascii() and part.isdigit():
        if len(part) < 10 and int(part) < len(items):
            return int(part)
        count = "1 entry" if len(items) == 1 else f"{len(items)} entries"
        message = f"{before} has {count}; there is no {part}"
        raise _LeadsNowhereError(position, message, f"use {span}: the first is 0" if items else "")
    found = [index for name, index in named if name == part]
    if len(found) == 1:
        return found[0]
    if found:
        indices = listing([f"{before}.{index}" for index in found], "or")
        message = f"{before} has {len(found)} entries named {describe_value(part)}"
        raise _LeadsNowhereError(position, message, f"use an index: {indices}")
    help = did_you_mean(part, [name for name, _ in named]) or f"its entries have no names: use {span}"
    near = closest(part, [name for name, _ in named])
    meant = (*parts[:position], near, *parts[position + 1 :]) if near is not None else ()
    raise _LeadsNowhereError(position, f"{before} has no entry named {describe_value(part)}", help, meant)
