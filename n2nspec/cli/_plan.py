"""The optimised plan of a training step: a line for people, an object for programs."""

from __future__ import annotations

from typing import Any

from n2nspec._lazy import torch
from n2nspec.cli._output import human, human_bytes
from n2nspec.cli._sizes import render_size
from n2nspec.compiler import plan_document
from n2nspec.compiler.program import program
from n2nspec.diagnostics import plural
from n2nspec.graph import ShapedGraph
from n2nspec.oracle.footprint import optimized_bytes
from n2nspec.runtime.optimized import Instance, OptimizedEngine

__all__ = ["document", "summary"]


def document(graph: ShapedGraph, shape: tuple[int, ...]) -> dict[str, Any]:
    """Kernel calls and buffers for an input of this shape."""
    instance = _planned(graph, shape)
    found = plan_document(
        graph,
        instance.program,
        wanted=instance.wanted,
        buffers=instance.layout,
        nbytes=instance.buffers.bytes,
    )
    return {**found, "peak_bytes": optimized_bytes(graph, shape, training=True)}


def summary(graph: ShapedGraph, shape: tuple[int, ...]) -> str:
    """How many kernels, multiply-accumulates and bytes; the peak where it can be told."""
    instance = _planned(graph, shape)
    peak = optimized_bytes(graph, shape, training=True)
    ops, macs, written = instance.program.ops, instance.program.macs, program(graph, shape).macs
    saved = f" instead of {human(written)}" if written != macs else ""
    return (
        f"plan at {render_size(shape)}: engine optimized, {plural(len(ops), 'kernel')} forward and"
        f" {sum(op.name in instance.wanted for op in ops)} backward for {plural(len(graph.live), 'node')},"
        f" {human(macs)} MACs forward{saved}, {human_bytes(instance.buffers.bytes)} of buffers"
        + (f"; optimized: {human_bytes(peak)} at the peak" if peak is not None else "")
    )


def _planned(graph: ShapedGraph, shape: tuple[int, ...]) -> Instance:
    """A training step with every buffer laid out and none of them allocated."""
    kind = {"float32": torch.float32, "float64": torch.float64}[graph.spec.train.dtype]
    engine = OptimizedEngine(graph, kind=kind, place=torch.device("meta"))
    return engine.instance(shape, backward=True, input_gradient=False)
