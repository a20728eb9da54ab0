"""What is wrong with a text that is no spec at all, as diagnostics.

In: a text, and why tomllib refuses it; of JSON, see `faults_json`. Out: keys that are written twice, all of
them, and what breaks the grammar, line by line as far as that is clear.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from typing import Any

from n2nspec.diagnostics import Diagnostic, Span, describe_value, in_source_order
from n2nspec.spec import syntax_toml
from n2nspec.spec.duplicates_toml import duplicates as duplicates_in_toml
from n2nspec.spec.parse import DEEPEST, LONG_KEY
from n2nspec.spec.syntax import Fault, diagnose, line_column, twice
from n2nspec.spec.text import Lines

__all__ = [
    "EFFORT", "MOST_FAULTS", "MOST_TWICE", "deepest", "empty", "long_key", "no_object", "of_toml",
    "too_deep_at",
]  # fmt: skip

MOST_FAULTS = 20
"""Of one text; who has more has another kind of file."""

MOST_TWICE = 100

EFFORT = 2**21
"""Characters that are read again in search of more faults, a second's work."""

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
    whole, probe = lines.text, lines.text  # without faulty lines; and without what is there again, too
    faults: list[Diagnostic] = []
    again: Diagnostic | None = None
    tried: set[int] = set()
    effort = EFFORT
    while len(faults) < MOST_FAULTS:
        sentence, index = _toml_place(str(error), probe)
        if _TWICE.match(sentence) and not syntax_toml.is_broken_header(probe, index):
            message = "a key or a table is written twice"
            fault = Fault(start=index, end=index + 1, message=message, help="keep one of them")
            again = again or diagnose("E102", Lines(lines.file, probe), fault)
            probe = syntax_toml.without_statement(probe, index)
        else:
            fault = syntax_toml.explain(probe, index, sentence)
            number = line_column(probe, fault.start)[0]
            line = syntax_toml.repaired(probe, index, fault)
            if number in tried:
                break
            faults.append(diagnose("E102", Lines(lines.file, probe), fault))
            if line is None:
                break
            tried.add(number)
            whole, probe = (_with_line(text, number, line) for text in (whole, probe))
        effort -= len(probe)
        if effort < 0:
            break
        try:
            tomllib.loads(probe)
            break
        except tomllib.TOMLDecodeError as another:
            error = another
        except (RecursionError, ValueError):
            break
    if again is not None:
        repeated = [twice("E102", found) for found in duplicates_in_toml(lines, whole, MOST_TWICE)]
        faults += repeated or [again]
    return list(in_source_order(faults))


def _with_line(text: str, number: int, line: str) -> str:
    lines = text.split("\n")
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
