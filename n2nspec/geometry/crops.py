"""Axis rules of layers that cut pictures, and of those whose place depends on the picture's size.

In: the size to cut to, or how far a cut may begin from the border. Out: rules like those of `axis`.
"""

from __future__ import annotations

from dataclasses import dataclass

from n2nspec.geometry.axis import AxisRule

__all__ = ["Cut", "Shift"]


@dataclass(frozen=True, slots=True)
class Cut(AxisRule):
    """The middle `pixels` of an axis, whatever its size. Which those are depends on it: reach is unknown."""

    pixels: int

    everywhere = True

    @property
    def period(self) -> int:
        return 1

    @property
    def gain(self) -> int:
        return 0

    @property
    def start(self) -> int:
        return self.pixels

    def size(self, n: int) -> int | None:
        return self.pixels if n >= self.pixels else None

    def formula(self, n: int) -> str:
        return f"{self.pixels} of {n}"

    def reach(self, first: int, last: int) -> tuple[int, int] | None:
        raise NotImplementedError("where a cut begins depends on the picture")


@dataclass(frozen=True, slots=True)
class Shift(AxisRule):
    """A cut that begins `least` to `most` pixels from the border, as the picture's size will have it.

    Only what it reads is known here; its size is another input's.
    """

    least: int
    most: int

    @property
    def period(self) -> int:
        return 1

    @property
    def gain(self) -> int:
        return 1

    @property
    def start(self) -> int:
        return 1 + self.most

    def size(self, n: int) -> int | None:
        return n - self.most if n > self.most else None

    def formula(self, n: int) -> str:
        return f"{n} - {self.most}"

    def reach(self, first: int, last: int) -> tuple[int, int]:
        return first + self.least, last + self.most
