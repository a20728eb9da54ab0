"""The other process: takes steps on its part of each batch until nobody asks any more.

In: lines of JSON on standard input. The first has the spec, the dtype and the shared memory of parameters and
gradients; each further one a part of a batch, by its shape and where its numbers stand. Out: for each line
one on standard output, when it is done.
"""

from __future__ import annotations

import os
from typing import Any

from n2nspec._lazy import torch
from n2nspec.compiler.lowering import Lowering
from n2nspec.graph import ShapedGraph, analyse
from n2nspec.layers._base import Mode
from n2nspec.runtime.flat import FlatTensors, parameter_layout
from n2nspec.runtime.optimized import OptimizedEngine
from n2nspec.runtime.split.channel import Channel
from n2nspec.runtime.split.memory import Shared
from n2nspec.spec import load

__all__ = ["main"]

IN, OUT, ERRORS = 0, 1, 2
"""File descriptors, which belong to the protocol here."""


def main() -> None:
    """Serves the process that started this one."""
    channel = Channel(IN, os.dup(OUT))
    os.dup2(ERRORS, OUT)  # whatever a library prints is no answer
    job = channel.hear(patience=0)
    if job is None:
        return
    torch.set_num_threads(job["threads"])
    helper = Helper(
        analyse(load(job["spec"])),
        {"float32": torch.float32, "float64": torch.float64}[job["dtype"]],
        job["memory"],
    )
    channel.say({"ready": True})
    while (job := channel.hear()) is not None:
        channel.say(helper.step(job))


class Helper:
    """Steps on shared memory: parameters, then gradients."""

    def __init__(self, graph: ShapedGraph, kind: Any, memory: str) -> None:
        self.kind = kind
        self.loss = graph.spec.train.loss
        place = torch.device("cpu")
        self.engine = OptimizedEngine(graph, kind=kind, place=place)
        shapes, order, _ = parameter_layout(graph)
        self.parameters = FlatTensors(shapes, order, kind=kind, place=place)
        self.gradients = FlatTensors(shapes, order, kind=kind, place=place)
        size = self.parameters.flat.numel()
        shared = Shared(2 * size * kind.itemsize, memory)
        self.parameters.move(shared.tensor((size,), kind))
        self.gradients.move(shared.tensor((size,), kind, size * kind.itemsize))
        self.tensors = {node.name: self.parameters.by_node[node.owner] for node in graph.nodes}
        self.batch: Shared | None = None

    def step(self, job: dict[str, Any]) -> dict[str, Any]:
        """The loss of a part, whose gradients then stand in the shared memory."""
        if "memory" in job:
            self.batch = Shared(job["bytes"], job["memory"])
        if "lowerings" in job:
            self.engine.chosen[tuple(job["x"])] = {
                (name, index): Lowering(forward=forward, backward=backward)
                for name, index, forward, backward in job["lowerings"]
            }
        assert self.batch is not None
        x = self.batch.tensor(tuple(job["x"]), self.kind)
        target = self.batch.tensor(tuple(job["target"]), self.kind, x.nbytes)
        self.gradients.flat.zero_()
        loss = self.loss.model_copy(update=job["loss"])
        value, _ = self.engine.step(self.tensors, x, target, loss, Mode(True, None), self.gradients.by_node)
        return {
            "number": job["number"],
            "loss": float(value),
            "bytes": x.nbytes + target.nbytes + self.engine.bytes,
        }
