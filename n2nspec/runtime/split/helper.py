"""The other process: takes steps on its part of each batch until nobody asks any more.

In: messages on standard input. The first has the spec, the engine, the dtype and the shared memory of
parameters and gradients. Each further one asks for one thing: to make ready for parts of some shape, for a
part of a batch, by its shape and where its numbers stand, for another like it, or how much memory that takes.
Out: for each message one on standard output, when it is done.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from n2nspec._lazy import torch
from n2nspec.graph import analyse
from n2nspec.layers._base import Mode
from n2nspec.runtime.engines import make_engine
from n2nspec.runtime.flat import FlatTensors, parameter_layout
from n2nspec.runtime.optimized import OptimizedEngine, Way
from n2nspec.runtime.split.channel import Channel, Message
from n2nspec.runtime.split.memory import Shared, batch_tensors
from n2nspec.spec import load

__all__ = ["main"]

IN, OUT, ERRORS = 0, 1, 2
"""File descriptors, which belong to the protocol here."""


def main() -> None:
    """Serves the process that started this one."""
    channel = Channel(IN, os.dup(OUT))
    os.dup2(ERRORS, OUT)  # whatever a library prints is no answer
    job = channel.hear(patience=0)
    if not isinstance(job, dict):
        return
    torch.set_num_threads(job["threads"])
    helper = Helper(job)
    channel.say({"ready": True})
    while (job := channel.hear()) is not None:
        channel.say(helper.answer(job))


class Helper:
    """Steps on shared memory: parameters, then gradients."""

    def __init__(self, job: dict[str, Any]) -> None:
        graph = analyse(load(job["spec"]))
        self.kind = {"float32": torch.float32, "float64": torch.float64}[job["dtype"]]
        self.loss, self.mode = graph.spec.train.loss, Mode(True, None)
        place = torch.device("cpu")
        engine = make_engine(job["engine"], graph, self.kind, place, job["precision"])
        assert isinstance(engine, OptimizedEngine)
        self.engine = engine
        layout = parameter_layout(graph)
        self.parameters = FlatTensors(*layout, kind=self.kind, place=place)
        self.gradients = FlatTensors(*layout, kind=self.kind, place=place)
        size = self.parameters.flat.numel()
        shared = Shared(2 * size * self.kind.itemsize, job["memory"])
        shared.unlink()  # here, too: who started this one may be gone by now
        self.parameters.move(shared.tensor((size,), self.kind))
        self.gradients.move(shared.tensor((size,), self.kind, size * self.kind.itemsize))
        self.tensors = {node.name: self.parameters.by_node[node.owner] for node in graph.nodes}
        self.batch: Shared | None = None
        self.step: Callable[[], float] = lambda: 0.0

    def answer(self, job: Message) -> Message:
        """What was asked for: of a step its number and the loss."""
        if isinstance(job, tuple):
            return job[0], self.step()
        number = job["number"]
        match job["do"]:
            case "prepare":
                return {"number": number, **self.prepare(job)}
            case "measure":
                return {"number": number, **self.measure()}
        self.take(job)
        return number, self.step()

    def prepare(self, job: dict[str, Any]) -> dict[str, Any]:
        """Kernels for parts of a shape, which may take a while; a fault, if there can be none."""
        lowerings = tuple((tuple(shape), *rest) for shape, *rest in job["lowerings"])
        way = Way(compiled=job["compiled"], lowerings=lowerings)
        try:
            self.engine.follow(way, tuple(job["x"]), self.loss.model_copy(update=job["loss"]), self.mode)
        except RuntimeError as error:
            return {"fault": str(error)}
        return {}

    def take(self, job: dict[str, Any]) -> None:
        """From now on `step` gives the loss of such a part, and its gradients stand in the shared memory."""
        if "memory" in job:
            self.batch = Shared(job["bytes"], job["memory"])
        assert self.batch is not None
        x, target = batch_tensors(self.batch, tuple(job["x"]), tuple(job["target"]), self.kind)
        loss, weight = self.loss.model_copy(update=job["loss"]), job["weight"]

        def step() -> float:
            with torch.inference_mode():  # where operators are called faster
                self.gradients.flat.zero_()
                return self.engine.part(
                    self.parameters, self.tensors, x, target, loss, self.mode, self.gradients, weight
                )

        self.step = step

    def measure(self) -> dict[str, Any]:
        """Bytes that a step takes here besides the shared memory."""
        from n2nspec.oracle.limits import peak_bytes  # which brings torch's profiler

        return {"bytes": self.engine.bytes + peak_bytes(lambda: self.step, torch.device("cpu"))}
