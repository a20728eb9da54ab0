"""What is wrong with a text that is no spec at all, as diagnostics.

In: a text, and why tomllib refuses it; of JSON, see `faults_json`. Out: keys that are written twice, all of
them, and what breaks the grammar, line by line as far as that is clear.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from n2nspec.diagnostics import Diagnostic, Span, describe_value, in_source_order
from n2nspec.spec import syntax_toml
from n2nspec.spec.duplicates_toml import duplicates as duplicates_in_toml
from n2nspec.spec.parse import DEEPEST, LONG_KEY
from n2nspec.spec.syntax import Fault, diagnose, line_column, twice
from n2nspec.spec.text import Lines

__all__ = [
    "MOST_FAULTS", "MOST_TWICE", "and_more", "deepest", "empty", "long_key", "no_object", "of_toml",
    "too_deep_at",
]  # fmt: skip

MOST_FAULTS = 20
"""Of one text; who has more has another kind of file."""

MOST_TWICE = 100

_AT = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
_TWICE = re.compile(r"Cannot (declare|overwrite|mutate|redefine)|Duplicate")


def of_toml(file: str, text: str, error: Exception) -> list[Diagnostic]:
    """Why tomllib refuses a text."""
    lines = Lines(file, text.replace("\r\n", "\n"))
    if isinstance(error, tomllib.TOMLDecodeError):
        return _toml_faults(lines, error)
    if isinstance(error, RecursionError):
        return [too_deep_at(deepest(lines, syntax_toml.tokens(lines.text), DEEPEST))]
    return [_huge(lines)]


def no_object(file: str, text: str, document: Any) -> Diagnostic:
    """A JSON text that is a list or one value."""
    message = f"a spec is an object, {{…}}; received {describe_value(document)}"
    fault = Fault(start=len(text) - len(text.lstrip()), end=len(text.rstrip()), message=message,
                  help='write the keys and values of the spec between "{" and "}"')  # fmt: skip
    return diagnose("E112", Lines(file, text), fault)


def empty(file: str, text: str) -> Diagnostic:
    """A text with nothing in it."""
    fault = Fault(start=len(text) - len(text.lstrip()), end=0, message="the file holds no spec",
                  help="a spec has at least spec_version, name, [input] and a layer")  # fmt: skip
    return diagnose("E106", Lines(file, text), fault)


def too_deep_at(span: Span, message: str = f"nested more than {DEEPEST} levels deep") -> Diagnostic:
    return Diagnostic(
        code="E107", message=message, file=span.file, span=span, help="a spec needs only a few levels"
    )


def long_key(file: str, text: str) -> Diagnostic | None:
    """The first key of too many parts that is not the inside of a string or a comment."""
    tokens = syntax_toml.tokens(text)
    token = next(tokens, None)
    for found in LONG_KEY.finditer(text):
        while token is not None and token.end() <= found.start():
            token = next(tokens, None)
        if token is None or token.start() >= found.start():
            span = Lines(file, text).span(*_here(text, found.start()))
            return too_deep_at(span, f"a dotted key of more than {DEEPEST} parts")
    return None


def _toml_faults(lines: Lines, error: tomllib.TOMLDecodeError) -> list[Diagnostic]:
    """What tomllib refuses. A faulty line is put right, or left out, to see whether more follows."""
    if _is_json(lines.text):
        fault = Fault(start=0, end=1, message="the file holds JSON, and its name ends in .toml",
                      help="let its name end in .json")  # fmt: skip
        return [diagnose("E102", lines, fault)]
    text = lines.text
    reading = _Rest(text)
    faults: list[Diagnostic] = []
    again: Diagnostic | None = None
    put: dict[int, str] = {}  # by line, what was read instead
    found: Exception | None = error
    while isinstance(found, tomllib.TOMLDecodeError):
        sentence, index = _toml_place(str(found), reading.text)
        if _TWICE.match(sentence) and not syntax_toml.is_broken_header(reading.text, index):
            message = "a key or a table is written twice"
            fault = Fault(start=index, end=index + 1, message=message, help="keep one of them")
            again = again or diagnose("E102", lines, reading.as_written(fault))
            reading.go_on(syntax_toml.line_end(reading.text, index))
        else:
            fault = syntax_toml.explain(reading.text, index, sentence)
            line = syntax_toml.repaired(reading.text, index, fault)
            written = reading.as_written(fault)
            number = line_column(text, written.start)[0]
            if number in put:
                break
            faults.append(diagnose("E102", lines, written))
            if line is None:
                break
            put[number] = line
            reading.go_on(syntax_toml.line_end(reading.text, fault.start), line)
        found = _refusal(reading.text)
        if len(faults) == MOST_FAULTS and found is not None:
            return [*faults[:-1], and_more(faults[-1])]
    whole = _with_lines(text, put)
    refused = _refusal(whole)  # the rest alone does not tell what is there before it
    if again is not None or (refused is not None and _TWICE.match(str(refused))):
        repeated = [twice("E102", item) for item in duplicates_in_toml(lines, whole, MOST_TWICE)]
        faults += repeated or ([again] if again is not None and refused is not None else [])
    return list(in_source_order(faults))


def and_more(last: Diagnostic) -> Diagnostic:
    """The last fault that is told, when there are others behind it."""
    more = f"there are more faults behind this one: the first {MOST_FAULTS} are told"
    return replace(last, help=f"{last.help}; {more}" if last.help else more)


class _Rest:
    """What is still to be read of a text: all before it is as it should be, or is told.

    It stands below a header, for a table of its own: the keys of a table are read without those before.
    """

    HEADER = "[---]\n"

    def __init__(self, text: str) -> None:
        self.text = self._whole = text
        self._start, self._head = 0, 0

    def go_on(self, index: int, line: str = "") -> None:
        """From the end of a line on, which is at this index; in place of the line stands another."""
        self._start = self._written(index)
        head = f"{self.HEADER}{line}"
        self._head = len(head)
        self.text = head + self._whole[self._start :]

    def as_written(self, fault: Fault) -> Fault:
        """The fault, by the indices of the whole text."""
        start, end = self._written(fault.start), self._written(fault.end)
        other = fault.other and (*map(self._written, fault.other[:2]), fault.other[2])
        return replace(fault, start=start, end=max(end, start), other=other)  # type: ignore[arg-type]

    def _written(self, index: int) -> int:
        if index >= self._head:
            return index - self._head + self._start
        line = self._whole.rfind("\n", 0, self._start) + 1
        return min(line + max(index - len(self.HEADER), 0), self._start)


def _refusal(text: str) -> Exception | None:
    try:
        tomllib.loads(text)
    except (RecursionError, ValueError) as error:
        return error
    return None


def _with_lines(text: str, put: dict[int, str]) -> str:
    lines = text.split("\n")
    for number, line in put.items():
        lines[number - 1] = line
    return "\n".join(lines)


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _toml_place(message: str, text: str) -> tuple[str, int]:
    """Splits `Invalid value (at line 3, column 8)` into the sentence and an index of the text."""
    found = _AT.fullmatch(message)
    if found is None or not found[2]:
        return found[1] if found else message, len(text)
    start = 0
    for _ in range(int(found[2]) - 1):
        start = text.index("\n", start) + 1
    return found[1], start + int(found[3]) - 1


def deepest(lines: Lines, tokens: Iterable[re.Match[str]], limit: int) -> Span:
    """The place of the bracket that opens one level too many."""
    depth, index = 0, 0
    for token in tokens:
        depth += (token[0] in ("[", "{")) - (token[0] in ("]", "}"))
        if depth > limit:
            index = token.start()
            break
    return lines.span(*_here(lines.text, index))


def _here(text: str, index: int) -> tuple[int, int, int, int]:
    line, column = line_column(text, index)
    return line, column, line, column + 1


def _huge(lines: Lines) -> Diagnostic:
    """tomllib's only other refusal: an integer of more digits than Python converts."""
    found = re.search(r"[0-9_]{4300,}", lines.text)
    start, end = found.span() if found else (0, 1)
    fault = Fault(start=start, end=end, message="an integer of thousands of digits",
                  help="an integer has 64 bits at most")  # fmt: skip
    return diagnose("E102", lines, fault)
