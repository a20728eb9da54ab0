"""How much memory a compiled function takes: which of its tensors are written to memory, and for how long.

In: a recording of tensor operations. Out: the most bytes at once, besides what the caller gave. What follows
is what torch's compiler (Inductor) does with such operations on a CPU, without doing it:

1. The operands and results of matrix products are in memory, and so are the results of sums, of whatever
   scatters numbers and of what puts tensors together, what `as_strided` is taken of, and what the function
   returns. All else is a formula that each reader computes anew from what is in memory, until it reads from
   too many places or is too long.
2. What loops write to memory joins the loops that made one of its inputs, if each number needs only the one
   in the same place there and no cycle arises. What nobody else reads is then never in memory. Otherwise it
   joins loops that run as often and read something from the same place, unless they are far away: what is
   computed twice, for a forward and a backward pass, is then held from the first time on.
3. Kernels run in an order that keeps little alive: each time, of those that can run, the one that adds least.
   (torch compares this order with three simpler ones, which are rarely better.)
4. Kernels of loops that follow each other become one function. All that it writes is allocated when it
   begins, what nobody reads later goes when it ends. A result takes the memory of a value that goes there if
   it is as large and each of its numbers depends on the one in the same place.

Checked against the allocator on the networks in specs/ and others (tools/bench_memory.py): within 3 % where
convolutions, activations, poolings side by side, sums and normalisations make up the network; within 5 %
where a layer runs by its own functions and computes windows twice (grouped convolutions) or writes into parts
of a tensor (poolings that overlap).

Source: torch/_inductor/graph.py (`run_node`), ir.py (`StorageBox`), scheduler.py, memory.py in torch 2.13.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import prod

from n2nspec.oracle.recording import Layout, Operation, Recording

__all__ = ["peak"]

PRODUCTS = frozenset((
    "mm", "addmm", "bmm", "baddbmm", "mv", "dot", "n2nspec::windows_product", "n2nspec::windows_gradient",
    "n2nspec::windows_product_and_gradient",
))  # fmt: skip
WRITTEN = frozenset((
    "sum", "mean", "var", "var_mean", "std", "amax", "amin", "max", "min", "argmax", "argmin", "prod", "any",
    "all", "norm", "linalg_vector_norm", "cumsum", "sort", "col2im", "index_put", "index_put_", "index_add",
    "scatter", "scatter_add", "scatter_add_", "scatter_", "cat", "stack",
))  # fmt: skip
"""Their results are in memory. Those of `max` and `min` without an axis only, but that is little."""
FILLED = frozenset(("new_zeros", "new_full", "new_ones", "zeros_like", "full_like", "ones_like"))
"""They are given a tensor, and read nothing of it."""
HEAVY = frozenset(("exp", "sigmoid"))
READS, SHARED_READS = 8, 4
"""So many places a formula may read; with several readers, or a costly function in it, fewer."""
LENGTH = 30
"""So many operations it may have."""
FAR = 64
"""Loops that read the same are not joined when so many writes lie between them."""

Place = tuple[int, object]
"""A value in memory, and how it is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Formula:
    """What the numbers of a value that is not in memory are computed from.

    `same`: values of which each number needs only the one in the same place.
    """

    reads: frozenset[Place]
    same: frozenset[int]
    heavy: bool
    length: int


@dataclass(slots=True, eq=False)
class _Write:
    """What writes values to memory."""

    makes: tuple[int, ...]
    reads: frozenset[int]
    same: frozenset[int]
    loops: bool
    places: frozenset[Place] = frozenset()
    numbers: int = 0
    """How many, which is how often the loops run."""


@dataclass(slots=True, eq=False)
class _Kernel:
    """Writes that run as one."""

    index: int
    loops: bool
    position: int
    """Of its first write."""
    writes: list[_Write] = field(default_factory=list)
    needs: set[_Kernel] = field(default_factory=set)
    reads: frozenset[int] = frozenset()
    makes: dict[int, frozenset[int]] = field(default_factory=dict)
    """What it allocates, and for each value those that it may take the memory of."""


def peak(recording: Recording) -> int:
    """Bytes at the worst moment: all that is allocated from the first operation on."""
    kernels = _fused(_writes(recording))
    _allocate(kernels, recording.results)
    memory = _Memory(kernels, recording)
    for run in _runs(_order(kernels, recording)):
        memory.run(run, taking=True)
    return memory.peak


def _writes(recording: Recording) -> list[_Write]:
    formulae: dict[int, _Formula] = {}
    numbers: dict[int, int] = {}
    found: list[_Write] = []
    readers = Counter(value for op in recording.operations for value in {use.value for use in op.uses})
    readers.update(op.uses[0].value for op in recording.operations if op.inside)  # around the part, and in it

    def write(value: int) -> None:
        formula = formulae.pop(value, None)
        if formula:
            reads = frozenset(read for read, _ in formula.reads)
            found.append(
                _Write(
                    (value,), reads, formula.same, loops=True, places=formula.reads, numbers=numbers[value]
                )
            )

    for op in recording.operations:
        values = tuple(value for value, _ in op.makes)
        if op.name in PRODUCTS:
            for use in op.uses:
                write(use.value)
            found.append(_Write(values, frozenset(use.value for use in op.uses), frozenset(), loops=False))
        elif op.name == "as_strided":
            write(op.uses[0].value)
        else:
            for value, layout in op.makes:
                numbers[value] = prod(layout[0])
                formulae[value] = formula = _formula(op, layout, formulae)
                several = readers[value] > 1
                if (
                    op.name in WRITTEN
                    or len(formula.reads) > READS
                    or formula.length > LENGTH
                    or (several and (len(formula.reads) > SHARED_READS or formula.heavy))
                ):
                    write(value)
    for value in recording.results:
        write(value)
    return found


def _formula(op: Operation, layout: Layout, formulae: dict[int, _Formula]) -> _Formula:
    reads: set[Place] = set()
    same: set[int] = set()
    heavy, length = op.name in HEAVY, 1
    for index, use in enumerate(() if op.name in FILLED else op.uses):
        inner = formulae.get(use.value)
        if op.inside:  # each number of the whole asks whether it is in the part, and where
            places = inner.reads if inner else frozenset({(use.value, use.layout)})
            reads |= {(value, (how, layout)) for value, how in places} | (places if index == 0 else set())
            heavy, length = heavy or bool(inner and inner.heavy), length + (inner.length if inner else 0)
            continue
        aligned = use.whole and use.layout == layout and op.name not in WRITTEN
        if inner is None:
            reads.add((use.value, use.layout))
            same |= {use.value} if aligned else set()
        else:
            reads |= inner.reads if use.whole else {(value, (how, use.layout)) for value, how in inner.reads}
            same |= inner.same if aligned else set()
            heavy, length = heavy or inner.heavy, length + inner.length
    return _Formula(reads=frozenset(reads), same=frozenset(same), heavy=heavy, length=length)


def _fused(writes: Iterable[_Write]) -> list[_Kernel]:
    kernels: list[_Kernel] = []
    maker: dict[int, _Kernel] = {}
    readers: dict[tuple[int, Place], list[_Kernel]] = defaultdict(list)
    for position, write in enumerate(writes):
        needs = {maker[value] for value in write.reads if value in maker}
        near = {maker[value] for value in write.same if value in maker}
        loops = sorted((kernel for kernel in near if kernel.loops), key=lambda kernel: -kernel.index)
        beside = dict.fromkeys(
            kernel
            for place in write.places
            for kernel in readers[write.numbers, place]
            if kernel not in needs and position - kernel.position <= FAR
        )
        likely = chain(loops, sorted(beside, key=lambda kernel: kernel.index))
        joined = next((kernel for kernel in likely if not _reaches(needs - {kernel}, kernel)), None)
        if joined is None:
            joined = _Kernel(len(kernels), write.loops, position)
            kernels.append(joined)
        joined.writes.append(write)
        joined.needs |= needs - {joined}
        maker |= dict.fromkeys(write.makes, joined)
        for place in write.places:
            readers[write.numbers, place].append(joined)
    return kernels


def _reaches(kernels: Iterable[_Kernel], wanted: _Kernel) -> bool:
    """Whether one of them needs `wanted`, or a kernel that does."""
    seen, left = set(), list(kernels)
    while left:
        kernel = left.pop()
        if kernel is wanted:
            return True
        if kernel not in seen:
            seen.add(kernel)
            left.extend(kernel.needs)
    return False


def _allocate(kernels: Sequence[_Kernel], results: frozenset[int]) -> None:
    """Fills in what each kernel reads and makes, without what it keeps to itself."""
    readers: dict[int, list[tuple[_Kernel, bool]]] = defaultdict(list)
    for kernel in kernels:
        for write in kernel.writes:
            for value in write.reads:
                readers[value].append((kernel, value in write.same))
    for kernel in kernels:
        inner: dict[int, frozenset[int]] = {}
        for write in kernel.writes:
            same = write.same.union(*(inner[value] for value in write.same if value in inner))
            for value in write.makes:
                own = all(reader is kernel and aligned for reader, aligned in readers[value])
                if own and readers[value] and value not in results:
                    inner[value] = same
                else:
                    kernel.makes[value] = same
        read = {value for write in kernel.writes for value in write.reads}
        kernel.reads = frozenset(read - inner.keys() - kernel.makes.keys())


class _Memory:
    """What is held while kernels run, some at a time."""

    def __init__(self, kernels: Iterable[_Kernel], recording: Recording) -> None:
        self.held = self.peak = 0
        self._nbytes = recording.nbytes
        self._readers = Counter(value for kernel in kernels for value in kernel.reads)
        self._stay = recording.given | recording.results

    def change(self, kernel: _Kernel) -> tuple[int, int]:
        """Bytes that a kernel would allocate and let go of."""
        new = sum(self._nbytes[value] for value in kernel.makes)
        return new, sum(self._nbytes[value] for value in self._ends(kernel))

    def _ends(self, kernel: _Kernel) -> list[int]:
        last = [v for v in kernel.reads if self._readers[v] == 1 and v not in self._stay]
        return last + [v for v in kernel.makes if not self._readers[v] and v not in self._stay]

    def run(self, kernels: Sequence[_Kernel], *, taking: bool) -> None:
        """All is allocated before anything goes; `taking`: unless it takes the memory of what goes."""
        gone: set[int] = set()
        for kernel in kernels:
            gone.update(self._ends(kernel))
            self._readers.subtract(kernel.reads)
            for value, same in kernel.makes.items():
                size = self._nbytes[value]
                taken = next((v for v in same & gone if taking and self._nbytes[v] == size), None)
                if taken is None:
                    self.held += size
                else:
                    gone.remove(taken)
        self.peak = max(self.peak, self.held)
        self.held -= sum(self._nbytes[value] for value in gone)


def _runs(kernels: Iterable[_Kernel]) -> list[list[_Kernel]]:
    """Kernels of loops that follow each other become one function: nothing goes before its end."""
    found: list[list[_Kernel]] = []
    for kernel in kernels:
        if found and kernel.loops and found[-1][-1].loops:
            found[-1].append(kernel)
        else:
            found.append([kernel])
    return found


def _order(kernels: Sequence[_Kernel], recording: Recording) -> list[_Kernel]:
    """Each time the one that adds least to what is held, without raising the peak if there is such a one.

    Source: `topological_sort_lpmf` in torch/_inductor/memory.py.
    """
    memory = _Memory(kernels, recording)
    memory.peak = sum(recording.nbytes[value] for value in recording.results)
    waits = {kernel: len(kernel.needs) for kernel in kernels}
    followers: dict[_Kernel, list[_Kernel]] = defaultdict(list)
    for kernel in kernels:
        for needed in kernel.needs:
            followers[needed].append(kernel)
    ready = {kernel for kernel in kernels if not waits[kernel]}
    found: list[_Kernel] = []

    def rank(kernel: _Kernel) -> tuple[int, int, int]:
        new, gone = memory.change(kernel)
        return new if memory.held + new > memory.peak else 0, new - gone, kernel.index

    while ready:
        kernel = min(ready, key=rank)
        ready.remove(kernel)
        memory.run([kernel], taking=False)
        found.append(kernel)
        for follower in followers[kernel]:
            waits[follower] -= 1
            if not waits[follower]:
                ready.add(follower)
    return found
