"""Why a text is no JSON, in the words of its author.

In: the text; the sentence and the place with which json gave up. Out: a `Fault`. All before the place is
valid, so the tokens up to it tell what is open there.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from n2nspec.diagnostics import quote
from n2nspec.spec.syntax import CLOSING, Fault, broken_escape, glued, odd_character, wrong_value

__all__ = ["Place", "before_comma", "constant", "explain", "huge", "place", "skeleton", "swapped", "tokens"]

_TOKENS = re.compile(r'"(?:[^"\\\n]|\\[^\n])*+"|"|[\[\]{}]|[^\s"\[\]{}]++')


_MARKS = "'`‘’‚“”„«»"
_WORD = rf"""[^\s{_MARKS}:=,{{}}\[\]"]+"""
_KEY = re.compile(
    rf"""[{_MARKS}]([^\n{_MARKS}:=,{{}}\[\]"]+)[{_MARKS}]|"""
    rf"""[{_MARKS}]?({_WORD}(?:[ \t]+{_WORD}(?=[^\n,]*[:=]))*)[{_MARKS}]?"""
)
"""What should be a key, in quotes of another kind or in none; of several words if a colon follows."""


def tokens(text: str) -> Iterator[re.Match[str]]:
    """Strings, brackets, and what stands between them."""
    return _TOKENS.finditer(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is known where json gave up.

    Attributes:
        opened: the brackets that are open there.
        before: the end of the last token before it.
        string: the text that it is in, or one before it that no quote closes.
    """

    opened: list[int]
    before: int
    string: re.Match[str] | None = None


def place(text: str, index: int) -> Place:
    opened: list[int] = []
    before = 0
    for token in tokens(text):
        if token[0] == '"' or (token[0][0] == '"' and token.start() < index < token.end()):
            return Place(opened=opened, before=before, string=token)
        if token.start() >= index:
            break
        if token[0] in "[{":
            opened.append(token.start())
        elif token[0] in "]}" and opened:
            opened.pop()
        before = min(token.end(), index)
    return Place(opened=opened, before=before)


def before_comma(text: str, index: int) -> tuple[int, list[int]] | None:
    """The last comma between entries before an index, and the brackets that are open there."""
    opened: list[int] = []
    found: tuple[int, list[int]] | None = None
    for token in tokens(text):
        if token.start() >= index or token[0] == '"':
            break
        if token[0] in "[{":
            opened.append(token.start())
        elif token[0] in "]}" and opened:
            opened.pop()
        elif token[0][-1] == "," and opened:
            found = token.end() - 1, opened.copy()
    return found


def skeleton(brackets: Iterable[str]) -> str:
    """Brackets that are open, with an entry in the last one, as in front of a comma."""
    *outer, last = brackets
    outside = "".join("[" if bracket == "[" else '{"":' for bracket in outer)
    return outside + ("[null" if last == "[" else '{"": null')


def constant(text: str, name: str) -> Fault:
    """NaN or an infinity, which json reads and JSON does not have."""
    found = next(
        m for m in re.finditer(r'"(?:[^"\\]|\\.)*+"|NaN|-?Infinity', text, re.DOTALL) if m[0] == name
    )
    return Fault(start=found.start(), end=found.end(), message=f"JSON has no {name}",
                 help="write a number, or leave the key out for its default")  # fmt: skip


def huge(text: str) -> Fault:
    """An integer of more digits than Python converts, the only other thing that json refuses."""
    found = next(m for m in re.finditer(r'"(?:[^"\\]|\\.)*+"|-?[0-9]{4301,}', text) if m[0][0] != '"')
    return Fault(start=found.start(), end=found.end(), message="an integer of thousands of digits",
                 help="an integer has 64 bits at most")  # fmt: skip


def explain(text: str, index: int, sentence: str, place: Place) -> Fault:
    """The fault behind a refusal of json."""
    opened, before, string = place.opened, place.before, place.string
    if string is not None and string[0] == '"':
        return _open_string(text, string.start())
    if string is not None and "escape" in sentence:
        return broken_escape(text, text.rfind("\\", 0, index + 1), "JSON")
    if string is not None:
        return odd_character(text, index)
    rest = text[index:].partition("\n")[0].rstrip()
    if text.lstrip()[:1] != "{" and _is_toml(text):
        return Fault(start=0, end=1, message="the file holds TOML, and its name ends in .json",
                     help="let its name end in .toml")  # fmt: skip
    if rest.startswith(("//", "/*", "#")):
        end = text.find("*/", index) + 2 if "*/" in rest else index + len(rest)
        return Fault(start=index, end=end, message="JSON has no comments",
                     help="remove it, or put it under the key description; TOML has comments")  # fmt: skip
    character = text[index : index + 1]
    if not text[index:].strip():
        return _unclosed(text, opened)
    if "Extra data" in sentence or not opened:
        return _outside(text, index, rest)
    bracket = text[opened[-1]]
    if character in ("]", "}") or "trailing comma" in sentence:
        return _closed(text, index, before, opened)
    if character == "," and (text[before - 1] in ",[{"):
        return Fault(start=index, end=index + 1, message="an entry is missing before this comma",
                     help="write it, or remove the comma")  # fmt: skip
    if character == "{" and "':' delimiter" not in sentence and _between_entries(text, before, opened):
        return _not_closed(text, index, opened[-1])
    if "property name" in sentence:
        return _key(text, index)
    if "':' delimiter" in sentence:
        return _no_colon(text, index, before)
    if "',' delimiter" in sentence:
        return _no_comma(text, index, before, bracket, opened)
    if character == ",":
        return _no_value(text, before)
    return wrong_value(text, index, "JSON")


def _is_toml(text: str) -> bool:
    try:
        return bool(tomllib.loads(text))
    except (ValueError, RecursionError):
        return False


def _open_string(text: str, start: int) -> Fault:
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    help = 'write " at its end; a line break inside of text is written \\n'
    if text[start:end].rstrip(" ,\r").endswith('\\"'):
        help = 'write \\\\ for a backslash: \\" is a quote inside the text'
    return Fault(start=start, end=end, message="text is not closed where its line ends", help=help)


def _unclosed(text: str, opened: list[int]) -> Fault:
    if not opened:
        return Fault(
            start=0, end=1, message="a spec stands in braces", help='write "{" before it and "}" behind it'
        )
    start = opened[-1]
    closing = [CLOSING[text[index]] for index in reversed(opened)]
    what = "list" if text[start] == "[" else "object"
    help = f'write "{closing[0]}" at its end'
    if len(closing) > 1:
        help += f"; {len(closing)} brackets are open where the file ends, which takes {' '.join(closing[:8])}"
    return Fault(start=start, end=start + 1, message=f"this {what} is not closed", help=help)


def _outside(text: str, index: int, rest: str) -> Fault:
    character = text[index]
    end = index + len(rest)
    before = text[:index].rstrip()
    if before[-1:] == "}" and re.match(r',\s*"', text[index:]):
        start = len(before) - 1
        return Fault(start=start, end=start + 1, message='the spec ends with this "}", and more follows',
                     other=(index, end, "this follows"),
                     help="remove the brace, if the spec goes on")  # fmt: skip
    if character in "]}":
        return Fault(start=index, end=index + 1, message=f'no bracket is open that "{character}" could close',
                     help="remove it, or open it")  # fmt: skip
    if text.lstrip()[0] != "{" and (character in ":," or not before):
        start = len(text) - len(text.lstrip())
        return Fault(start=start, end=start + 1, message="a spec stands in braces",
                     help='write "{" before it and "}" behind it')  # fmt: skip
    return Fault(start=index, end=end, message="the spec ends before this: a file holds one object",
                 help="remove it, or move it into the braces")  # fmt: skip


def _closed(text: str, index: int, before: int, opened: list[int]) -> Fault:
    """A bracket closes too early, or one that is not open."""
    start, character = opened[-1], text[index]
    if text[before - 1] == "," or character == ",":
        comma = index if character == "," else before - 1
        last = "a list" if text[start] == "[" else "an object"
        return Fault(start=comma, end=comma + 1, message=f"JSON allows no comma before the end of {last}",
                     help="remove the comma")  # fmt: skip
    if text[before - 1] == ":":
        return _no_value(text, before)
    if character == CLOSING[text[start]]:  # a key alone
        return _no_value(text, before)
    both = swapped(text, index, opened)
    if both is not None:
        return Fault(start=index, end=both[1], message="these brackets close in the wrong order",
                     help=f"write {both[2]}")  # fmt: skip
    if all(CLOSING[text[bracket]] != character for bracket in opened):
        closing = CLOSING[text[start]]
        what, other = ("list", "object") if text[start] == "[" else ("object", "list")
        return Fault(start=index, end=index + 1, message=f'no {other} is open that "{character}" could close',
                     other=(start, start + 1, f"this {what} is open"),
                     help=f'remove it, or write "{closing}" in its place')  # fmt: skip
    return _not_closed(text, index, start)


def swapped(text: str, index: int, opened: list[int]) -> tuple[int, int, str] | None:
    """Two closing brackets that should stand the other way round, and how; None when they are no such."""
    two = re.compile(r"([]}])(\s*)([]}])").match(text, index)
    if two is None or len(opened) < 2 or two[1] == two[3]:
        return None
    inner, outer, *beyond = (CLOSING[text[bracket]] for bracket in reversed(opened))
    if (two[1], two[3]) != (outer, inner) or beyond[:1] == [inner]:
        return None
    return index, two.end(), f"{two[3]}{two[2]}{two[1]}"


def _not_closed(text: str, index: int, start: int) -> Fault:
    what = "list" if text[start] == "[" else "object"
    return Fault(start=start, end=start + 1, message=f"this {what} is not closed",
                 other=(index, index + 1, f'expected "{CLOSING[text[start]]}" before this'),
                 help=f'write "{CLOSING[text[start]]}" at its end')  # fmt: skip


def _between_entries(text: str, before: int, opened: list[int]) -> bool:
    """Whether the next object of a list begins while one before it is open."""
    return len(opened) > 1 and text[opened[-1]] == "{" and text[opened[-2]] == "[" and before > opened[-1] + 1


def _no_value(text: str, before: int) -> Fault:
    found = re.search(r'("(?:[^"\\\n]|\\[^\n])*+")\s*:?\s*$', text[text.rfind("\n", 0, before) + 1 : before])
    if found is None:
        return Fault(start=before - 1, end=before, message="a value is missing behind this", help="write one")
    start = text.rfind("\n", 0, before) + 1 + found.start()
    return Fault(start=start, end=start + len(found[1]), message=f"the key {found[1]} has no value",
                 help=f"write {found[1]}: …")  # fmt: skip


def _key(text: str, index: int) -> Fault:
    if text[index] in "[{":
        return Fault(start=index, end=index + 1, message="a key is missing before this",
                     help=f'for example "train": {text[index]}…{CLOSING[text[index]]}')  # fmt: skip
    found = _KEY.match(text, index)
    shown = found[0] if found else text[index]
    help = f"write {quote(found[1] or found[2])}" if found else 'for example "name": "n2n"'
    message = f"a key stands in double quotes; received {shown}"
    return Fault(start=index, end=index + len(shown), message=message, help=help)  # fmt: skip


def _no_colon(text: str, index: int, before: int) -> Fault:
    key = text[text.rfind('"', 0, before - 1) : before]
    swallowed = re.fullmatch(r'"([^":]+):\s*"', key)
    if swallowed:
        return Fault(start=before - len(key), end=before, message=f"the key {key} takes in the colon",
                     help=f"write {quote(swallowed[1])}: …")  # fmt: skip
    separator = re.compile(r"=>?|:=").match(text, index)
    if separator:
        message = f'expected ":" behind the key {key}; received "{separator[0]}"'
        return Fault(start=index, end=separator.end(), message=message, help=f"write {key}: …")
    if text[index] == ",":
        return _no_value(text, before)
    return Fault(start=before, end=before + 1, message=f'expected ":" behind the key {key}',
                 help=f"write {key}: …")  # fmt: skip


def _no_comma(text: str, index: int, before: int, bracket: str, opened: list[int]) -> Fault:
    if text[index] == ":" and bracket == "[":
        start = opened[-1]
        return Fault(start=start, end=start + 1, message="this list is not closed, or it should be an object",
                     other=(index, index + 1, "a list has no keys"),
                     help='write "]" where the list ends, or { } around keys and values')  # fmt: skip
    if index == before:
        joined = glued(text, index, "JSON")
        if joined is not None:
            return joined
        if text[index - 1] == '"':
            return Fault(start=index, end=index + 1, message="the text ends before this",
                         help='a quote inside of text is written \\"')  # fmt: skip
    if text[index] in ";=:|":
        message = f'entries are separated by ","; received "{text[index]}"'
        return Fault(start=index, end=index + 1, message=message, help="write a comma")  # fmt: skip
    return Fault(
        start=before,
        end=before + 1,
        message="a comma is missing here",
        help="write a comma behind this entry",
    )
