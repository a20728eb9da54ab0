"""What may have been meant by a text that is no JSON, so that what follows a fault can be read as well.

In: the text, where json gave up and what it expected, the fault behind it. Out: changes of the text, those
that lose least first. Which is best is seen by trying: the one after which json gets furthest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from n2nspec.spec.syntax import CLOSING, Fault
from n2nspec.spec.syntax_json import Place, swapped, tokens

__all__ = ["Repair", "blanked", "leaving_out", "repairs"]

Repair = tuple[int, int, str]
"""From one index to another there should stand this."""

FAR = 10_000
"""Tokens that are looked at in search of the end of an entry."""

_TAIL = re.compile(r"[\s,\]}]*$")
_END = re.compile(r'"(?:[^"\\\n]|\\[^\n])*+"|[\[\]{},\n]')


def repairs(text: str, index: int, sentence: str, fault: Fault, place: Place) -> Iterator[Repair]:
    """Changes at the fault itself, which leave all else as it is."""
    opened, before, string = place.opened, place.before, place.string
    start, end = fault.start, fault.end
    some = _some(index)
    if not text[index:].strip():
        return
    if "Extra data" in sentence or not opened:
        if fault.message.startswith(("no bracket", "the spec ends with")):
            yield blanked(text, start, end)
        return
    if string is not None and string[0] == '"':
        tail = _tail(text[start:end])
        if not tail and not text[end:].strip():  # the text was cut off
            return
        end -= len(tail)
        yield start, max(end, start + 1), some
        yield start, max(end, start + 1), f"{some}: null"
        yield index, max(end, index), _completed(sentence, index)
        return
    if string is not None:
        yield string.start(), string.end(), some
        return
    if fault.start == opened[-1] and text[index] == "{" == text[start]:
        comma = text[before - 1] == ","
        yield before - comma, before, "},"
        return
    if "comment" in fault.message:
        if text[start + 1 : start + 2] == "*":
            end = text.find("*/", start + 2) + 2
        if end > start:
            yield blanked(text, start, end)
        return
    if text[start] == ",":
        yield blanked(text, start, end)
    if "',' delimiter" in sentence and text[index] in "]}":
        closing = CLOSING[text[opened[-1]]]
        both = swapped(text, index, opened)
        if both is not None:
            yield both
        yield index, index, closing
        yield index, index, "".join(CLOSING[text[bracket]] for bracket in _inside(text, opened, text[index]))
        yield index, index + 1, closing
        yield blanked(text, index, index + 1)
    if text[index] == ":" and text[opened[-1]] == "[":
        yield from _keys_in_list(text, index, opened[-1])
    if text[before - 1] == '"' and before == index:
        yield from _longer(text, before)
    if "property name" in sentence:
        yield from ((start, end + extra, some) for extra in _quoted(text, end))
        yield start, end, f"{some}: null"
        yield index, index, f"{some}: "
        return
    if "':' delimiter" in sentence:
        if start == index:
            yield start, end, ":"
        yield from ((before, before, put) for put in (": ", ": null", ": null, "))
        return
    if "',' delimiter" in sentence:
        if text[start] in ";=:|":
            yield start, end, ","
        elif start < index:
            yield start, end, "null"
        yield before, before, ", "
        return
    yield from ((start, end + extra, "null") for extra in _quoted(text, end))
    yield index, index, "null"


def leaving_out(text: str, index: int, sentence: str) -> Iterator[Repair]:
    """Changes that leave out what is in the way: up to the end of the line, or of the entry."""
    depth, lines = 0, 0
    for token in islice(_END.finditer(text, index), FAR):
        if depth == 0 and (token[0] in ",]}" or (token[0] == "\n" and not lines)):
            yield index, token.start(), _completed(sentence, index)
            lines += 1
            if token[0] != "\n":
                return
        depth += (token[0] in "[{") - (token[0] in "]}")


def blanked(text: str, start: int, end: int) -> Repair:
    return start, end, re.sub(r"[^\n]", " ", text[start:end])


def _some(index: int) -> str:
    """A text, or a key, that is nowhere else."""
    return f'"\\u0000{index}"'


def _completed(sentence: str, index: int) -> str:
    """What json expected, in short."""
    if "property name" in sentence:
        return f"{_some(index)}: null"
    if "':' delimiter" in sentence:
        return ": null"
    return "" if "',' delimiter" in sentence else "null"


def _tail(line: str) -> str:
    """Commas and brackets at the end of a line."""
    found = _TAIL.search(line)
    return found[0] if found else ""


def _quoted(text: str, end: int) -> tuple[int, ...]:
    """Nothing more, or also the quote behind a word that has none before it."""
    return (1, 0) if text[end : end + 1] == '"' else (0,)


def _longer(text: str, before: int) -> Iterator[Repair]:
    """A text with quotes inside: it may end at one of the next."""
    line = text.rfind("\n", 0, before) + 1
    start = next((t.start() for t in tokens(text[line:before]) if line + t.end() == before), None)
    last = text.find("\n", before)
    for quote in islice(re.finditer('"', text[before : last if last >= 0 else len(text)]), 6):
        if start is not None:
            yield line + start, before + quote.end(), _some(before)


def _inside(text: str, opened: list[int], closing: str) -> Iterator[int]:
    """The brackets, inner ones first, that are open inside of the one that is closed."""
    for bracket in reversed(opened):
        if CLOSING[text[bracket]] == closing:
            return
        yield bracket


def _keys_in_list(text: str, index: int, start: int) -> Iterator[Repair]:
    """The list ends before its first key; or it is an object after all, of which only values are kept."""
    comma = text.rfind(",", start, index)
    if comma >= 0:
        yield comma, comma + 1, "],"
    depth = 0
    pieces = list(text[start : start + FAR])
    for token in tokens(text[start : start + FAR]):
        if token[0][0] == '"':
            continue
        depth += (token[0] in "[{") - (token[0] in "]}")
        if depth == 0:
            yield start, start + token.end(), "".join(pieces[: token.end()])
            return
        if depth == 1:
            pieces[token.start() : token.end()] = token[0].replace(":", ",")
