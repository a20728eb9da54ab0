"""Text → plain document, judged by tomllib and json.

In: the text of a file. Out: dicts, lists and values; or one diagnostic at the first fault, since what follows
a syntax error is guesswork.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

from n2nspec.diagnostics import Diagnostic, DiagnosticError, Label, describe_value, fail, quote
from n2nspec.spec.text import Lines

__all__ = ["DEEPEST", "parse_json", "parse_toml"]

DEEPEST = 64
"""Levels of tables and lists; a network needs four."""


def _syntax(code: str, message: str, file: str, text: str, line: int, column: int) -> DiagnosticError:
    span = Lines(file, text).span(line, column, line, column + 1)
    return DiagnosticError([Diagnostic(code=code, message=message, file=file, span=span)])


def parse_toml(file: str, text: str) -> dict[str, Any]:
    long_key = _LONG_KEY.search(text)
    if long_key:
        raise fail("E107", f"a dotted key of more than {DEEPEST} parts", file=file)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, line, column = _toml_place(str(error), text)
        raise _syntax("E102", message, file, text, line, column) from None
    except RecursionError:
        raise fail("E107", f"nested more than {DEEPEST} levels deep", file=file) from None
    except ValueError:
        raise _huge("E102", file, text) from None


def _huge(code: str, file: str, text: str) -> DiagnosticError:
    """The parsers' only other refusal: an integer of more digits than Python converts."""
    found = re.search(r"[0-9_]{4300,}", text)
    return _syntax(
        code,
        "an integer of thousands of digits",
        file,
        text,
        *_line_column(text, found.start() if found else 0),
    )


def _line_column(text: str, index: int) -> tuple[int, int]:
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


# tomllib takes quadratic time for a key of very many parts
_LONG_KEY = re.compile(
    rf"""(?<![\w"'-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{DEEPEST}}}""", re.ASCII
)
_AT = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


def _toml_place(message: str, text: str) -> tuple[str, int, int]:
    """Splits `Invalid value (at line 3, column 8)`."""
    found = _AT.fullmatch(message)
    if found and found[2]:
        return _lower(found[1]), int(found[2]), int(found[3])
    # the end of the document: where its last line with something on it ends
    lines = text.rstrip().split("\n")
    return _lower(found[1] if found else message), len(lines), len(lines[-1]) + 1


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def parse_json(file: str, text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise _syntax("E103", _lower(error.msg), file, text, error.lineno, error.colno) from None
    except RecursionError:
        raise fail("E107", f"nested more than {DEEPEST} levels deep", file=file) from None
    except _DuplicateError as error:
        raise _duplicate(file, text, error.key) from None
    except _ConstantError as error:
        found = next(m for m in _CONSTANT.finditer(text) if not m[0].startswith('"'))
        line, column = (
            text.count("\n", 0, found.start()) + 1,
            found.start() - text.rfind("\n", 0, found.start()),
        )
        raise _syntax("E103", f"JSON has no {error}", file, text, line, column) from None
    except ValueError:
        raise _huge("E103", file, text) from None
    if not isinstance(document, dict):
        raise fail("E112", f"a spec is an object, {{…}}; received {describe_value(document)}", file=file)
    return document


class _DuplicateError(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class _ConstantError(ValueError):
    pass


_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*+"|NaN|-?Infinity', re.DOTALL)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateError(key)
            seen.add(key)
    return made


def _no_constant(name: str) -> None:
    raise _ConstantError(name)


def _duplicate(file: str, text: str, key: str) -> DiagnosticError:
    from n2nspec.spec.positions_json import duplicate

    message = f"the key {quote(key)} is given twice"
    found = duplicate(Lines(file, text))
    if found is None:
        return fail("E103", message, file=file)
    first, second = found
    label = Label(span=first, text="first given here")
    return DiagnosticError(
        [
            Diagnostic(
                code="E103", message=message, file=file, span=second, labels=(label,), help="keep one of them"
            )
        ]
    )
