"""What breaks the grammar of a text, said to its author: the parts that TOML and JSON have in common.

In: a text and the place where its parser gave up. Out: a `Fault`: the place to look at, a sentence, the next
step. The parsers judge what is valid; here is only guessed what was meant.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from n2nspec.diagnostics import Diagnostic, Label, Span, quote
from n2nspec.spec.text import Lines

__all__ = [
    "CLOSING",
    "Fault",
    "Twice",
    "broken_escape",
    "diagnose",
    "expression",
    "glued",
    "line_column",
    "odd_character",
    "twice",
    "wrong_value",
]

LONGEST = 200
CLOSING = {"[": "]", "{": "}"}

YES_NO = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}
NOTHING = {"none", "null", "nil", "undefined", "nan", "infinity", "+infinity", "-infinity"}

_WORD = re.compile(r"""\$\{[^}\n]*\}?|[A-Za-z_.]+\([^()\n"'{}]*\)|[^\s,\[\]{}"'=#][^,\[\]{}"'=#\n]*""")
_ARITHMETIC = re.compile(r"[ ()]*\w+[ ()]*(?:(?:[+*%]|//| - )[ ()]*\w+[ ()]*)+", re.ASCII)
_QUOTED = re.compile(r"""(['`‘’‚“”„«])([^\n,\]}]*?)['`’‘“”»](?=\s*[,\]}:=#\r\n]|\s*$)""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A slip between two indices of a text; `other` is a second place, with what is there."""

    start: int
    end: int
    message: str
    help: str
    other: tuple[int, int, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Twice:
    """A key, or the header of a table, that is there again."""

    first: Span
    second: Span
    message: str
    help: str = "keep one of them"


def line_column(text: str, index: int) -> tuple[int, int]:
    """Both from 1."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def diagnose(code: str, lines: Lines, fault: Fault) -> Diagnostic:
    labels = (
        () if fault.other is None else (Label(span=lines.between(*fault.other[:2]), text=fault.other[2]),)
    )
    return Diagnostic(
        code=code, message=_shortened(fault.message), file=lines.file,
        span=lines.between(fault.start, fault.end), help=_shortened(fault.help), labels=labels,
    )  # fmt: skip


def _shortened(sentence: str) -> str:
    """What an author wrote may be as long as a file."""
    return sentence if len(sentence) <= LONGEST else f"{sentence[: LONGEST - 1]}…"


def twice(code: str, found: Twice) -> Diagnostic:
    """The diagnostic of what is there again."""
    label = Label(span=found.first, text="first written here")
    return Diagnostic(
        code=code, message=found.message, file=found.second.file, span=found.second, help=found.help,
        labels=(label,),
    )  # fmt: skip


def wrong_value(text: str, index: int, language: str) -> Fault:
    """What stands where a value should, and is none."""
    quoted = _QUOTED.match(text, index)
    if quoted:
        kind = "double" if language == "JSON" else "straight"
        message = f"text stands in {kind} quotes; received {quoted[0]}"
        return Fault(start=index, end=quoted.end(), message=message, help=f"write {quote(quoted[2])}")
    if text[index : index + 1] in set("'`‘’“”"):
        message = f"text stands in {'double' if language == 'JSON' else 'straight'} quotes"
        return Fault(start=index, end=index + 1, message=message, help='write " on both sides of it')
    found = _WORD.match(text, index)
    word = found[0].rstrip() if found else text[index : index + 1]
    end = index + len(word)
    if word.lower() in YES_NO:
        return Fault(
            start=index, end=end, message=f"{language} has no {word}", help=f"write {YES_NO[word.lower()]}"
        )
    if word.lower() in NOTHING:
        help = "leave the key out for its default"
        return Fault(start=index, end=end, message=f"{language} has no {word}", help=help)
    formula = expression(word)
    if formula:
        return Fault(start=index, end=end, message=formula[0], help=formula[1])
    if word.startswith("("):
        inside = re.compile(r"\(([^()\n]*)\)").match(text, index)
        help = f"write [{inside[1]}]" if inside else "write [ and ]"
        end = inside.end() if inside else index + 1
        return Fault(start=index, end=end, message="a list stands in square brackets", help=help)
    number = re.fullmatch(r"([+-]?)(\d*)\.(\d+)", word) or re.fullmatch(r"(\+)(\d+)()", word)
    if number:
        sign, fraction = number[1].replace("+", ""), f".{number[3]}" if number[3] else ""
        help = f"write {sign}{number[2] or 0}{fraction}"
        return Fault(start=index, end=end, message=f"{word} is no number of {language}", help=help)
    if word[:1].isalpha() or word[:1] in "$/.~\\_<":
        message = f"text stands in quotes; received {word}"
        return Fault(start=index, end=end, message=message, help=f"write {quote(word)}")
    table = "{…}" if language == "JSON" else "{ key = value }"
    return Fault(start=index, end=end, message=f"no value begins with {quote(word[:1])}",
                 help=f'a value is a number, true, false, "text", a list […] or a table {table}')  # fmt: skip


def expression(*spellings: str) -> tuple[str, str] | None:
    """A sentence and a help for arithmetic that stands bare, the first of the spellings that is one."""
    for text in spellings:
        if len(text) < 200 and _ARITHMETIC.fullmatch(text):
            return 'an expression stands in "${…}"', f'write "${{{text}}}"'
    return None


def glued(text: str, index: int, language: str) -> Fault | None:
    """A value with something right behind it, such as 01, 5. or 50%."""
    before = re.search(r"""[^\s,\[\]{}"'=:]+$""", text[text.rfind("\n", 0, index) + 1 : index])
    after = re.compile(r"""[^\s,;\[\]{}"'=:#]+""").match(text, index)
    if before is None or after is None:
        return None
    word = before[0] + after[0]
    start, end = index - len(before[0]), after.end()
    formula = expression(word)
    if formula:
        return Fault(start=start, end=end, message=formula[0], help=formula[1])
    help = f"text stands in quotes: write {quote(word)}"
    if re.fullmatch(r"[+-]?\d+\.", word):
        help = f"write {word}0"
    elif re.fullmatch(r"[+-]?0\d+(\.\d+)?", word):
        help = f"write {word.lstrip('+-0') or 0}"
    elif len(word) < 40 and re.fullmatch(r"0[xob][0-9A-Fa-f_]+|[1-9][0-9_]*\d", word):
        with suppress(ValueError):
            help = f"write {int(word, 0)}"
    what = "number" if re.fullmatch(r"[+-]?[^:-]*", word) else "value"
    return Fault(start=start, end=end, message=f"{word} is no {what} of {language}", help=help)


def broken_escape(text: str, index: int, language: str) -> Fault:
    r"""A backslash in text with something behind it that is no escape, as in "C:\data"."""
    start = text.rfind("\\", 0, index + 1)
    help = "write / instead, or \\\\ for one backslash"
    if language == "TOML":
        help += ", or put the text in single quotes"
    message = f"a backslash begins an escape such as \\n; {text[start : start + 2]} is none"
    if text[start + 1 : start + 2] in ("u", "U"):
        digits = 8 if text[start + 1] == "U" else 4
        message = f"{text[start : start + 2]} is followed by {digits} hexadecimal digits of a character"
    return Fault(start=start, end=start + 2, message=message, help=help)


def odd_character(text: str, index: int) -> Fault:
    """A control character where none may stand."""
    character = text[index : index + 1]
    if character == "\r":
        return Fault(start=index, end=index + 1, message="a line ends with a carriage return alone",
                     help="save the file with line ends of Unix (LF) or of Windows (CRLF)")  # fmt: skip
    if character == "\t":
        return Fault(start=index, end=index + 1, message="a tab may not stand in text", help="write \\t")
    code = f"{ord(character):04X}" if character else "0000"
    return Fault(start=index, end=index + 1, message=f"the control character U+{code} may not stand here",
                 help="remove it")  # fmt: skip
