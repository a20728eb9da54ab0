"""Spans in a text: from the bytes that a parser counts to the characters that people count."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from n2nspec.diagnostics import Span

if TYPE_CHECKING:
    from tree_sitter import Node, Point

__all__ = ["Lines", "Path", "Place"]

Path = tuple[str | int, ...]
"""A place in a document: keys, and indices of lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a key and its value stand; the same span for the items of a list, which have no key."""

    key: Span
    value: Span


class Lines:
    """A text by lines, which end at `\\n` or `\\r\\n` and nowhere else, as in TOML and JSON."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self._lines = [line.removesuffix("\r") for line in text.split("\n")]
        self._byte_offsets: dict[int, list[int]] = {}

    def span(self, line: int, column: int, end_line: int, end_column: int) -> Span:
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        return Span(
            file=self.file, line=line, column=column, end_line=end_line, end_column=end_column, text=text
        )

    def between(self, start: int, end: int) -> Span:
        """The span from one character of the text to before another, as far as the first line goes."""
        line, column = self.text.count("\n", 0, start) + 1, start - self.text.rfind("\n", 0, start)
        last = self.text.find("\n", start)
        width = max(1, (end if last < 0 else min(end, last)) - start)
        return self.span(line, column, line, column + width)

    def of(self, first: Node, last: Node | None = None) -> Span:
        """The span from a node of the syntax tree to another (or the same)."""
        start, end = first.start_point, (last or first).end_point
        return self.span(start.row + 1, self._column(start), end.row + 1, self._column(end))

    def _column(self, point: Point) -> int:
        """From 1, in characters; tree-sitter counts the bytes of UTF-8."""
        line = self._lines[point.row] if point.row < len(self._lines) else ""
        if line.isascii():
            return point.column + 1
        offsets = self._byte_offsets.get(point.row)
        if offsets is None:
            offsets = [0, *accumulate(len(character.encode()) for character in line)]
            self._byte_offsets[point.row] = offsets
        return bisect_left(offsets, point.column) + 1
