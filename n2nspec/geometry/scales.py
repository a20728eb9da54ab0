"""Axis rules without a window: pixels that are repeated, blended, gathered in blocks, added or cut off.

In: whole factors, or numbers of pixels. Out: rules like those of `axis`. The sizes are those of torch.nn's
Upsample, PixelShuffle, PixelUnshuffle, ZeroPad2d and its kin.
"""

from __future__ import annotations

from dataclasses import dataclass

from n2nspec.geometry.axis import AxisRule

__all__ = ["Blend", "Border", "Divide", "Repeat"]


@dataclass(frozen=True, slots=True)
class Repeat(AxisRule):
    """Nearest-neighbour upsampling: every pixel is repeated `factor` times. size(n) = factor·n."""

    factor: int

    @property
    def period(self) -> int:
        return 1

    @property
    def gain(self) -> int:
        return self.factor

    @property
    def start(self) -> int:
        return 1

    def size(self, n: int) -> int | None:
        return n * self.factor if n >= 1 else None

    def formula(self, n: int) -> str:
        return f"{n}·{self.factor} = {n * self.factor}"

    def reach(self, first: int, last: int) -> tuple[int, int]:
        return first // self.factor, last // self.factor


@dataclass(frozen=True, slots=True)
class Blend(Repeat):
    """Linear interpolation between pixel centres: sizes as for `Repeat`, but two neighbours are read.

    Output pixel j lies at (j + 1/2) / factor - 1/2 of the input: torch.nn.Upsample without align_corners.
    """

    def reach(self, first: int, last: int) -> tuple[int, int]:
        twice = 2 * self.factor
        return (2 * first + 1 - self.factor) // twice, -((self.factor - 1 - 2 * last) // twice)


@dataclass(frozen=True, slots=True)
class Divide(AxisRule):
    """Blocks of `factor` pixels become one: multiples of `factor` only. size(n) = n / factor."""

    factor: int

    @property
    def period(self) -> int:
        return self.factor

    @property
    def gain(self) -> int:
        return 1

    @property
    def start(self) -> int:
        return self.factor

    def size(self, n: int) -> int | None:
        return None if n % self.factor else self.rounded(n)

    def rounded(self, n: int) -> int | None:
        return n // self.factor if n >= self.factor else None

    def formula(self, n: int) -> str:
        return f"{n} / {self.factor}" + (" is not whole" if n % self.factor else f" = {n // self.factor}")

    def reach(self, first: int, last: int) -> tuple[int, int]:
        return first * self.factor, (last + 1) * self.factor - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Border(AxisRule):
    """Pixels added at both ends, or cut off where negative. size(n) = n + before + after.

    `smallest` is the smallest n that the layer accepts (reflection needs n > pad).
    """

    before: int
    after: int
    smallest: int = 1

    @property
    def period(self) -> int:
        return 1

    @property
    def gain(self) -> int:
        return 1

    @property
    def start(self) -> int:
        return max(self.smallest, 1, 1 - self.before - self.after)

    def size(self, n: int) -> int | None:
        return n + self.before + self.after if n >= self.start else None

    def formula(self, n: int) -> str:
        added = "".join(
            f" {'-' if pixels < 0 else '+'} {abs(pixels)}" for pixels in (self.before, self.after)
        )
        return f"{n}{added} = {n + self.before + self.after}"

    def reach(self, first: int, last: int) -> tuple[int, int]:
        return first - self.before, last - self.before
