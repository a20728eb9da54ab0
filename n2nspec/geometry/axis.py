"""How one layer changes one spatial axis: exact integer size formulae and the pixels that are read.

In: a size n along one axis (height or width). Out: the size after the layer, or None when the layer
refuses n; the formula with the numbers in it; which input pixels an output pixel reads.

The formulae are those of torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.MaxPool2d and so on
(https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html, section "Shape").

Every rule is affine with a period: size(n + period) = size(n) + gain for n >= start, unless both are refused
(a rule may take multiples only). `n2nspec.geometry.sizes` composes rules on that promise alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, starmap
from math import gcd

__all__ = ["SAME", "AxisRule", "Chain", "Same", "TransposedWindow", "Window"]


class AxisRule(ABC):
    """One layer's effect on one axis. `period`, `gain` and `start` are all at least 1, 0 and 1."""

    __slots__ = ()

    everywhere = False
    """True: which pixels are read depends on the picture's size, so that `reach` cannot tell."""

    @property
    def selective(self) -> bool:
        """True: the first and last pixel that a set of output pixels reads may be those of an inner one."""
        return False

    @property
    @abstractmethod
    def period(self) -> int:
        """M in size(n + M) = size(n) + gain."""

    @property
    @abstractmethod
    def gain(self) -> int:
        """c in size(n + period) = size(n) + c."""

    @property
    @abstractmethod
    def start(self) -> int:
        """The smallest size from which the periodic law holds and nothing is refused for being too small."""

    @abstractmethod
    def size(self, n: int) -> int | None:
        """The size after the layer, at least 1; None when a layer refuses n."""

    def rounded(self, n: int) -> int | None:
        """`size`; for an n that is refused for being no multiple, the size of the multiple below.

        Unlike `size` it has no gaps, and never shrinks as n grows. None below `start`.
        """
        return self.size(n)

    @abstractmethod
    def formula(self, n: int) -> str:
        """The size formula with the numbers in it, for an error message or a table."""

    @abstractmethod
    def reach(self, first: int, last: int) -> tuple[int, int] | None:
        """The input pixels, first to last, that output pixels first to last read, far from any border.

        The smallest interval that holds them all; pixels between its ends may be left out by a dilation.
        None when those output pixels read nothing (a transposed convolution with stride > kernel).
        """

    def pieces(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The input pixels that output pixels first to last read, and no others, far from any border.

        Intervals, first to last, in any order; they may overlap. There may be as many as pixels are read, so
        take no more of them than you can use.
        """
        interval = self.reach(first, last)
        if interval is not None:
            yield interval

    def unread(self, n: int) -> int:
        """Pixels at the end of an axis of n that nothing reads because the stride does not divide.

        Counts pixels of the picture, not of the padding. 0 for an n that is refused.
        """
        return 0

    def remainder(self, n: int) -> str:
        """The formula that `unread` rests on, with the numbers in it; empty where nothing is left over."""
        return ""


@dataclass(frozen=True, slots=True)
class Same(AxisRule):
    """The axis passes unchanged, pixel by pixel."""

    @property
    def period(self) -> int:
        return 1

    @property
    def gain(self) -> int:
        return 1

    @property
    def start(self) -> int:
        return 1

    def size(self, n: int) -> int | None:
        return n if n >= 1 else None

    def formula(self, n: int) -> str:
        return f"{n}"

    def reach(self, first: int, last: int) -> tuple[int, int]:
        return first, last


SAME = Same()


@dataclass(frozen=True, slots=True, kw_only=True)
class Window(AxisRule):
    """A sliding window: convolution and pooling.

    size(n) = floor((n + before + after - dilation·(kernel - 1) - 1) / stride) + 1

    `smallest` is the smallest n that the padding mode accepts (reflection needs n > pad). `ceil` rounds up
    instead, so the last window may hang over the end, but drops a window that would start beyond the picture
    (torch.nn.MaxPool2d's ceil_mode).
    """

    kernel: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1
    smallest: int = 1
    ceil: bool = False

    @property
    def span(self) -> int:
        """Pixels from the first to the last that one window touches."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def period(self) -> int:
        return self.stride

    @property
    def gain(self) -> int:
        return 1

    @property
    def _overhang(self) -> int:
        """Pixels by which the last window may hang over the end."""
        return self.stride - 1 if self.ceil else 0

    @property
    def start(self) -> int:
        return max(self.smallest, self.span - self.before - self.after - self._overhang, 1)

    def _windows(self, n: int) -> tuple[int, bool]:
        """How many windows there are, and whether one was dropped that would start beyond the picture."""
        windows = (n + self.before + self.after - self.span + self._overhang) // self.stride + 1
        beyond = self.ceil and (windows - 1) * self.stride >= n + self.before
        return windows - beyond, beyond

    def size(self, n: int) -> int | None:
        return self._windows(n)[0] if n >= self.start else None

    def formula(self, n: int) -> str:
        padding = f"2·{self.before}" if self.before == self.after else f"{self.before} + {self.after}"
        result, beyond = self._windows(n)
        quotient = f"({n} + {padding} - {self.dilation}·({self.kernel} - 1) - 1) / {self.stride}"
        less = " less the window that would start beyond the end" if beyond else ""
        return f"{'ceil' if self.ceil else 'floor'}({quotient}) + 1{less} = {result}"

    def reach(self, first: int, last: int) -> tuple[int, int]:
        return first * self.stride - self.before, last * self.stride - self.before + self.span - 1

    def pieces(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        block, taps = (self.kernel, 1) if self.dilation == 1 else (1, self.kernel)  # pixels side by side
        runs = ((first, last),) if self.stride <= block else ((j, j) for j in range(first, last + 1))
        for start, end in runs:
            for tap in range(taps):
                moved = tap * self.dilation - self.before
                yield start * self.stride + moved, end * self.stride + moved + block - 1

    def unread(self, n: int) -> int:
        """As far as it is more than one of the gaps that a stride wider than the window leaves everywhere."""
        if n < self.start or self.ceil:  # a window that hangs over, or a gap, is what ends the axis then
            return 0
        rest = (n + self.before + self.after - self.span) % self.stride
        return max(0, rest - self.after - max(0, self.stride - self.span))

    def remainder(self, n: int) -> str:
        """What `unread` rests on, with the numbers in it."""
        padding = f"2·{self.before}" if self.before == self.after else f"{self.before} + {self.after}"
        rest = (n + self.before + self.after - self.span) % self.stride
        return f"({n} + {padding} - {self.dilation}·({self.kernel} - 1) - 1) % {self.stride} = {rest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransposedWindow(AxisRule):
    """Transposed convolution: each input pixel is spread over a window of the output.

    size(n) = (n - 1)·stride - 2·padding + dilation·(kernel - 1) + output_padding + 1
    """

    kernel: int
    stride: int = 1
    padding: int = 0
    output_padding: int = 0
    dilation: int = 1

    @property
    def period(self) -> int:
        return 1

    @property
    def gain(self) -> int:
        return self.stride

    @property
    def _constant(self) -> int:
        """size(n) = n·stride + constant."""
        return self.dilation * (self.kernel - 1) + self.output_padding + 1 - 2 * self.padding - self.stride

    @property
    def start(self) -> int:
        # n·stride + constant >= 1, rounded up
        return max(1, -((self._constant - 1) // self.stride))

    def size(self, n: int) -> int | None:
        return n * self.stride + self._constant if n >= self.start else None

    def formula(self, n: int) -> str:
        return (
            f"({n} - 1)·{self.stride} - 2·{self.padding} + {self.dilation}·({self.kernel} - 1)"
            f" + {self.output_padding} + 1 = {n * self.stride + self._constant}"
        )

    def reach(self, first: int, last: int) -> tuple[int, int] | None:
        # Input i writes outputs i·stride - padding + t·dilation, t = 0 … kernel - 1. Outputs in the gaps
        # between those (dilation or stride wider than the kernel) read nothing. Whether input i writes one of
        # these outputs repeats with i, as long as t is in range: from both ends, the first that does.
        low, high = first + self.padding, last + self.padding
        least, most = -((self.dilation * (self.kernel - 1) - low) // self.stride), high // self.stride
        ends = (
            next((i for i in order if self._writes(i, low, high)), None)
            for order in (range(least, most + 1), range(most, least - 1, -1))
        )
        start, end = ends
        return None if start is None or end is None else (start, end)

    @property
    def selective(self) -> bool:
        # else every output reads an interval, whose ends never move back from one output to the next
        return self.stride > 1 and (self.dilation > 1 or self.kernel < self.stride)

    def pieces(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        if self.dilation == 1 and not self.selective:
            yield from AxisRule.pieces(self, first, last)
            return
        for tap in range(self.kernel):
            low, high = (output + self.padding - tap * self.dilation for output in (first, last))
            start, end = -(-low // self.stride), high // self.stride
            if start <= end:
                yield start, end

    def _writes(self, i: int, low: int, high: int) -> bool:
        """Whether input i writes any of the outputs low to high, padding included."""
        t = max(0, -((i * self.stride - low) // self.dilation))
        return t < self.kernel and i * self.stride + t * self.dilation <= high


@dataclass(frozen=True, slots=True)
class Chain(AxisRule):
    """Rules one after the other, as one layer."""

    rules: tuple[AxisRule, ...]

    def _law(self) -> tuple[int, int]:
        period = gain = 1
        for rule in self.rules:
            repeats = rule.period // gcd(
                rule.period, gain
            )  # whole periods that move the next rule's by whole ones
            period *= repeats
            gain = gain * repeats // rule.period * rule.gain
        return period, gain

    @property
    def period(self) -> int:
        return self._law()[0]

    @property
    def gain(self) -> int:
        return self._law()[1]

    @property
    def start(self) -> int:
        # rounded sizes never shrink as n grows, so no rule finds its own too small from some n on
        high = 1
        while not self._regular(high):
            high *= 2
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._regular(middle) else (middle, high)
        return high

    def _regular(self, n: int) -> bool:
        size: int | None = n
        for rule in self.rules:
            if size is None or size < rule.start:
                return False
            size = rule.rounded(size)
        return True

    def size(self, n: int) -> int | None:
        size: int | None = n if n >= 1 else None
        for rule in self.rules:
            size = None if size is None else rule.size(size)
        return size

    def rounded(self, n: int) -> int | None:
        size: int | None = n if n >= 1 else None
        for rule in self.rules:
            size = None if size is None else rule.rounded(size)
        return size

    def formula(self, n: int) -> str:
        texts = []
        size: int | None = n
        for rule in self.rules:
            if size is None:
                break
            if rule != SAME:
                texts.append(rule.formula(size))
            size = rule.size(size)
        return ", then ".join(texts) or SAME.formula(n)

    def unread(self, n: int) -> int:
        """Of the first rule that leaves something; in pixels of what that one reads."""
        rule, size = self._leaving(n)
        return rule.unread(size)

    def remainder(self, n: int) -> str:
        rule, size = self._leaving(n)
        return rule.remainder(size)

    def _leaving(self, n: int) -> tuple[AxisRule, int]:
        """The first rule that leaves something unread, and its size; the last rule when none does."""
        rule, size = self.rules[0], n
        for rule in self.rules:
            if rule.unread(size):
                break
            following = rule.size(size)
            if following is None:
                break
            size = following
        return rule, size

    def reach(self, first: int, last: int) -> tuple[int, int] | None:
        """As for one rule; of a selective chain an interval that holds what is read."""
        interval: tuple[int, int] | None = (first, last)
        for rule in reversed(self.rules):
            interval = None if interval is None else rule.reach(*interval)
        return interval

    @property
    def selective(self) -> bool:
        return any(rule.selective for rule in self.rules)

    def pieces(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        found: Iterable[tuple[int, int]] = [(first, last)]
        for rule in reversed(self.rules):
            found = chain.from_iterable(starmap(rule.pieces, found))
        yield from found
