"""A step on several processes: this one and its helpers.

In: parameters, a batch, how it is divided. Out: the loss, and the gradients of the whole batch. A helper is
started when the first step needs it and takes some seconds to be there; until then, and should it ever go
away, its part is computed here, one after the other, with the same result.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate
from time import monotonic
from typing import TYPE_CHECKING, Any

from n2nspec._lazy import torch
from n2nspec.diagnostics import Diagnostic
from n2nspec.graph import ShapedGraph
from n2nspec.layers._base import Mode
from n2nspec.losses import LossSpec
from n2nspec.runtime.flat import FlatTensors
from n2nspec.runtime.optimized import OptimizedEngine
from n2nspec.runtime.split.channel import Channel
from n2nspec.runtime.split.memory import Shared
from n2nspec.runtime.split.shares import Shares
from n2nspec.spec import to_document

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Team"]

START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from n2nspec.runtime.split.helper import main
main()
"""


class Team:
    """This process and its helpers, for the network of one model on the CPU.

    Args:
        fresh: makes tensors in the layout of the parameters.
        processes: with this one.
    """

    def __init__(
        self, graph: ShapedGraph, engine: OptimizedEngine, fresh: Callable[[], FlatTensors], processes: int
    ) -> None:
        self.shares = Shares(graph=graph, processes=processes)
        self._graph, self._engine, self._fresh = graph, engine, fresh
        self._helpers: list[_Helper] = []
        self._parts: list[FlatTensors] = []
        self._threads = max(1, torch.get_num_threads() // processes)

    def __getstate__(self) -> dict[str, object]:
        """A copy has helpers of its own."""
        return {**self.__dict__, "_helpers": [], "_parts": []}

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """W502 for each helper that is gone."""
        return tuple(
            Diagnostic(
                code="W502",
                message=f"a process that helps with training steps is not there: {helper.fault}",
                file=self._graph.spec.source_file,
                help="its part of each batch is computed here, which is slower; --processes 1 asks for none",
            )
            for helper in self._helpers
            if helper.fault
        )

    def wait(self, shape: tuple[int, ...], seconds: float = 60.0) -> None:
        """Until the helpers for batches of this shape are there, or so long."""
        self._grow(len(self.shares(shape)) - 1)
        until = monotonic() + seconds
        for helper in self._helpers:
            helper.started.wait(max(0.0, until - monotonic()))

    @contextmanager
    def at_work(self, shape: tuple[int, ...]) -> Iterator[None]:
        """Few threads for torch's operators while batches of this shape are divided.

        A thread of theirs goes on looking for work for some 8 ms after each, on a core that a helper needs.
        """
        if len(self.shares(shape)) == 1:
            yield
            return
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    @property
    def bytes(self) -> int:
        """What the helpers' steps take, and what is shared with them."""
        return sum(helper.bytes for helper in self._helpers)

    def step(
        self, parameters: FlatTensors, tensors: Any, x: Tensor, target: Tensor, loss: LossSpec, mode: Mode,
        gradients: FlatTensors,
    ) -> float:  # fmt: skip
        """The loss of the batch; its gradients are put into `gradients`."""
        sizes = self.shares(tuple(x.shape))
        weights = [size / len(x) if loss.reduction == "mean" else 1.0 for size in sizes]
        ends = accumulate(sizes)
        batches = [
            (x[end - size : end], target[end - size : end]) for size, end in zip(sizes, ends, strict=True)
        ]
        for size in dict.fromkeys(sizes):  # measured, if at all, while nobody else is at work
            self._engine.lowerings((size, *x.shape[1:]))
        self._grow(len(sizes) - 1)
        asked = [
            helper.ask(parameters, *batch, loss, self._engine)
            for helper, batch in zip(self._helpers, batches[1:], strict=False)
        ]
        gradients.flat.zero_()
        total = weights[0] * self._alone(tensors, batches[0], loss, mode, gradients)
        gradients.flat.mul_(weights[0])
        for index, (weight, batch) in enumerate(zip(weights[1:], batches[1:], strict=True)):
            part = self._parts[index]
            value = self._helpers[index].answer(part) if asked[index] else None
            if value is None:
                part.flat.zero_()
                value = self._alone(tensors, batch, loss, mode, part)
            total += weight * value
            gradients.flat.add_(part.flat, alpha=weight)
        return total

    def _alone(
        self, tensors: Any, batch: tuple[Tensor, Tensor], loss: LossSpec, mode: Mode, into: FlatTensors
    ) -> float:
        value, _ = self._engine.step(tensors, *batch, loss, mode, into.by_node)
        return float(value)

    def _grow(self, helpers: int) -> None:
        with torch.inference_mode(False):  # what is made in that mode cannot be changed outside it
            while len(self._helpers) < helpers:
                self._helpers.append(_Helper(self._graph, self._fresh().flat, self._threads))
                self._parts.append(self._fresh())


class _Helper:
    """One other process, from this side.

    Args:
        flat: a tensor like that of all parameters.
    """

    def __init__(self, graph: ShapedGraph, flat: Tensor, threads: int) -> None:
        self.bytes = 2 * flat.nbytes
        self.fault = ""
        self.started = threading.Event()
        """Set once it is there, or will not come."""
        self._asked = 0
        self._ready = False
        self._batch: Shared | None = None
        self._shapes: set[tuple[int, ...]] = set()
        try:
            shared = Shared(2 * flat.nbytes)
            self._process = _started(threads)
        except OSError as error:
            self.fault = str(error)
            self.started.set()
            return
        weakref.finalize(self, _end, self._process, shared, os.getpid())
        self._weights = shared.tensor(tuple(flat.shape), flat.dtype)
        self._gradients = shared.tensor(tuple(flat.shape), flat.dtype, flat.nbytes)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._channel = Channel(self._process.stdout.fileno(), self._process.stdin.fileno())
        document = {key: value for key, value in to_document(graph.spec).items() if key != "data"}
        kind = str(flat.dtype).removeprefix("torch.")
        job = {"spec": document, "dtype": kind, "threads": threads, "memory": shared.path}
        threading.Thread(target=self._introduce, args=(job, shared), daemon=True).start()

    def _introduce(self, job: dict[str, Any], shared: Shared) -> None:
        """Tells the helper what it is for, and waits until it is there, while the steps go on."""
        try:
            self._channel.say(job)
            self._ready = self._channel.hear(patience=0) is not None
            self.fault = "" if self._ready else "it did not start"
        except (OSError, ValueError) as error:
            self.fault = str(error)
        shared.unlink()
        self.started.set()

    def ask(
        self, parameters: FlatTensors, x: Tensor, target: Tensor, loss: LossSpec, engine: OptimizedEngine
    ) -> bool:
        """Has a part computed as this engine would; False where it has to be computed here."""
        if not self._ready or self.fault:
            return False
        self._asked += 1
        job: dict[str, Any] = {
            "number": self._asked, "x": tuple(x.shape), "target": tuple(target.shape),
            "loss": loss.model_dump(exclude={"type"}),
        }  # fmt: skip
        shape = tuple(x.shape)
        if shape not in self._shapes:
            self._shapes.add(shape)
            job["lowerings"] = [
                [name, index, way.forward, way.backward]
                for (name, index), way in engine.lowerings(shape).items()
            ]
        size = x.nbytes + target.nbytes
        try:
            if self._batch is None or self._batch.nbytes < size:
                self._batch = Shared(size)
                self.bytes = 2 * self._weights.nbytes + size
                job |= {"memory": self._batch.path, "bytes": size}
            self._batch.tensor(tuple(x.shape), x.dtype).copy_(x)
            self._batch.tensor(tuple(target.shape), x.dtype, x.nbytes).copy_(target)
            self._weights.copy_(parameters.flat)
            self._channel.say(job)
        except OSError as error:
            self.fault = str(error)
            return False
        return True

    def answer(self, into: FlatTensors) -> float | None:
        """The loss of the part asked for last; its gradients are put into `into`. None where it failed."""
        try:
            answer = self._hear()
            while answer["number"] != self._asked:  # of a step that was interrupted
                answer = self._hear()
        except (OSError, ValueError) as error:
            self.fault = str(error)
            return None
        finally:
            if self._batch is not None:
                self._batch.unlink()
        into.flat.copy_(self._gradients)
        self.bytes = max(self.bytes, 2 * self._weights.nbytes + answer["bytes"])
        return float(answer["loss"])

    def _hear(self) -> dict[str, Any]:
        answer = self._channel.hear()
        if answer is None:
            raise OSError(f"it ended with exit code {self._process.wait()}")
        return answer


def _started(threads: int) -> subprocess.Popen[bytes]:
    """A process that finds the modules that this one finds.

    It does not look for them in the current folder, and stays out of reach of the terminal's Ctrl-C: it ends
    when this process does.
    """
    if not sys.executable:
        raise OSError("this Python does not know its own program")
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", START, json.dumps(sys.path)],
        bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
        start_new_session=True,
    )  # fmt: skip


def _end(process: subprocess.Popen[bytes], shared: Shared, owner: int) -> None:
    """Lets the helper go, unless this is a copy of the process that started it."""
    if os.getpid() != owner:
        return
    shared.unlink()
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):
            assert stream is not None
            stream.close()
    try:
        process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
