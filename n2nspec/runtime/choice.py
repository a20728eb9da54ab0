"""What "auto" takes for a training: the fastest engine, once that is worth finding out.

In: a model, the shape of its batches, how many steps there will be. Out: the name of an engine and why. The
optimized engine starts at once. The compiled one may be faster, but a step of its has to be compiled first,
so both are measured only where the steps take much longer than that; what was measured is kept. Where the
spec allows half precision, the compiled engine is measured in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.compiler.passes import optimise
from n2nspec.compiler.program import program
from n2nspec.compiler.work import step_macs
from n2nspec.runtime.build import compile
from n2nspec.runtime.machine import signature
from n2nspec.runtime.model import Model
from n2nspec.runtime.store import Store
from n2nspec.spec import to_document

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EngineChoice", "choose_engine"]

FILE = "engines.json"
COMPILING = 60.0
"""Seconds that a compilation takes, about."""
HOPE = 0.3
"""The part of a training that a faster engine might save."""
SLOW = 5e9
"""Multiply-accumulates a second that any machine reaches: what they suggest is not too short."""
TURNS = 5
STEPS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """An engine, and why it was taken."""

    engine: str
    reason: str
    precision: str | None = None
    """Of its steps, where the spec allows more than the full one and both were measured."""


def choose_engine(
    model: Model, shape: tuple[int, ...], steps: int, *, processes: int | None = None
) -> EngineChoice:
    """For so many steps of `model`, one of the optimized engine, on batches of this shape.

    Neither its weights nor its random numbers change.
    """
    if model.memory_limit is not None:
        return EngineChoice(engine="optimized", reason="it keeps a memory limit")
    if not model.measures:
        return EngineChoice(engine="optimized", reason="nothing is chosen by measuring")
    store = Store(FILE)
    question = _question(model, shape, processes)
    candidates = _candidates(model)
    known = _times(store.get(question), candidates)
    if known is None:
        written = optimise(program(model.graph, shape))
        wanted = {op.name for op in written.ops}
        if HOPE * steps * step_macs(written, wanted) / SLOW < COMPILING:
            return EngineChoice(engine="optimized", reason="too few steps to compile them first")
        measured = _measured(model, shape, steps, processes, candidates)
        if isinstance(measured, EngineChoice):
            return measured
        store.put(question, measured)
        known = measured
    fastest = min(known, key=lambda name: known[name])
    times = " and ".join(f"{name} {1e3 * seconds:.3g} ms" for name, seconds in known.items())
    engine, _, low = fastest.partition(" ")
    mixes = model.spec.train.precision != "full"
    return EngineChoice(
        engine=engine, reason=f"measured a step: {times}", precision=(low or "full") if mixes else None
    )


def _question(model: Model, shape: tuple[int, ...], processes: int | None) -> dict[str, object]:
    document = to_document(model.spec)
    network = {key: document[key] for key in ("input", "encoder", "decoder", "output") if key in document}
    recipe = model.spec.train
    return {
        **signature(model.device), "network": network, "shape": shape, "dtype": str(model.dtype),
        "optimizer": recipe.optimizer.model_dump(mode="json"), "loss": recipe.loss.model_dump(mode="json"),
        "processes": processes, "precision": recipe.precision,
    }  # fmt: skip


def _candidates(model: Model) -> tuple[str, ...]:
    """Engines, with the precision after the name where it is not the full one."""
    low = model.spec.train.precision
    return ("optimized", "compiled", *([] if low == "full" else [f"compiled {low}"]))


def _times(found: object, candidates: tuple[str, ...]) -> dict[str, float] | None:
    """Seconds by candidate, if that is what was kept."""
    if not isinstance(found, dict) or set(found) != set(candidates):
        return None
    times = {name: value for name, value in found.items() if isinstance(value, float) and value > 0}
    return times if len(times) == len(found) else None


def _measured(
    model: Model, shape: tuple[int, ...], steps: int, processes: int | None, candidates: tuple[str, ...]
) -> dict[str, float] | EngineChoice:
    """Seconds of a step by candidate; the choice where there is none."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(shape, generator=generator, dtype=model.dtype).to(model.device)
    target = torch.rand(model.output_shape(shape), generator=generator, dtype=model.dtype).to(model.device)
    optimized = compile(model.spec, "optimized", device=model.device, dtype=model.dtype, processes=processes)
    optimized.step(x, target)
    optimized.gather(shape)
    alone = _seconds(optimized, x, target)
    if HOPE * steps * alone < COMPILING:
        return EngineChoice(engine="optimized", reason="too few steps to compile them first")
    models = {"optimized": optimized}
    for name in candidates[1:]:
        engine, _, low = name.partition(" ")
        models[name] = made = compile(
            model.spec, engine, device=model.device, dtype=model.dtype, processes=processes,
            precision=low or "full",
        )  # fmt: skip
        made.step(x, target)
        made.gather(shape)
        if made.warnings:
            _, _, reason = made.warnings[0].message.partition(": ")
            return EngineChoice(engine="optimized", reason=f"the compiled one cannot: {reason}")
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(TURNS):
        for name, one in models.items():
            times[name].append(_seconds(one, x, target))
    return {name: median(found) for name, found in times.items()}


def _seconds(model: Model, x: Tensor, target: Tensor) -> float:
    """The median of some steps, each with its result back here, after one that is not counted."""
    model.step(x, target)
    found = []
    for _ in range(STEPS):
        start = perf_counter()
        model.step(x, target)
        found.append(perf_counter() - start)
    return median(found)
