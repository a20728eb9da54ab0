"""Where the time of a training step goes: each planned kernel, forward and backward.

In: a spec and the shape of a batch. Out: the seconds of every kernel call, of the way of the input into its
buffer, of the loss and of the update. Weights stay as they were drawn; the update is timed on a copy.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.compiler.work import backward_macs
from n2nspec.layers._base import Mode
from n2nspec.runtime.flat import FlatTensors
from n2nspec.runtime.model import Model
from n2nspec.runtime.optimized.engine import OptimizedEngine, begin_backward
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
class _Timed(Kernel):
    """A kernel that remembers how long its calls took."""

    inner: Kernel
    clock: Clock
    forwards: list[float] = field(default_factory=list)
    backwards: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.op = self.inner.op

    def forward(self, tensors: Tensors, mode: Mode, *, keep: bool) -> None:
        start = self.clock()
        self.inner.forward(tensors, mode, keep=keep)
        self.forwards.append(self.clock() - start)

    def backward(self, tensors: Tensors, gradients: Tensors) -> None:
        start = self.clock()
        self.inner.backward(tensors, gradients)
        self.backwards.append(self.clock() - start)


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
    engine.recompute = model.memory_limit
    if model.measures:
        engine.measure_lowerings()
    instance = engine.instance(shape, backward=True, input_gradient=False, passes=passes)
    kernels = [_Timed(kernel, clock) for kernel in instance.kernels]
    instance.kernels = list[Kernel](kernels)
    again = {index: _Timed(kernel, clock) for index, kernel in instance.again.items()}
    instance.again = dict[int, Kernel](again)
    program, wanted = instance.program, instance.wanted
    owned = {node.name: {p.name: p.shape for p in node.parameters} for node in graph.nodes}
    gradients = FlatTensors(owned, list(owned), kind=kind, place=place)
    weights = torch.zeros_like(gradients.flat)
    state = recipe.optimizer.init_state(weights)
    tensors = model.tensors()
    generator = torch.Generator(place).manual_seed(recipe.seed)
    x = torch.rand(shape, generator=generator, dtype=kind, device=place)
    target = torch.rand(program.shapes[program.output], generator=generator, dtype=kind, device=place)

    entering: list[float] = []
    losing: list[float] = []
    updating: list[float] = []
    begin = clock()
    step = 0
    while step < WARM_UP + LEAST or clock() - begin < seconds:
        start = clock()
        y = instance.forward(tensors, x, Mode(True, generator))
        entering.append(clock() - start - sum(kernel.forwards[-1] for kernel in kernels))
        start = clock()
        float(begin_backward(instance, y, target, recipe.loss.at(0.0)))
        losing.append(clock() - start)
        instance.backward(tensors, gradients.by_node)
        step += 1
        start = clock()
        recipe.optimizer.update(weights, gradients.flat, state, step)
        gradients.flat.zero_()
        updating.append(clock() - start)

    rows = [RowTime(name=program.input_name, kind="input", forward=_pass(entering, 0))]
    rows += [
        RowTime(
            name=kernel.op.name,
            kind=kernel.op.kind,
            covers=kernel.op.covers,
            forward=_pass(kernel.forwards, kernel.op.macs(program.shapes)),
            backward=_pass(kernel.backwards, backward_macs(kernel.op, program, wanted))
            if kernel.backwards
            else None,
        )
        for kernel in kernels
    ]
    rows += [
        RowTime(
            name=f"{kernel.op.name} again",
            kind=kernel.op.kind,
            covers=kernel.op.covers,
            backward=_pass(kernel.forwards, kernel.op.macs(program.shapes)),
        )
        for kernel in again.values()
    ]
    rows.append(RowTime(name="loss", kind=recipe.loss.type, forward=_pass(losing, 0)))
    rows.append(RowTime(name="optimizer", kind=recipe.optimizer.type, forward=_pass(updating, 0)))
    return StepTimes(rows=tuple(rows), steps=step - WARM_UP)


def _pass(seconds: list[float], macs: int) -> PassTime:
    q1, median, q3 = statistics.quantiles(seconds[WARM_UP:], n=4, method="inclusive")
    return PassTime(median=median, q1=q1, q3=q3, macs=macs)
