"""How fast every engine is, ours and torch's, on the same batch in one process, taking turns.

In: a spec, a picture size, a batch size. Out: a report with a row an engine: median and quartiles of a step,
the first step (where compilers work), the memory, what it computed. An engine that cannot run has a row with
the reason. Nothing is printed.

A turn is a step or more that are not counted, to bring weights and buffers back into the caches that the
others have used, and then a few that are. Turns go round, each round beginning with another engine, so that a
machine whose speed drifts, or is shared, is the same to all.
"""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import TypeVar

import torch
from torch import Tensor

from n2nspec._version import __version__
from n2nspec.compiler.passes import optimise
from n2nspec.compiler.program import program
from n2nspec.compiler.work import step_macs, step_numbers
from n2nspec.diagnostics import DiagnosticError, fail
from n2nspec.graph import ShapedGraph
from n2nspec.oracle.contestants import CONTESTANTS, TORCH, Contest, OurStep, Step, contestant, description
from n2nspec.oracle.limits import copy_speed, peak_bytes, product_speed
from n2nspec.oracle.twin import quiet
from n2nspec.runtime import compile, memory_fault
from n2nspec.runtime.machine import cpu_name
from n2nspec.runtime.optimized import OptimizedEngine
from n2nspec.runtime.timing import stopwatch

T = TypeVar("T")

__all__ = ["BASELINE", "BenchReport", "BenchRow", "Limit", "bench"]

BASELINE = "torch"
"""What all are compared with: torch.nn and autograd, step by step."""
ROUNDS_UNTIMED = 2
LEAST = 3
"""Rounds that are timed however long they take."""
STEPS_IN_TURN = 3
LONG = 0.1
"""Seconds of a step from which on caches that others have used make no difference."""
SETTLED = 0.02
"""Seconds until threads that others' operators ran on have stopped looking for more, which takes a core."""
BLOCK, NOISE = 8, 0.1
"""Pixels of a block of one colour, and the standard deviation of the noise on it."""
NOT_REACHED = "interrupted before it was measured"


@dataclass(slots=True, kw_only=True)
class BenchRow:
    """One engine.

    Attributes:
        value: the loss before the first step; in inference, the mean of the output.
        first: seconds of the first step: compiling, planning, allocating.
        seconds: of every timed step.
        peak_bytes: the most memory at once during a step, weights left out; None where it was not measured.
        reason: why it did not run; empty when it did.
    """

    name: str
    about: str
    value: float | None = None
    first: float | None = None
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    reason: str = ""

    @property
    def ours(self) -> bool:
        return self.name not in TORCH

    @property
    def quartiles(self) -> tuple[float, float, float] | None:
        """First quartile, median, third, in seconds."""
        if not self.seconds:
            return None
        if len(self.seconds) == 1:
            return (self.seconds[0],) * 3
        q1, q2, q3 = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return q1, q2, q3

    @property
    def median(self) -> float | None:
        found = self.quartiles
        return found[1] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What this machine could reach at best with the optimised program.

    Attributes:
        macs: of the program's products: forward, and in training backward.
        flops_per_second: of a large matrix product, measured in the same run.
        bytes: inputs and results of every operation, moved once.
        bytes_per_second: of a large copy, measured in the same run.
    """

    macs: int
    flops_per_second: float
    bytes: int
    bytes_per_second: float

    @property
    def arithmetic(self) -> float:
        """Seconds."""
        return 2 * self.macs / self.flops_per_second

    @property
    def traffic(self) -> float:
        """Seconds, if nothing stayed in a cache."""
        return self.bytes / self.bytes_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """All that was measured, in the order of the engines."""

    spec: str
    inference: bool
    input_shape: tuple[int, ...]
    dtype: str
    precision: str
    device: str
    threads: int
    rounds: int
    interrupted: bool
    rows: tuple[BenchRow, ...]
    limit: Limit | None
    environment: dict[str, str | int]

    @property
    def baseline(self) -> float | None:
        """torch's median in seconds."""
        return next((row.median for row in self.rows if row.name == BASELINE), None)

    @property
    def ranking(self) -> tuple[BenchRow, ...]:
        """The rows that ran, the fastest first."""
        return tuple(sorted((row for row in self.rows if row.median), key=lambda row: row.median or 0.0))


def bench(
    graph: ShapedGraph,
    shape: tuple[int, ...],
    *,
    engines: Sequence[str] = CONTESTANTS,
    seconds: float = 10.0,
    threads: int | None = None,
    inference: bool = False,
    device: str = "cpu",
    memory_limit: int | None = None,
    processes: int | None = None,
    deterministic: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> BenchReport:
    """Measures whole training steps (forward, loss, backward, optimiser), or forward passes.

    Args:
        graph: from `n2nspec.graph.analyse`.
        shape: of the input, with the batch axis; the graph's size contract lets it through.
        engines: names of `CONTESTANTS`; torch itself takes part in any case.
        seconds: how long the timed rounds go on; there are at least three.
        threads: for torch's operators; as they are when None.
        inference: forward passes in evaluation mode instead of training steps.
        memory_limit: bytes that a training step of the optimized engine may take.
        processes, deterministic: as in `n2nspec.compile`.
        say: told what is being done.

    A KeyboardInterrupt ends it early; the report has what was measured by then.

    Raises:
        DiagnosticError: E501, an unknown engine; E502, the device; E208, sizes that leave a layer too little.
    """
    unknown = [name for name in engines if name not in CONTESTANTS]
    if unknown:
        raise fail("E501", f'there is no engine "{unknown[0]}"', help="they are " + ", ".join(CONTESTANTS))
    _check_conditions(graph, shape, training=not inference)
    model = compile(graph.spec, engine="reference", device=device)
    place, kind, seed = model.device, model.dtype, graph.spec.train.seed
    steps = optimise(program(graph, shape))
    generator = torch.Generator().manual_seed(seed)
    x, target = (
        pictures.to(place) for pictures in noisy_pairs(shape, steps.shapes[steps.output], generator, kind)
    )
    contest = Contest(
        graph=graph, state=model.state_dict(), seed=seed, x=x, target=None if inference else target,
        memory_limit=memory_limit, processes=processes, deterministic=deterministic,
    )  # fmt: skip
    wanted = set(engines) | {BASELINE}
    rows = tuple(
        BenchRow(name=name, about=description(name, contest)) for name in CONTESTANTS if name in wanted
    )
    before = torch.get_num_threads()
    run = _Run(contest, rows, say)
    try:
        if threads:
            torch.set_num_threads(threads)
        threads = torch.get_num_threads()
        interrupted = False
        try:
            run.limit()
            run.prepare()
            run.time(seconds)
            run.memory()
            run.limit()
        except KeyboardInterrupt:
            interrupted = True
    finally:
        torch.set_num_threads(before)
    for row in rows:
        if not row.seconds and not row.reason:
            row.reason = NOT_REACHED
    return BenchReport(
        spec=graph.spec.name,
        inference=inference,
        input_shape=shape,
        dtype=str(kind).removeprefix("torch."),
        precision="full" if contest.low is None else graph.spec.train.precision,
        device=str(place),
        threads=threads,
        rounds=run.rounds,
        interrupted=interrupted,
        rows=rows,
        limit=run.found,
        environment=environment(place),
    )


def noisy_pairs(
    shape: tuple[int, ...], target: tuple[int, ...], generator: torch.Generator, kind: torch.dtype
) -> tuple[Tensor, Tensor]:
    """A batch as in a training: blocks of colour, twice with noise of its own, within 0 and 1.

    From noise alone a network learns nothing but its mean, and most of its units die. Targets of another
    shape are noise.
    """
    clean = torch.rand((*shape[:-2], *(-(-size // BLOCK) for size in shape[-2:])), generator=generator)
    for axis in (-2, -1):
        clean = clean.repeat_interleave(BLOCK, axis).narrow(axis, 0, shape[axis])
    noise = [torch.randn(shape, generator=generator) for _ in range(2)]
    x, twin = ((clean + NOISE * grains).clamp(0, 1).to(kind) for grains in noise)
    return x, twin if target == shape else torch.rand(target, generator=generator, dtype=kind)


def _check_conditions(graph: ShapedGraph, shape: tuple[int, ...], *, training: bool) -> None:
    """Raises E208 where no engine could run."""
    dims = zip(graph.input_shape, shape, strict=True)
    values = {dim.symbol: size for dim, size in dims if not isinstance(dim, int)}
    for condition in graph.conditions:
        if (training or not condition.training) and condition.broken(values):
            received = " × ".join(map(str, shape))
            raise fail("E208", f"{condition}; received {received}", help="use larger pictures or batches")


class _Run:
    """The measurement, in its parts."""

    def __init__(self, contest: Contest, rows: tuple[BenchRow, ...], say: Callable[[str], None]) -> None:
        self.contest, self.rows, self.say = contest, rows, say
        self.place = contest.x.device
        self.clock = stopwatch(self.place)
        self.steps: dict[str, Step] = {}
        self.rounds = 0
        self.found: Limit | None = None

    def limit(self) -> None:
        """The speed of products and copies; called twice, it keeps the faster of both times."""
        x, graph = self.contest.x, self.contest.graph
        engine = OptimizedEngine(graph, kind=x.dtype, place=torch.device("meta"))
        training = self.contest.target is not None
        instance = engine.instance(tuple(x.shape), backward=training, input_gradient=False)
        earlier, kind = self.found, self.contest.low or x.dtype
        self.found = Limit(
            macs=step_macs(instance.program, instance.wanted),
            flops_per_second=max(
                product_speed(self.place, kind),
                earlier.flops_per_second if earlier else 0,
            ),
            bytes=step_numbers(instance.program, instance.wanted) * kind.itemsize,
            bytes_per_second=max(copy_speed(self.place), earlier.bytes_per_second if earlier else 0),
        )

    def prepare(self) -> None:
        """Makes every engine and takes its first step."""
        if any(row.name.endswith("compiled") for row in self.rows):
            torch.compiler.reset()  # what others compiled before counts against torch's limits
        for row in self.rows:
            self.say(f"{row.name}: first step")
            step = self._tried(row, partial(contestant, row.name, self.contest))
            if step is None:
                continue
            start = self.clock()
            result = self._tried(row, step)
            row.first = self.clock() - start if result is not None else None
            if isinstance(step, OurStep):
                step.model.gather(tuple(step.x.shape))
                row.about += f", {step.processes} processes" if step.processes > 1 else ""
            if result is not None:
                row.value = float(result.mean() if isinstance(result, Tensor) else result)
                self.steps[row.name] = step

    def time(self, seconds: float) -> None:
        """Rounds of turns."""
        running = [row for row in self.rows if row.name in self.steps]
        for _ in range(ROUNDS_UNTIMED):
            for row in running:
                self._tried(row, self.steps[row.name])
        self.say(f"{len(running)} engines take turns for {seconds:g} s")
        begin = perf_counter()
        while running and (self.rounds < LEAST or perf_counter() - begin < seconds):
            first = self.rounds % len(running)
            for row in [*running[first:], *running[:first]]:
                self._turn(row)
            self.rounds += 1

    def _turn(self, row: BenchRow) -> None:
        step = self.steps[row.name]
        if not row.seconds or row.seconds[-1] < LONG:
            until = perf_counter() + SETTLED
            step()
            while perf_counter() < until:
                step()
        for _ in range(STEPS_IN_TURN):
            start = self.clock()
            step()
            row.seconds.append(self.clock() - start)
            if row.seconds[-1] >= LONG:
                break

    def memory(self) -> None:
        """Each engine anew, alone."""
        names = list(self.steps)
        self.steps.clear()
        weights = sum(tensor.nbytes for tensor in self.contest.state.values())
        for row in self.rows:
            if row.name in names:
                self.say(f"{row.name}: memory")
                found = self._tried(row, partial(self._peak, row.name))
                row.peak_bytes = None if found is None else found - weights

    def _peak(self, name: str) -> int:
        made: list[Step] = []

        def make() -> Step:
            made.append(contestant(name, self.contest))
            if isinstance(made[0], OurStep):
                made[0].model.gather(tuple(self.contest.x.shape))
            return made[0]

        most = peak_bytes(make, self.place)
        return most + (made[0].model.measure_helpers() if isinstance(made[0], OurStep) else 0)

    def _tried(self, row: BenchRow, run: Callable[[], T]) -> T | None:
        """What `run` gives; None, with the reason in the row, when this engine cannot."""
        try:
            with quiet():
                return run()
        except DiagnosticError as error:
            row.reason = error.diagnostics[0].message
        except Exception as error:
            fault = memory_fault(error)
            if fault is None and row.ours:
                raise  # a mistake of ours
            # what torch.compile says where it finds no C++ compiler, or torch of a network that it refuses
            row.reason = fault.message if fault else _first_line(error)
        return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def environment(place: torch.device) -> dict[str, str | int]:
    """Versions and machine."""
    found: dict[str, str | int] = {
        "n2nspec": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count() or 0,
    }
    if place.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(place)
    return found
