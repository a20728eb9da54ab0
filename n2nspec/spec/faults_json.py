"""All that is wrong with a text that is no JSON, one fault after the other.

In: the text, and why json refuses it. Out: diagnostics in source order. Each fault is put right, in the way
after which json gets furthest, to see whether more follows; json alone says whether something does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from n2nspec.diagnostics import Diagnostic, Span, in_source_order
from n2nspec.spec.faults import MOST_FAULTS, MOST_TWICE, and_more, deepest, too_deep_at
from n2nspec.spec.parse import DEEPEST, ConstantError, has_twice, refuse_constant
from n2nspec.spec.positions_json import duplicates
from n2nspec.spec.repairs_json import Repair, leaving_out, repairs
from n2nspec.spec.syntax import Fault, Twice, diagnose, twice
from n2nspec.spec.syntax_json import before_comma, constant, explain, huge, place, skeleton, tokens
from n2nspec.spec.text import Lines

__all__ = ["of_json", "twice_in_json"]

BEFORE = 10_000
"""Characters before a fault that are kept in sight."""


def twice_in_json(file: str, text: str) -> list[Diagnostic]:
    """The keys of a text that json would merge."""
    return [twice("E103", found) for found in duplicates(Lines(file, text))[:MOST_TWICE]]


def of_json(file: str, text: str, error: Exception) -> list[Diagnostic]:
    """Why json refuses a text."""
    if isinstance(error, RecursionError):
        return [too_deep_at(deepest(Lines(file, text), tokens(text), DEEPEST + 1))]
    return _Reading(Lines(file, text)).faults(error)


class _Reading:
    """A text that is put right while it is read.

    What is read is a view of it: from some way before the last fault on, in brackets that stand for those
    that are open there. So the time is proportional to the length of the text, however many faults it has.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._whole = self._text = lines.text
        self._changes: list[Repair] = []
        self._opened: list[int] = []
        """The brackets of the whole text that the view begins with, and where it goes on behind them."""
        self._head, self._mark = 0, 0

    def faults(self, error: Exception) -> list[Diagnostic]:
        found: dict[int, Fault] = {}  # by their place: there is one for each
        waiting: Exception | None = error
        while waiting is not None and len(found) < MOST_FAULTS:
            fault, candidates = self._explained(waiting)
            written = self._as_written(fault)
            found.setdefault(written.start, written)
            index = _reach(waiting, self._text)
            best = next(filter(None, (self._best(index, group) for group in candidates)), None)
            if best is None or best[0][0] < self._head:
                break
            (start, end, put), waiting = best
            change = self._in_whole(start), self._in_whole(end), put
            self._changes.append(change)
            self._whole = _changed(self._whole, change)
            self._text = _changed(self._text, best[0])
            if waiting is not None:
                self._go_on(_reach(waiting, self._text))
                waiting = _refusal(self._text)
        told = list(in_source_order(diagnose("E103", self._lines, fault) for fault in found.values()))
        if waiting is None:
            return list(in_source_order([*told, *self._again(set(found))]))
        return [*told[:-1], and_more(told[-1])] if len(found) == MOST_FAULTS else told

    def _go_on(self, index: int) -> None:
        """Begins the view at a comma some way before an index."""
        here = before_comma(self._text, index - BEFORE)
        if here is None or here[0] < self._head:
            return
        mark, opened = here
        head = skeleton(self._text[bracket] for bracket in opened)
        brackets = [self._in_whole(bracket) for bracket in opened]
        self._text, self._mark = head + self._text[mark:], self._in_whole(mark)
        self._head, self._opened = len(head), brackets

    def _in_whole(self, index: int) -> int:
        """Where a character of the view is in the whole text."""
        if index >= self._head:
            return index - self._head + self._mark
        inside = sum(character in "[{" for character in self._text[: index + 1])
        return self._opened[max(inside - 1, 0)]

    def _explained(self, error: Exception) -> tuple[Fault, tuple[Iterable[Repair], ...]]:
        """The fault behind a refusal, and changes that may put it right, better ones first."""
        text = self._text
        if isinstance(error, json.JSONDecodeError):
            here = place(text, error.pos)
            fault = explain(text, error.pos, error.msg, here)
            local = repairs(text, error.pos, error.msg, fault, here)
            return fault, (local, leaving_out(text, error.pos, error.msg) if here.opened else ())
        fault = constant(text, str(error)) if isinstance(error, ConstantError) else huge(text)
        return fault, ([(fault.start, fault.end, "null")],)

    def _best(self, index: int, candidates: Iterable[Repair]) -> tuple[Repair, Exception | None] | None:
        """The change after which json gets furthest, and what it refuses then; None if it gets nowhere."""
        best: tuple[Repair, Exception | None] | None = None
        furthest = index
        for repair in candidates:
            text = _changed(self._text, repair)
            error = _refusal(text)
            if isinstance(error, RecursionError):
                continue
            end, reach = repair[0] + len(repair[2]), _reach(error, text)
            far = reach - len(text) + len(self._text)
            helps = text[end:reach].strip() or not text[reach:].strip() or not repair[2].strip()
            if far > furthest and helps:
                best, furthest = (repair, error), far
        return best

    def _again(self, told: set[int]) -> list[Diagnostic]:
        """Keys that are there again."""
        if not has_twice(self._whole):
            return []
        lines = Lines(self._lines.file, self._whole)
        starts = [0]
        for line in self._whole.split("\n"):
            starts.append(starts[-1] + len(line) + 1)

        def span(found: Span) -> tuple[int, Span]:
            start = self._written(starts[found.line - 1] + found.column - 1)
            end = self._written(starts[found.end_line - 1] + found.end_column - 2) + 1
            return start, self._lines.between(start, max(end, start + 1))

        again: list[Diagnostic] = []
        for item in duplicates(lines)[:MOST_TWICE]:
            (_, first), (start, second) = span(item.first), span(item.second)
            if start not in told:
                again.append(twice("E103", Twice(first=first, second=second, message=item.message)))
        return again

    def _as_written(self, fault: Fault) -> Fault:
        """The fault in the text as its author wrote it."""
        start, end = self._stretch(fault.start, fault.end)
        other = fault.other and (*self._stretch(*fault.other[:2]), fault.other[2])
        return replace(fault, start=start, end=end, other=other)

    def _stretch(self, start: int, end: int) -> tuple[int, int]:
        first = self._written(self._in_whole(start))
        return first, max(first, self._written(self._in_whole(end - 1))) + 1

    def _written(self, index: int) -> int:
        """Where a character of the whole text as it is now was at first."""
        for start, end, put in reversed(self._changes):
            if index >= start + len(put):
                index += end - start - len(put)
            elif index > start:
                index = max(start, min(index, end - 1))
        return index


def _changed(text: str, repair: Repair) -> str:
    start, end, put = repair
    return text[:start] + put + text[end:]


def _refusal(text: str) -> Exception | None:
    try:
        json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        return error
    return None


def _reach(error: Exception | None, text: str) -> int:
    """How far json got."""
    if error is None:
        return len(text)
    if isinstance(error, json.JSONDecodeError):
        return error.pos
    return (constant(text, str(error)) if isinstance(error, ConstantError) else huge(text)).start
