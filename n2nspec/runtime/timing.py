"""Where the time of a training step goes: each planned kernel, forward and backward.

In: a spec and the shape of a batch. Out: the seconds of every kernel call, of the way of the input into its
buffer, of the loss and of the update. Weights stay as they were drawn; the update is timed on a copy.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.compiler.work import backward_macs
from n2nspec.layers._base import Mode
from n2nspec.runtime.flat import FlatTensors
from n2nspec.runtime.model import Model
from n2nspec.runtime.optimized import Course, Instance, OptimizedEngine, begin_backward, grouped
from n2nspec.runtime.optimized.kernels import Kernel, Tensors

if TYPE_CHECKING:
    from torch import device

__all__ = ["PassTime", "RowTime", "StepTimes", "stopwatch", "time_step"]

WARM_UP = 2
LEAST = 5
"""Steps that are timed however long they take."""
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassTime:
    """One kernel call: median and quartiles in seconds, and its multiply-accumulates."""

    median: float
    q1: float
    q3: float
    macs: int

    @property
    def gflops(self) -> float | None:
        """10⁹ multiplications and additions a second; None for a kernel without products."""
        return 2e-9 * self.macs / self.median if self.macs and self.median else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTime:
    """One operation of the plan, or "input", "loss" or "optimizer". `covers` are nodes of the graph.

    One that is computed again has a row for that, as part of the backward pass.
    """

    name: str
    kind: str
    covers: tuple[str, ...] = ()
    forward: PassTime | None = None
    backward: PassTime | None = None

    @property
    def seconds(self) -> float:
        return sum(found.median for found in (self.forward, self.backward) if found)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """All of a step. The whole is the sum of the rows' medians."""

    rows: tuple[RowTime, ...]
    steps: int
    groups: tuple[int, ...]
    """Pictures that pass through at a time."""

    @property
    def seconds(self) -> float:
        return sum(row.seconds for row in self.rows)


def stopwatch(place: device) -> Clock:
    """Seconds that only go forward; what a GPU was given is done before they are read."""
    if place.type != "cuda":
        return perf_counter

    def now() -> float:
        torch.cuda.synchronize(place)
        return perf_counter()

    return now


@dataclass(slots=True)
class _Watch:
    """Seconds of one thing, step by step; what is done group by group adds up in a step."""

    clock: Clock
    steps: list[float] = field(default_factory=list)
    now: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        start = self.clock()
        yield
        self.now += self.clock() - start

    def end_step(self) -> None:
        self.steps.append(self.now)
        self.now = 0.0


@dataclass(slots=True)
class _Timed(Kernel):
    """A kernel whose calls are timed."""

    inner: Kernel
    forwards: _Watch
    backwards: _Watch

    def __post_init__(self) -> None:
        self.op = self.inner.op

    def forward(self, tensors: Tensors, mode: Mode, *, keep: bool) -> None:
        with self.forwards.running():
            self.inner.forward(tensors, mode, keep=keep)

    def backward(self, tensors: Tensors, gradients: Tensors) -> None:
        with self.backwards.running():
            self.inner.backward(tensors, gradients)


class _Watches:
    """One for each kernel, forward, backward and again, and for what lies around them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.forward: dict[int, _Watch] = {}
        self.backward: dict[int, _Watch] = {}
        self.again: dict[int, _Watch] = {}
        self.passes, self.losing, self.updating = _Watch(clock), _Watch(clock), _Watch(clock)
        self.entering: list[float] = []

    def over(self, instance: Instance) -> None:
        """Has the kernels of an instance timed; those of several instances of a program together."""

        def timed(index: int, kernel: Kernel, forward: dict[int, _Watch]) -> Kernel:
            found = (each.setdefault(index, _Watch(self.clock)) for each in (forward, self.backward))
            return _Timed(kernel, *found)

        instance.again = {index: timed(index, kernel, self.again) for index, kernel in instance.again.items()}
        instance.kernels = [timed(i, kernel, self.forward) for i, kernel in enumerate(instance.kernels)]

    def end_step(self) -> None:
        self.entering.append(self.passes.now - sum(watch.now for watch in self.forward.values()))
        watches = *self.forward.values(), *self.backward.values(), *self.again.values()
        for watch in (*watches, self.passes, self.losing, self.updating):
            watch.end_step()


def time_step(model: Model, shape: tuple[int, ...], *, seconds: float, passes: bool = True) -> StepTimes:
    """Times training steps on random pictures.

    Args:
        model: for its graph, weights, device, dtype and memory limit; any engine.
        shape: of a batch of input pictures.
        seconds: how long to go on; at least five steps are timed.
        passes: False runs the layers as they are written, without the compiler's passes.
    """
    graph, place, kind = model.graph, model.device, model.dtype
    recipe, clock = graph.spec.train, stopwatch(place)
    engine = OptimizedEngine(graph, kind=kind, place=place)
    engine.limit = model.memory_limit
    if model.measures:
        engine.measure_lowerings()
    course = engine.course(shape) if passes else Course((shape[0],))
    instances: dict[int, Instance] = {}
    watches = _Watches(clock)
    for group in course.shapes(shape):
        instances[group[0]] = instance = engine.instance(
            group, backward=True, input_gradient=False, passes=passes, recompute=course.recompute
        )
        watches.over(instance)
    owned = {node.name: {p.name: p.shape for p in node.parameters} for node in graph.nodes}
    gradients = FlatTensors(owned, list(owned), kind=kind, place=place)
    weights = torch.zeros_like(gradients.flat)
    state = recipe.optimizer.init_state(weights)
    tensors = model.tensors()
    generator = torch.Generator(place).manual_seed(recipe.seed)
    x = torch.rand(shape, generator=generator, dtype=kind, device=place)
    target = torch.rand(model.output_shape(shape), generator=generator, dtype=kind, device=place)
    loss = recipe.loss.at(0.0)

    begin = clock()
    step = 0
    while step < WARM_UP + LEAST or clock() - begin < seconds:
        for part, wanted, share in grouped(x, target, course.groups, loss):
            instance = instances[len(part)]
            with watches.passes.running():
                y = instance.forward(tensors, part, Mode(True, generator))
            with watches.losing.running():
                float(begin_backward(instance, y, wanted, loss, share))
            instance.backward(tensors, gradients.by_node)
        step += 1
        with watches.updating.running():
            recipe.optimizer.update(weights, gradients.flat, state, step)
            gradients.flat.zero_()
        watches.end_step()

    rows = _rows([instances[size] for size in course.groups], watches)
    rows.append(RowTime(name="loss", kind=recipe.loss.type, forward=_pass(watches.losing.steps, 0)))
    rows.append(
        RowTime(name="optimizer", kind=recipe.optimizer.type, forward=_pass(watches.updating.steps, 0))
    )
    return StepTimes(rows=tuple(rows), steps=step - WARM_UP, groups=course.groups)


def _rows(passes: Sequence[Instance], watches: _Watches) -> list[RowTime]:
    """The rows of the kernels, for the instances that the groups of a step passed through."""
    first = passes[0]
    programs = [instance.program for instance in passes]

    def macs(index: int) -> int:
        return sum(program.ops[index].macs(program.shapes) for program in programs)

    rows = [RowTime(name=first.program.input_name, kind="input", forward=_pass(watches.entering, 0))]
    for index, op in enumerate(first.program.ops):
        times = watches.backward[index].steps if op.name in first.wanted else []
        macs_back = sum(backward_macs(program.ops[index], program, first.wanted) for program in programs)
        rows.append(
            RowTime(
                name=op.name,
                kind=op.kind,
                covers=op.covers,
                forward=_pass(watches.forward[index].steps, macs(index)),
                backward=_pass(times, macs_back) if times else None,
            )
        )
    for index, watch in watches.again.items():
        op = first.program.ops[index]
        once_more = _pass(watch.steps, macs(index))
        rows.append(RowTime(name=f"{op.name} again", kind=op.kind, covers=op.covers, backward=once_more))
    return rows


def _pass(seconds: list[float], macs: int) -> PassTime:
    q1, median, q3 = statistics.quantiles(seconds[WARM_UP:], n=4, method="inclusive")
    return PassTime(median=median, q1=q1, q3=q3, macs=macs)
