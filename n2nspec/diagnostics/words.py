"""Small words of messages: suggestions, quoted names, values as people write them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from difflib import get_close_matches
from typing import Any

__all__ = ["closest", "describe_value", "did_you_mean", "listing", "plural", "quote", "render_path"]

LONGEST = 60
"""Characters of a value that a message repeats."""


def closest(word: object, options: Iterable[str]) -> str | None:
    """The option that was probably meant; capitals, `-` and `_` do not count."""
    if not isinstance(word, str) or len(word) > 200:
        return None
    spellings: dict[str, str] = {}
    for option in options:
        spellings.setdefault(_fold(option), option)
    found = get_close_matches(_fold(word), list(spellings), n=1, cutoff=0.6)
    return spellings[found[0]] if found else None


def _fold(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def did_you_mean(word: object, options: Iterable[str]) -> str:
    """A `help` text: the likely option; the list when none is likely and the list is short; or nothing."""
    options = list(options)
    found = closest(word, options)
    if found is not None:
        return f"did you mean {quote(found)}?"
    if len(options) == 1:
        return f"the only one is {quote(options[0])}"
    return f"choose one of {listing(options)}" if 0 < len(options) <= 40 else ""


def listing(options: Iterable[str], last: str = "and") -> str:
    """`"a", "b" and "c"`."""
    quoted = [quote(option) for option in options]
    return f" {last} ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def plural(count: int, noun: str) -> str:
    """`1 pair`, `10,000 pairs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def quote(text: str) -> str:
    """In double quotes, on one line, shortened, with nothing in it that a terminal would obey."""
    if len(text) > LONGEST:
        text = text[: LONGEST - 1] + "…"
    escaped = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped)


def describe_value(value: Any) -> str:
    """A value as TOML writes it, shortened; of tables only that they are one."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() if abs(value) >= 10**LONGEST:
            return "an integer of very many digits"
        case int() | float():
            return str(value)
        case str():
            return quote(value)
        case Mapping():
            return "a table"
        case list() | tuple():
            if any(isinstance(item, (Mapping, list, tuple)) for item in value) or len(value) > 8:
                return f"a list of {len(value)}"
            return f"[{', '.join(describe_value(item) for item in value)}]"
        case datetime():
            return "a date and time"
        case date():
            return "a date"
        case time():
            return "a time"
    return f"a Python {type(value).__name__}"


def render_path(path: Iterable[str | int]) -> str:
    """`encoder[0].kernel_size`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = part.replace("-", "").replace("_", "").isalnum() and part.isascii()
            text += ("." if text else "") + (part if bare else quote(part))
    return text
