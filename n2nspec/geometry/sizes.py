"""Sizes of every node as an exact function of the picture's size, and the set of sizes that work.

In: axis rules of the layers, one after the other. Out: `SizeFunction`, affine with a period:

    f(h + period) = f(h) + gain   for every h >= start

a class of functions that is closed under composition with an `AxisRule`. Comparing two of them gives a
`SizeSet`, the picture sizes for which a condition holds, closed under intersection. Both are kept in a
normal form, so equal functions and equal sets compare equal, and both state facts about *all* sizes:
a table over one period and what lies before it is a proof, not a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from math import gcd, lcm

from n2nspec.geometry.axis import AxisRule
from n2nspec.geometry.errors import SizeLimitError
from n2nspec.geometry.formula import affine, sparse

__all__ = ["ALL_SIZES", "IDENTITY", "SizeFunction", "SizeSet", "constant"]


LONGEST = 2**18
"""Pixels beyond any picture's side. A law that needs more to be told is a typo in the spec."""


LONGEST_PERIOD = 2**16
"""Also of one period, all of which has to be written down."""


def _check_length(sizes: int, limit: int = LONGEST) -> None:
    if sizes > limit:
        raise SizeLimitError(
            f"the strides and kernels up to here only make sense for pictures of some {sizes} pixels a side;"
            f" {limit} is the limit",
            help="check stride, kernel_size, dilation and scale_factor for a typo",
        )


def _smallest_period(table: tuple[object, ...], fits: Callable[[int], bool]) -> int:
    """The smallest divisor of len(table) for which `fits`."""
    length = len(table)
    return next(d for d in range(1, length + 1) if length % d == 0 and fits(d))


@dataclass(frozen=True)
class SizeFunction:
    """f(h) for h >= 1: `head` below `start`, then `table` with a period; None where h is refused.

    `first` is the smallest size that is not refused by everything below it: head covers
    first … start - 1, and all sizes below `first` are refused.
    """

    first: int
    head: tuple[int | None, ...]
    table: tuple[int | None, ...]
    gain: int

    @property
    def start(self) -> int:
        return self.first + len(self.head)

    @property
    def period(self) -> int:
        return len(self.table)

    @property
    def length(self) -> int:
        """Numbers that it takes to write the function down: the work of composing it."""
        return len(self.head) + len(self.table)

    def __call__(self, h: int) -> int | None:
        """The size for picture size h; None when h is refused."""
        if h < self.first:
            return None
        if h < self.start:
            return self.head[h - self.first]
        turns, phase = divmod(h - self.start, self.period)
        value = self.table[phase]
        return None if value is None else value + turns * self.gain

    def then(self, rule: AxisRule) -> SizeFunction:
        """The size after one more layer.

        With f(h + M) = f(h) + c and a rule of period d and gain a, the composition has period
        k·M and gain a·k·c/d, where k = d / gcd(d, c) is the fewest periods that move f by a multiple of d.

        Raises:
            SizeLimitError: period or least size go beyond any picture.
        """
        if rule.period == rule.gain == rule.start == rule.size(1) == 1:
            return self  # most layers keep the size, whatever it is
        repeats = rule.period // gcd(rule.period, self.gain) if self.gain else 1
        period = self.period * repeats
        gain = self.gain * repeats // rule.period * rule.gain if self.gain else 0
        start = self.start
        if self.gain:  # far enough that every phase has left the rule's irregular beginning behind
            lowest = min((v for v in self.table if v is not None), default=rule.start)
            start += max(0, -(-(rule.start - lowest) // self.gain)) * self.period
        _check_length(start + period)
        _check_length(period, LONGEST_PERIOD)
        _check_length(gain // period)

        def value(h: int) -> int | None:
            size = self(h)
            return None if size is None else rule.size(size)

        return _size_function(
            first=self.first,
            head=[value(h) for h in range(self.first, start)],
            table=[value(h) for h in range(start, start + period)],
            gain=gain,
        )

    def equals(self, other: SizeFunction) -> SizeSet:
        """The picture sizes for which both are defined and equal.

        Raises:
            SizeLimitError: the common period goes beyond any picture.
        """
        start, period, drift = self._beside(other)
        if not drift:
            return SizeSet.of(lambda h: self._gap(other, h) == 0, start=start, period=period)
        # the two drift apart: gap(h + t·period) = gap(h) + t·drift is 0 at most once
        meetings = [h for h in range(1, start) if self._gap(other, h) == 0]
        for h in range(start, start + period):
            apart = self._gap(other, h)
            if apart is not None and apart % drift == 0 and -apart // drift >= 0:
                meetings.append(h + -apart // drift * period)
        return SizeSet.finite(meetings)

    def at_least(self, other: SizeFunction) -> SizeSet:
        """The picture sizes for which both are defined and this one is no smaller than the other.

        Raises:
            SizeLimitError: the common period goes beyond any picture.
        """
        start, period, drift = self._beside(other)
        gaps = {h: gap for h in range(1, start + period) if (gap := self._gap(other, h)) is not None}
        if drift:  # wait until every phase has made up its mind
            after = [gap for h, gap in gaps.items() if h >= start]
            turns = max((-(gap // drift) if drift > 0 else gap // -drift + 1 for gap in after), default=0)
            start += max(0, turns) * period
            _check_length(start)

        def holds(h: int) -> bool:
            gap = self._gap(other, h)
            return gap is not None and gap >= 0

        return SizeSet.of(holds, start=start, period=period)

    def gaps(self, other: SizeFunction) -> tuple[int, int] | None:
        """The least and the largest difference to the other; None when it grows with the picture.

        Raises:
            SizeLimitError: the common period goes beyond any picture.
        """
        start, period, drift = self._beside(other)
        found = [gap for h in range(1, start + period) if (gap := self._gap(other, h)) is not None]
        return None if drift or not found else (min(found), max(found))

    def plus(self, other: SizeFunction) -> SizeFunction:
        """The sum of the two sizes, where both are defined.

        Raises:
            SizeLimitError: the common period goes beyond any picture.
        """
        start, period, _ = self._beside(other)

        def value(h: int) -> int | None:
            a, b = self(h), other(h)
            return None if a is None or b is None else a + b

        return _size_function(
            first=1,
            head=[value(h) for h in range(1, start)],
            table=[value(h) for h in range(start, start + period)],
            gain=self.gain * (period // self.period) + other.gain * (period // other.period),
        )

    def within(self, sizes: SizeSet) -> SizeFunction:
        """The same sizes, refused for all pictures but these.

        Raises:
            SizeLimitError: the common period goes beyond any picture.
        """
        start, period = max(self.start, sizes.start), lcm(self.period, sizes.period)
        _check_length(start + period)
        _check_length(period, LONGEST_PERIOD)
        return _size_function(
            first=1,
            head=[self(h) if h in sizes else None for h in range(1, start)],
            table=[self(h) if h in sizes else None for h in range(start, start + period)],
            gain=self.gain * (period // self.period),
        )

    def _beside(self, other: SizeFunction) -> tuple[int, int, int]:
        """From where and with which period both follow their laws, and how far they drift apart in one."""
        start, period = max(self.start, other.start), lcm(self.period, other.period)
        _check_length(start + period)
        _check_length(period, LONGEST_PERIOD)
        return start, period, self.gain * (period // self.period) - other.gain * (period // other.period)

    def _gap(self, other: SizeFunction, h: int) -> int | None:
        a, b = self(h), other(h)
        return None if a is None or b is None else a - b

    @cached_property
    def domain(self) -> SizeSet:
        """The picture sizes that are not refused."""
        return SizeSet.of(
            lambda h: self(h) is not None, start=self.start, period=self.period, first=self.first
        )

    def render(self, symbol: str, within: SizeSet | None = None) -> str:
        """A formula in Python's integer arithmetic, such as `(H+1)//2` or `4*((H+3)//4)`.

        It holds for the sizes of `within` (from `start` on, but for all where they are finitely many) and is
        as short as that allows: `H` instead of `4*((H+3)//4)` when H is a multiple of 4.
        """
        start, period = self.start, self.period
        if within is not None:
            start, period = max(start, within.start), lcm(period, within.period)
        sizes: Iterable[int] = range(start, start + 2 * period)
        if within is not None:
            sizes = [h for h in sizes if h in within] if within.remainders else within.exceptions
        points = [(h, v) for h in sizes if (v := self(h)) is not None]  # of sizes that are not refused
        values = {v for _, v in points}
        text = str(values.pop()) if not self.gain and len(values) == 1 else None
        if self.gain and points:
            base = points[0][1]
            step = gcd(self.gain * (period // self.period), *(v - base for _, v in points))
            text = affine(symbol, points, gain=self.gain, period=self.period, step=step)
        elif points and not text:
            text = sparse(symbol, points)
        return text or f"size({symbol})"


def _size_function(*, first: int, head: list[int | None], table: list[int | None], gain: int) -> SizeFunction:
    """The normal form: shortest period, then the earliest start, then no refused sizes in front."""

    def fits(d: int) -> bool:
        step, rest = divmod(gain * d, len(table))
        return rest == 0 and all(
            (b is None) if a is None else b == a + step for a, b in zip(table, table[d:], strict=False)
        )

    if all(value is None for value in table):
        gain = 0
    period = _smallest_period(tuple(table), fits)
    gain = gain * period // len(table)
    table = table[:period]
    start = first + len(head)

    def law(h: int) -> int | None:
        turns, phase = divmod(h - start, period)
        value = table[phase]
        return None if value is None else value + turns * gain

    begin = start  # of the law: rolled back over what follows it already, refused sizes in front included
    while begin > 1 and (head[begin - 1 - first] if begin > first else None) == law(begin - 1):
        begin -= 1
    table = [law(h) for h in range(begin, begin + period)]
    head = head[: max(0, begin - first)]
    first = min(first, begin)
    dropped = 0
    while dropped < len(head) and head[dropped] is None:
        dropped += 1
    return SizeFunction(first=first + dropped, head=tuple(head[dropped:]), table=tuple(table), gain=gain)


def constant(size: int) -> SizeFunction:
    """The size does not depend on the picture."""
    return SizeFunction(first=1, head=(), table=(size,), gain=0)


IDENTITY = SizeFunction(first=1, head=(), table=(1,), gain=1)
"""The picture's own size."""


@dataclass(frozen=True)
class SizeSet:
    """The picture sizes for which something holds: single ones below `start`, then residues.

    h >= start belongs when h % period is in `remainders`; below it, when it is in `exceptions`.
    """

    period: int
    remainders: tuple[int, ...]
    start: int
    exceptions: tuple[int, ...]

    @classmethod
    def of(cls, holds: Callable[[int], bool], *, start: int, period: int, first: int = 1) -> SizeSet:
        """The normal form of a condition that is periodic from `start` on, and false below `first`."""
        residues = sorted(h % period for h in range(start, start + period) if holds(h))
        below = [h for h in range(first, start) if holds(h)]
        return cls._normal(period, residues, start, below)

    @classmethod
    def finite(cls, members: Iterable[int]) -> SizeSet:
        """Just these sizes."""
        below = sorted(members)
        return cls._normal(1, (), below[-1] + 1 if below else 1, below)

    @classmethod
    def _normal(cls, period: int, residues: Iterable[int], start: int, below: list[int]) -> SizeSet:
        members = set(residues)
        flags = tuple(r in members for r in range(period))
        period = _smallest_period(flags, lambda d: all(flags[i] == flags[i % d] for i in range(len(flags))))
        members = {r for r in range(period) if flags[r]}
        known = set(below)
        while start > 1 and (start - 1 in known) == ((start - 1) % period in members):
            start -= 1
            known.discard(start)
        if members:  # the smallest size of the regular part, not merely where the law begins
            while start % period not in members:
                start += 1
        return cls(
            period=period, remainders=tuple(sorted(members)), start=start, exceptions=tuple(sorted(known))
        )

    def __contains__(self, h: int) -> bool:
        return h in self.exceptions if h < self.start else h % self.period in self.remainders

    def __and__(self, other: SizeSet) -> SizeSet:
        """The sizes in both.

        Raises:
            SizeLimitError: the common period goes beyond any picture.
        """
        if self == other or other == ALL_SIZES:
            return self
        for one, another in ((self, other), (other, self)):
            if not one.remainders:
                return SizeSet.finite(h for h in one.exceptions if h in another)
        start, period = max(self.start, other.start), lcm(self.period, other.period)
        _check_length(start + period)
        first = max(min((*one.exceptions[:1], one.start)) for one in (self, other))
        return SizeSet.of(lambda h: h in self and h in other, start=start, period=period, first=first)

    def __sub__(self, other: SizeSet) -> SizeSet:
        """The sizes in this set and not in the other.

        Raises:
            SizeLimitError: the common period goes beyond any picture.
        """
        start, period = max(self.start, other.start), lcm(self.period, other.period)
        _check_length(start + period)
        return SizeSet.of(lambda h: h in self and h not in other, start=start, period=period)

    @property
    def is_empty(self) -> bool:
        return not self.remainders and not self.exceptions

    @property
    def smallest(self) -> int | None:
        """The smallest member; None for the empty set."""
        return self.at_least(1)

    @property
    def maximum(self) -> int | None:
        """The largest member of a finite set; None when there is none."""
        return None if self.remainders or not self.exceptions else self.exceptions[-1]

    def at_least(self, h: int) -> int | None:
        """The smallest member that is h or more; None past the end of a finite set."""
        candidates = [e for e in self.exceptions if e >= h]
        if candidates:
            return candidates[0]
        if not self.remainders:
            return None
        h = max(h, self.start)
        return next(k for k in range(h, h + self.period) if k in self)

    def members(self) -> str:
        """The set itself, such as "{1, 2, 3}" or "{4, 8, 12, …}"."""
        if not self.remainders:
            return _braces(self.exceptions)
        regular: list[int] = []
        while len(regular) < 3:
            regular.append(self.at_least(regular[-1] + 1 if regular else self.start) or 0)
        return "{" + ", ".join(map(str, (*self.exceptions, *regular))) + ", …}"

    def render(self, symbol: str) -> str:
        """One phrase, such as "any multiple of 4 from 4" or "H % 4 in {0, 3} from 3"."""
        if self.is_empty:
            return "no size"
        parts = []
        if self.remainders:
            if self.period == 1:
                parts.append(f"any size from {self.start}")
            elif self.remainders == (0,):
                parts.append(f"any multiple of {self.period} from {self.start}")
            else:
                parts.append(f"{symbol} % {self.period} in {_braces(self.remainders)} from {self.start}")
        if self.exceptions:
            parts.append(("also " if parts else "only ") + _braces(self.exceptions))
        return ", ".join(parts)


def _braces(numbers: Iterable[int]) -> str:
    """A set as people write it; of long runs the two ends, such as "{0, 4 … 15}"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [f"{run[0]} … {run[-1]}" if len(run) > 4 else ", ".join(map(str, run)) for run in runs]
    return "{" + ", ".join(parts) + "}"


ALL_SIZES = SizeSet(period=1, remainders=(0,), start=1, exceptions=())
"""Every size from 1."""
