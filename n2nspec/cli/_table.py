"""Columns of text for people: as wide as their widest cell, never cut, at once for thousands of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Table"]

GAP = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells under a header; the columns numbered in `right` are aligned there, as numbers are."""

    header: Sequence[str]
    right: frozenset[int] = frozenset()
    rows: list[Sequence[str]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The header first."""
        every = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*every, strict=True)]
        return [GAP.join(self._cells(row, widths)).rstrip() for row in every]

    def _cells(self, row: Sequence[str], widths: Sequence[int]) -> list[str]:
        return [
            f"{cell:>{width}}" if index in self.right else f"{cell:<{width}}"
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
