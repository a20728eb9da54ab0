"""Under a memory limit: what a training step lets go of after its forward pass, and computes again.

In: a program, the values whose gradient somebody needs, and the bytes of everything that takes memory. Out: a
`Recomputation`, what is not kept, and its `Timeline`: what runs when, and how long everything lives. A value
that is not kept is computed once more, with those it is made of, just before the first backward call that
reads it; kernels, their order and so every bit of the results stay the same. Integers only.

Source: Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost (https://arxiv.org/abs/1604.06174),
algorithm 3, whose walk with a budget proposes plans; what they need not drop for the limit is put back,
the most expensive first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Literal, NamedTuple

from n2nspec.compiler.program import ConvOp, LayerOp, Op, PoolOp, Program

__all__ = ["INPUT", "Call", "Demand", "Recomputation", "Search", "Span", "Timeline", "TooLittleError"]

Span = tuple[int, int]
INPUT = -1
"""The network's input among the operations: it is copied into its buffer, and may be again."""
EVALUATIONS = 4000
"""Plans that a search looks at, at most, for a program of ten operations; fewer for longer ones."""
PROPOSALS = 4
"""Plans that are refined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputation:
    """What a training step does not keep.

    Attributes:
        values: those that are computed again, with what their operations save for backward.
        columns: operations that copy the windows of their input again instead of keeping the copies.
        shared: pictures lie where anything else may lie at other times; their borders are cleared every time.
    """

    values: frozenset[str] = frozenset()
    columns: frozenset[str] = frozenset()
    shared: bool = True


class Call(NamedTuple):
    """One call of a backward pass, and when: operation `op` again, or its backward."""

    moment: int
    kind: Literal["recompute", "backward"]
    op: int


class TooLittleError(Exception):
    """No plan takes as little as that. `least` is what the best one takes, in bytes."""

    def __init__(self, least: int) -> None:
        super().__init__(f"at least {least} bytes")
        self.least = least


class Timeline:
    """When each operation runs, and from when to when things are needed.

    Without recomputation operation i of n runs forward at moment i and backward at 2n - i; the input is there
    at 0, the loss runs at n, and what a caller still reads lives until 2n + 1. Whatever is computed again
    moves what follows by one.
    """

    def __init__(
        self, program: Program, wanted: Collection[str], choice: Recomputation | None = None
    ) -> None:
        self.program, self.wanted = program, wanted
        self.choice = choice or Recomputation(shared=False)
        ops = program.ops
        self.count = len(ops)
        self.index = {program.input_name: INPUT, **{op.name: index for index, op in enumerate(ops)}}
        self.slots = self._slots()
        """For what is computed again, the operation before whose backward."""
        self.again: dict[int, int] = {}
        """When each of them runs."""
        self.calls: list[Call] = []
        self._then: list[int] = [0] * self.count
        at: dict[int, list[int]] = {}
        for index, slot in self.slots.items():
            at.setdefault(slot, []).append(index)
        moment = self.count + 1
        for index in reversed(range(self.count)):
            for earlier in sorted(at.get(index, ())):
                self.again[earlier] = moment
                self.calls.append(Call(moment, "recompute", earlier))
                moment += 1
            self._then[index] = moment
            if ops[index].name in wanted:
                self.calls.append(Call(moment, "backward", index))
            moment += 1
        self.end = moment

    @cached_property
    def pictured(self) -> frozenset[str]:
        """The values that lie in planned buffers: those that fused operations read or make."""
        fused = [op for op in self.program.ops if not isinstance(op, LayerOp)]
        return frozenset(name for op in fused for name in (op.name, *op.inputs))

    @cached_property
    def _users(self) -> Mapping[str, list[int]]:
        """For each value, the operations whose backward reads it."""
        found: dict[str, list[int]] = {name: [] for name in self.index}
        for index, op in enumerate(self.program.ops):
            if op.name in self.wanted:
                for name in dict.fromkeys(_read_backward(op)):
                    found[name].append(index)
        return found

    def _slots(self) -> dict[int, int]:
        program = self.program
        found: dict[int, int] = {}
        if not self.choice.values:
            return found
        dropped = {self.index[name] for name in self.choice.values if name != program.output}
        for index in sorted(dropped, reverse=True):
            name = program.ops[index].name if index != INPUT else program.input_name
            readers = [self.index[op.name] for op in program.readers[name]]
            if name not in self.pictured and any(
                isinstance(op, LayerOp) and op.name in self.wanted and self.index[op.name] not in found
                for op in program.readers[name]
            ):
                continue  # what such a reader saved may be this very tensor, which stays then
            later = [*self._users[name], *(found[reader] for reader in readers if reader in found)]
            if later:
                found[index] = max(later)
        return found

    def moment(self, planned: int) -> int:
        """What is `planned` as if nothing were computed again."""
        if planned <= self.count:
            return planned
        return self.end if planned > 2 * self.count else self._then[2 * self.count - planned]

    @cached_property
    def values(self) -> Mapping[str, tuple[Span, ...]]:
        """When each value has to be there."""
        program = self.program
        found: dict[str, tuple[Span, ...]] = {}
        for name in reversed(self.index):
            index = self.index[name]
            born = max(index, 0)
            if name == program.output:
                found[name] = ((born, self.end),)
                continue
            readers = [self.index[op.name] for op in program.readers[name]]
            forward = max([born, *readers])
            backward = [self._then[user] for user in self._users[name]]
            backward += [self.again[reader] for reader in readers if reader in self.again]
            # A layer may hand on a view of its input: one lives as long as the other
            views = [
                found[op.name]
                for op in program.readers[name]
                if isinstance(op, LayerOp) and op.name not in self.pictured
            ]
            if index not in self.again:
                found[name] = ((born, max([forward, *backward, *(spans[-1][1] for spans in views)])),)
                continue
            first = max([forward, *(spans[0][1] for spans in views)])
            last = max([self.again[index], *backward, *(spans[-1][1] for spans in views)])
            whole = first >= self.again[index]
            found[name] = ((born, last),) if whole else ((born, first), (self.again[index], last))
        return found

    @cached_property
    def releases(self) -> Mapping[int, list[str]]:
        """The values without a buffer that no kernel reads after a moment; what layers save, they hold."""
        found: dict[int, list[str]] = {}
        for name, index in self.index.items():
            if index == INPUT or name == self.program.output or name in self.pictured:
                continue
            readers = [self.index[op.name] for op in self.program.readers[name]]
            again = [self.again[reader] for reader in readers if reader in self.again]
            forward = max([index, *readers])
            if index in self.again:
                moments = [forward, max([self.again[index], *again])]
            else:
                moments = [max([forward, *again])]
            for moment in moments:
                found.setdefault(moment, []).append(name)
        return found

    def work(self, first: int, last: int) -> tuple[Span, ...]:
        """When memory is needed that is planned from `first` to `last`, other than a value's."""
        if first >= self.count:
            return ((self.moment(first), self.moment(last)),)
        again = self.again.get(first)
        forward = [(first, first), *([(again, again)] if again is not None else [])]
        if last < self.count:
            return tuple(forward)
        if self.program.ops[first].name in self.choice.columns:
            return (*forward, (self.moment(last), self.moment(last)))
        return ((first, self.moment(last)),)

    def saved(self, index: int) -> tuple[Span, ...]:
        """When what an operation saves for its backward is there."""
        again, then = self.again.get(index), self._then[index]
        return ((index, then),) if again is None else ((index, index), (again, then))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of what is computed again."""
        shapes = self.program.shapes
        return sum(self.program.ops[index].macs(shapes) for index in self.again if index != INPUT)


def _read_backward(op: Op) -> tuple[str, ...]:
    """The values that an operation's backward may read; a layer may have saved any of them."""
    own = isinstance(op, (LayerOp, PoolOp)) or (isinstance(op, ConvOp) and op.activation is not None)
    return (*op.inputs, op.name) if own else op.inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Bytes, and what for: the value `of`, what operation `of` saved, or work planned for `moments`."""

    bytes: int
    kind: Literal["value", "saved", "work"]
    of: str = ""
    moments: Span = (0, 0)

    def spans(self, timeline: Timeline) -> tuple[Span, ...]:
        if self.kind == "value":
            return timeline.values[self.of]
        if self.kind == "saved":
            return timeline.saved(timeline.index[self.of])
        return timeline.work(*self.moments)


@dataclass(kw_only=True)
class Search:
    """Looks for the plan with the least to do again that stays within a limit.

    Attributes:
        demands: what takes memory.
        columns: bytes of the copied windows that each operation keeps.
        exact: the peak of a training step by a plan, in bytes; None stands for the one that keeps all. Bytes
            at the worst moment by `demands` lead the search, `exact` decides.
    """

    program: Program
    wanted: Collection[str]
    demands: tuple[Demand, ...]
    columns: Mapping[str, int]
    exact: Callable[[Recomputation | None], int]
    _seen: dict[Recomputation, tuple[int, int]] = field(default_factory=dict, init=False)

    def run(self, limit: int) -> Recomputation | None:
        """What not to keep; None when everything may be.

        Raises:
            TooLittleError: nothing that this search finds takes so little.
        """
        if self.exact(None) <= limit:
            return None
        proposals = self._proposals()
        best = min(proposals, key=self._rank)
        target = limit - (self.exact(best) - self.peak(best))
        tried = set()
        for _ in range(8):
            fitting = sorted((c for c in proposals if self.peak(c) <= target), key=self._cost)[:PROPOSALS]
            if not fitting:
                break
            found = min((self._put_back(choice, target) for choice in fitting), key=self._cost)
            if found in tried:
                break
            tried.add(found)
            over = self.exact(found) - limit
            if over <= 0:
                return found
            target -= over
        smallest = min(sorted(proposals, key=self._rank)[:PROPOSALS], key=self.exact)
        if self.exact(smallest) > limit:
            raise TooLittleError(min(self.exact(smallest), self.exact(None)))
        return smallest

    def peak(self, choice: Recomputation) -> int:
        """Bytes at the worst moment."""
        return self._height(choice)[0]

    def _height(self, choice: Recomputation) -> tuple[int, int]:
        """Bytes at the worst moment; of equals that plan is better whose other moments lie lower."""
        if choice not in self._seen:
            timeline = Timeline(self.program, self.wanted, choice)
            steps = [0] * (timeline.end + 2)
            for demand in self.demands:
                for first, last in demand.spans(timeline):
                    steps[first] += demand.bytes
                    steps[last + 1] -= demand.bytes
            alive = list(accumulate(steps))
            self._seen[choice] = max(alive), sum(bytes * bytes for bytes in alive)
        return self._seen[choice]

    def _cost(self, choice: Recomputation) -> tuple[int, int, list[str]]:
        """Multiply-accumulates, then bytes that are written again; names, so that no two are equal."""
        timeline = Timeline(self.program, self.wanted, choice)
        names = [self._names[index] for index in timeline.again]
        written = sum(self._sizes.get(name, 0) for name in names)
        written += sum(self.columns[name] for name in choice.columns)
        return timeline.macs, written, sorted(choice.values)

    def _rank(self, choice: Recomputation) -> tuple[int, tuple[int, int, list[str]]]:
        return self.peak(choice), self._cost(choice)

    @cached_property
    def _names(self) -> Mapping[int, str]:
        return {INPUT: self.program.input_name, **{i: op.name for i, op in enumerate(self.program.ops)}}

    @cached_property
    def _sizes(self) -> Mapping[str, int]:
        """Bytes that each value, and what its operation saves, take."""
        found: dict[str, int] = {}
        for demand in self.demands:
            if demand.kind != "work":
                found[demand.of] = found.get(demand.of, 0) + demand.bytes
        return found

    @property
    def _evaluations(self) -> int:
        return max(20, EVALUATIONS * 10 // max(10, len(self.program.ops)))

    def _proposals(self) -> list[Recomputation]:
        """Plans of segments of many lengths, the best of them improved value by value."""
        names = [
            name for name in self._names.values() if self._sizes.get(name) and name != self.program.output
        ]
        everything = Recomputation(columns=frozenset(self.columns))
        found = [Recomputation(), everything]
        total = sum(self._sizes[name] for name in names)
        found += [
            replace(everything, values=self._segments(names, total // count))
            for count in _segment_counts(len(names))
        ]
        found = list(dict.fromkeys(found))
        for choice in sorted(found, key=self._rank)[:PROPOSALS]:
            found.append(self._improved(choice, names))
        return list(dict.fromkeys(found))

    def _segments(self, names: Iterable[str], budget: int) -> frozenset[str]:
        """All values but one each time that those since the last one would be more than `budget` bytes."""
        dropped, since = set(), 0
        for name in names:
            if since + self._sizes[name] > budget:
                since = 0
            else:
                since += self._sizes[name]
                dropped.add(name)
        return frozenset(dropped)

    def _improved(self, choice: Recomputation, names: list[str]) -> Recomputation:
        """With one value more or less at a time, as long as the peak falls."""
        left = self._evaluations // (2 * PROPOSALS)
        before = None
        while choice != before:
            before = choice
            for name in sorted(names, key=lambda name: (-self._sizes[name], name)):
                if not left:
                    return choice
                left -= 1
                other = replace(choice, values=choice.values ^ {name})
                if self._height(other) < self._height(choice):
                    choice = other
        return choice

    def _put_back(self, choice: Recomputation, target: int) -> Recomputation:
        """Keeps again what `target` bytes have room for: what costs most for its bytes first."""
        shapes = self.program.shapes
        macs = {op.name: op.macs(shapes) for op in self.program.ops}
        values = sorted(
            choice.values, key=lambda name: (-macs.get(name, 0) / self._sizes[name], -self._sizes[name], name)
        )
        for name in values[: self._evaluations // PROPOSALS]:
            other = replace(choice, values=choice.values - {name})
            if self.peak(other) <= target:
                choice = other
        for name in sorted(choice.columns, key=lambda name: (-self.columns[name], name)):
            other = replace(choice, columns=choice.columns - {name})
            if self.peak(other) <= target:
                choice = other
        return choice


def _segment_counts(count: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 11, 16 … up to `count`."""
    found, size = [], 1.0
    while size <= count:
        found.append(round(size))
        size *= 2**0.5
    return sorted(set(found))
