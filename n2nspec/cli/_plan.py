"""The optimised plan of a training step: a line for people, an object for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from n2nspec._lazy import torch
from n2nspec.cli._output import human, human_bytes
from n2nspec.cli._sizes import in_groups, render_size
from n2nspec.compiler import plan_document
from n2nspec.compiler.program import program
from n2nspec.diagnostics import plural
from n2nspec.graph import ShapedGraph
from n2nspec.oracle.footprint import compiled_bytes, optimized_bytes
from n2nspec.runtime.compiled import CompiledEngine
from n2nspec.runtime.optimized import Course, Fitted, Instance, MemoryLimit, OptimizedEngine

if TYPE_CHECKING:
    from torch import dtype

__all__ = ["document", "fit", "memory", "summary"]


def fit(graph: ShapedGraph, shape: tuple[int, ...], limit: int) -> Fitted:
    """What a training step within `limit` bytes computes again.

    Raises:
        DiagnosticError: E505, it takes more in any case.
    """
    return MemoryLimit(graph, limit, _kind(graph)).fitted(shape)


def document(graph: ShapedGraph, shape: tuple[int, ...], fitted: Fitted | None) -> dict[str, Any]:
    """Kernel calls and buffers for an input of this shape."""
    course, instance = _planned(graph, shape, fitted)
    found = plan_document(graph, instance.timeline, buffers=instance.layout, nbytes=instance.buffers.bytes)
    peak = fitted.peak if fitted else optimized_bytes(graph, shape, training=True)
    return {**found, "groups": list(course.groups), "peak_bytes": peak}


def memory(fitted: Fitted) -> dict[str, Any]:
    """A plan within a memory limit, in short, for programs."""
    choice = fitted.recompute
    return {
        "peak_bytes": fitted.peak,
        "peak_bytes_without_limit": fitted.without,
        "recomputed": list(fitted.recomputed),
        "groups": list(fitted.course.groups),
        "recomputed_macs": fitted.recomputed_macs,
        "copied_again": sorted(choice.columns) if choice else [],
    }


def summary(graph: ShapedGraph, shape: tuple[int, ...], fitted: Fitted | None) -> str:
    """How many kernels, multiply-accumulates and bytes; the peaks where they can be told."""
    course, instance = _planned(graph, shape, fitted)
    peak = fitted.peak if fitted else optimized_bytes(graph, shape, training=True)
    ops, written = instance.program.ops, program(graph, shape).macs
    macs = instance.program.macs * shape[0] // course.groups[0]
    saved = f" instead of {human(written)}" if written != macs else ""
    line = (
        f"plan at {render_size(shape)}: engine optimized, {plural(len(ops), 'kernel')} forward and"
        f" {sum(op.name in instance.wanted for op in ops)} backward for {plural(len(graph.live), 'node')},"
        f" {human(macs)} MACs forward{saved}{in_groups(course.groups)},"
        f" {human_bytes(instance.buffers.bytes)} of buffers"
        + (f"; optimized: {human_bytes(peak)} at the peak" if peak is not None else "")
    )
    if fitted is None:
        compiled = _compiled_bytes(graph, shape)
        return line + (f", compiled: {human_bytes(compiled)}" if compiled is not None else "")
    lines = [line, f"memory limit: {fitted}"]
    if fitted.recomputed:
        lines.append(
            f"  computed again, {human(fitted.recomputed_macs)} MACs: {', '.join(fitted.recomputed)}"
        )
    if fitted.recompute and fitted.recompute.columns:
        lines.append(f"  windows copied again: {', '.join(sorted(fitted.recompute.columns))}")
    return "\n".join(lines)


def _planned(graph: ShapedGraph, shape: tuple[int, ...], fitted: Fitted | None) -> tuple[Course, Instance]:
    """How a training step is taken, and its first group with every buffer laid out and none allocated."""
    engine = OptimizedEngine(graph, kind=_kind(graph), place=torch.device("meta"))
    course = fitted.course if fitted else engine.course(shape)
    first, *_ = course.shapes(shape)
    return course, engine.instance(first, backward=True, input_gradient=False, recompute=course.recompute)


def _compiled_bytes(graph: ShapedGraph, shape: tuple[int, ...]) -> int | None:
    """The peak of the compiled engine; None where it gives way to the optimised one, or cannot be told."""
    engine = CompiledEngine(graph, kind=_kind(graph), place=torch.device("meta"))
    return compiled_bytes(graph, shape) if engine.compiles else None


def _kind(graph: ShapedGraph) -> dtype:
    return {"float32": torch.float32, "float64": torch.float64}[graph.spec.train.dtype]
