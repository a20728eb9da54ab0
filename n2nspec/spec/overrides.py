"""Values put over those of a spec, from `--set KEY=VALUE` or from Python.

In: a document and values by dotted key. Out: a new document that knows the places of the new values: each is
its own line of a text called `--set`, so a mistake in it is shown there and not at what it replaces.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping
from typing import Any

from n2nspec.diagnostics import (
    COMMAND_LINE,
    Diagnostic,
    DiagnosticError,
    Span,
    describe_value,
    did_you_mean,
    fail,
)
from n2nspec.spec.source import plain
from n2nspec.spec.text import Path, Place
from n2nspec.spec.trace import Origin, Settings, Traced, Where

__all__ = ["apply_overrides", "parse_override"]

DEFAULT_TYPES: Mapping[Path, str] = {("train", "loss"): "MSE", ("train", "optimizer"): "Adam"}
"""What `train.optimizer.lr` refers to when the spec leaves the optimizer to its default."""


def parse_override(text: str) -> tuple[str, Any]:
    """`train.optimizer.lr=1` as ("train.optimizer.lr", 1).

    The value is read as TOML; what is not TOML is taken as text, so `data.train=photos` needs no quotes.

    Raises:
        DiagnosticError: there is no `=`, or nothing before it.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise fail("E117", f"expected KEY=VALUE; received {describe_value(text)}", file=COMMAND_LINE,
                   help="for example --set train.epochs=20")  # fmt: skip
    return key.strip(), _parse_value(value.strip())


def _parse_value(text: str) -> Any:
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return document["value"] if document.keys() == {"value"} else text


def apply_overrides(document: Traced, overrides: Mapping[str, Any], *, file: str = "") -> Traced:
    """The document with the values put in.

    Raises:
        DiagnosticError: keys that lead nowhere; all of them.
    """
    if not isinstance(overrides, Mapping) or not all(isinstance(key, str) for key in overrides):
        raise fail(
            "E117",
            f"overrides are values by dotted key; received {describe_value(overrides)}",
            help='for example {"train.epochs": 3}',
        )
    if not overrides:
        return document
    changed = copy.deepcopy(document.value)
    elsewhere: dict[Path, Place] = {}
    wrong: list[Diagnostic] = []
    for number, (key, value) in enumerate(overrides.items(), start=1):
        place = _place(key, value, number)
        try:
            parts = _split(key)
            _refuse(parts, changed)
            _put(changed, parts, plain(value, key), place, elsewhere)
        except DiagnosticError as error:
            wrong += [
                Diagnostic(code=d.code, message=d.message, file=file, span=place.key, path=key, help=d.help)
                for d in error.diagnostics
            ]
    if wrong:
        raise DiagnosticError(wrong)
    settings = Settings(places=elsewhere)
    where = document.where
    for path in sorted(elsewhere, key=len):
        where = _placed(where, path, Where(Origin(settings, path)))
    return Traced(changed, where)


def _placed(where: Where, path: Path, new: Where) -> Where:
    """The places of a document, with those of the value at a path exchanged."""
    if not path:
        return new
    part = _placed(where.part(path[0]), path[1:], new)
    return Where(where.origin, {**where.parts, path[0]: part})


def _refuse(parts: list[str], document: dict[str, Any]) -> None:
    """What would have no effect: a base has been read already, and a new variable is used nowhere."""
    if parts[0] == "extends":
        raise fail("E117", "extends cannot be set from outside", help="name another spec instead")
    known = document.get("vars", {})
    if parts[0] == "vars" and len(parts) > 1 and isinstance(known, dict) and parts[1] not in known:
        help = did_you_mean(parts[1], known) or "the spec declares no variables"
        raise fail("E117", f"there is no variable {describe_value(parts[1])}", help=help)


def _place(key: str, value: Any, number: int) -> Place:
    shown = describe_value(value)
    start = len(key) + 3
    text = f"{key} = {shown}"

    def span(first: int, last: int) -> Span:
        return Span(
            file=COMMAND_LINE, line=number, column=first + 1, end_line=number, end_column=last + 1, text=text
        )

    return Place(key=span(0, len(key)), value=span(start, len(text)))


def _split(key: str) -> list[str]:
    """The parts of a dotted key, which may be quoted as in TOML."""
    try:
        document: Any = tomllib.loads(f"{key} = 0")
    except (ValueError, RecursionError):
        document = {}
    parts = []
    while isinstance(document, dict) and len(document) == 1:
        ((part, document),) = document.items()
        parts.append(part)
    if document != 0 or not parts:
        raise fail(
            "E117", f"{describe_value(key)} is not a dotted key", help="for example train.optimizer.lr"
        )
    return parts


def _put(document: Any, parts: list[str], value: Any, place: Place, elsewhere: dict[Path, Place]) -> None:
    path: Path = ()
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        step: str | int = part
        if isinstance(document, list):
            step = _index(document, part, ".".join(parts[:position]))
        elif not isinstance(document, dict):
            raise fail(
                "E117", f"{'.'.join(parts[:position])} is {describe_value(document)}, which has no keys"
            )
        path = (*path, step)
        if last:
            document[step] = value
            for old in [known for known in elsewhere if known[: len(path)] == path]:
                del elsewhere[old]
            elsewhere[path] = place
        elif isinstance(document, dict) and step not in document:
            kind = DEFAULT_TYPES.get(path)
            document[step] = {"type": kind} if kind else {}
            elsewhere[path] = place
        document = document[step]


def _index(items: list[Any], part: str, where: str) -> int:
    """The index in a list: a number, or the name of one of its tables."""
    names = [
        item["name"] for item in items if isinstance(item, Mapping) and isinstance(item.get("name"), str)
    ]
    if part.isascii() and part.isdigit():
        if int(part) < len(items):
            return int(part)
        count = "1 entry" if len(items) == 1 else f"{len(items)} entries"
        raise fail("E117", f"{where} has {count}; there is no {part}", help="the first is 0")
    found = [
        index for index, item in enumerate(items) if isinstance(item, Mapping) and item.get("name") == part
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise fail(
            "E117", f"{where} has {len(found)} entries named {describe_value(part)}", help="use an index"
        )
    raise fail("E117", f"{where} has no entry named {describe_value(part)}", help=did_you_mean(part, names))
