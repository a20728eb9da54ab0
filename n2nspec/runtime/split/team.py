"""A step on several processes: this one and its helpers.

In: parameters, a batch, how it is divided. Out: the loss, and the gradients of the whole batch. A helper is
started when the first step needs it, and takes some seconds to be there and to make ready for parts of a new
shape; until then, and should it ever go away, its part is computed here, one after the other, with the same
result.
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
from math import prod
from time import monotonic
from typing import TYPE_CHECKING, Any

from n2nspec._lazy import torch
from n2nspec.diagnostics import Diagnostic
from n2nspec.graph import ShapedGraph
from n2nspec.layers._base import Mode
from n2nspec.losses import LossSpec
from n2nspec.runtime.flat import FlatTensors
from n2nspec.runtime.optimized import OptimizedEngine, Way, grouped
from n2nspec.runtime.split.channel import PATIENCE, Channel, Message
from n2nspec.runtime.split.memory import Shared, batch_tensors
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


SECONDS = 120.0
"""How long somebody waits for a helper that makes ready, who has nothing better to do."""


class Team:
    """This process and its helpers, for the network of one model on the CPU.

    Args:
        fresh: makes tensors in the layout of the parameters.
        processes: with this one.
        precision: of the engine's steps, as `train.precision` has it.
    """

    def __init__(
        self, graph: ShapedGraph, engine: OptimizedEngine, fresh: Callable[[], FlatTensors], processes: int,
        precision: str,
    ) -> None:  # fmt: skip
        self.shares = Shares(graph=graph, processes=processes)
        self._graph, self._engine, self._fresh = graph, engine, fresh
        self._precision = precision
        self._helpers: list[_Helper] = []
        self._spare: FlatTensors | None = None
        """The gradients of a part whose helper is not there."""
        self._threads = max(1, torch.get_num_threads() // processes)

    def __getstate__(self) -> dict[str, object]:
        """A copy has helpers of its own."""
        return {**self.__dict__, "_helpers": [], "_spare": None}

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

    def wait(self, shape: tuple[int, ...], seconds: float = SECONDS) -> None:
        """Until the helpers for batches of this shape are there and ready, or so long."""
        until = monotonic() + seconds
        shapes = self._shapes(shape)
        self._grow(len(shapes) - 1)
        loss = self._graph.spec.train.loss.at(0.0)
        with self.at_work(shape):
            ways = self._engine.prepare(shapes, loss, Mode(True, None))
        for helper, part, way in zip(self._helpers, shapes[1:], ways[1:], strict=False):
            while not helper.ready(part, loss, way) and not helper.fault:
                if not helper.idle.wait(until - monotonic()):
                    return

    def _shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [(size, *shape[1:]) for size in self.shares(shape)]

    @contextmanager
    def at_work(self, shape: tuple[int, ...]) -> Iterator[None]:
        """Few threads for torch's operators while batches of this shape are divided.

        A thread of theirs goes on looking for work for some 8 ms after each, on a core that a helper needs.
        """
        before = torch.get_num_threads()
        if len(self.shares(shape)) == 1 or before == self._threads:
            yield
            return
        torch.set_num_threads(self._threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def measure(self) -> int:
        """Bytes that the helpers' steps take, and that are shared with them; runs those of the last batch."""
        return sum(helper.measure() for helper in self._helpers)

    def step(
        self, parameters: FlatTensors, tensors: Any, x: Tensor, target: Tensor, loss: LossSpec, mode: Mode,
        gradients: FlatTensors,
    ) -> float:  # fmt: skip
        """The loss of the batch; its gradients are put into `gradients`."""
        sizes = self.shares(tuple(x.shape))
        # measured or compiled, if need be, while nobody else is at work
        ways = self._engine.prepare(self._shapes(tuple(x.shape)), loss, mode)
        self._grow(len(sizes) - 1)
        first, *others = grouped(x, target, sizes, loss)
        asked = [
            helper.ask(parameters, *part, loss, way)
            for helper, part, way in zip(self._helpers, others, ways[1:], strict=False)
        ]
        gradients.flat.zero_()
        total = first[2] * self._alone(parameters, tensors, first, loss, mode, gradients)
        for index, part in enumerate(others):
            helper = self._helpers[index]
            value = helper.answer() if asked[index] else None
            if value is not None:
                gradients.flat.add_(helper.gradients)
            else:
                value = self._instead(parameters, tensors, part, loss, mode, gradients)
            total += part[2] * value
        return total

    def _alone(
        self, parameters: FlatTensors, tensors: Any, part: tuple[Tensor, Tensor, float], loss: LossSpec,
        mode: Mode, into: FlatTensors,
    ) -> float:  # fmt: skip
        x, target, weight = part
        return self._engine.part(parameters, tensors, x, target, loss, mode, into, weight)

    def _instead(
        self, parameters: FlatTensors, tensors: Any, part: tuple[Tensor, Tensor, float], loss: LossSpec,
        mode: Mode, into: FlatTensors,
    ) -> float:  # fmt: skip
        """What a helper would have computed, rounded alike: its sums begin at zero."""
        if self._spare is None:
            with torch.inference_mode(False):  # what is made in that mode cannot be changed outside it
                self._spare = self._fresh()
        self._spare.flat.zero_()
        value = self._alone(parameters, tensors, part, loss, mode, self._spare)
        into.flat.add_(self._spare.flat)
        return value

    def _grow(self, helpers: int) -> None:
        if len(self._helpers) >= helpers:
            return
        with torch.inference_mode(False):  # what is made in that mode cannot be changed outside it
            while len(self._helpers) < helpers:
                self._helpers.append(
                    _Helper(
                        self._graph, self._engine.name, self._precision, self._fresh().flat, self._threads
                    )
                )


class _Helper:
    """One other process, from this side.

    Args:
        flat: a tensor like that of all parameters.
    """

    def __init__(self, graph: ShapedGraph, engine: str, precision: str, flat: Tensor, threads: int) -> None:
        self.fault = ""
        self.idle = threading.Event()
        """Set while it can take part in a step: it is there and makes ready for nothing; or will not come."""
        self._asked = 0
        self._ready: dict[tuple[int, ...], tuple[LossSpec | None, Way]] = {}
        self._batch: Shared | None = None
        self._told = False
        """Whether it knows of this memory."""
        self._last: tuple[object, ...] = ()
        """What the newest part was, besides its numbers."""
        try:
            shared = Shared(2 * flat.nbytes)
            self._process = _started(threads)
        except OSError as error:
            self.fault = str(error)
            self.idle.set()
            return
        self._files = [shared]
        """All memory that was shared: names that still stand when this goes are taken away."""
        weakref.finalize(self, _end, self._process, self._files, os.getpid())
        self._weights = shared.tensor(tuple(flat.shape), flat.dtype)
        self.gradients = shared.tensor(tuple(flat.shape), flat.dtype, flat.nbytes)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._channel = Channel(self._process.stdout.fileno(), self._process.stdin.fileno())
        document = {key: value for key, value in to_document(graph.spec).items() if key != "data"}
        kind = str(flat.dtype).removeprefix("torch.")
        job = {
            "spec": document, "engine": engine, "precision": precision, "dtype": kind, "threads": threads,
            "memory": shared.path,
        }  # fmt: skip
        threading.Thread(target=self._introduce, args=(job, shared), daemon=True).start()

    def _introduce(self, job: dict[str, Any], shared: Shared) -> None:
        """Tells the helper what it is for, and waits until it is there, while the steps go on."""
        try:
            self._channel.say(job)
            if self._channel.hear(patience=0) is None:
                self.fault = "it did not start"
        except (OSError, ValueError) as error:
            self.fault = str(error)
        shared.unlink()
        self.idle.set()

    def ready(self, shape: tuple[int, ...], loss: LossSpec, way: Way) -> bool:
        """Whether it computes parts of this shape in this way; if not, it begins to make ready for them."""
        if self.fault or not self.idle.is_set():
            return False
        known = loss if way.compiled else None, way
        if self._ready.get(shape) == known:
            return True
        self.idle.clear()
        job = {
            "do": "prepare", "x": shape, "loss": _fields(loss), "compiled": way.compiled,
            "lowerings": way.lowerings,
        }  # fmt: skip
        threading.Thread(target=self._make_ready, args=(job, shape, known), daemon=True).start()
        return False

    def _make_ready(
        self, job: dict[str, Any], shape: tuple[int, ...], known: tuple[LossSpec | None, Way]
    ) -> None:
        """While the steps go on without it."""
        try:
            self._say(job)
            answer = self._hear(patience=0)
            assert isinstance(answer, dict)
            self.fault = answer.get("fault", "")
            self._ready[shape] = known
        except (OSError, ValueError) as error:
            self._lost(error)
        finally:
            self.idle.set()

    def ask(
        self, parameters: FlatTensors, x: Tensor, target: Tensor, weight: float, loss: LossSpec, way: Way
    ) -> bool:
        """Has a part computed, whose loss counts so much; False where it has to be computed here."""
        shape = tuple(x.shape)
        if not self.ready(shape, loss, way):
            return False
        what = shape, tuple(target.shape), weight, way.compiled, loss
        try:
            again = what == self._last
            self._last = ()  # until it has been said: an interrupt may come at any time
            job = None if again else self._new(what)
            for shared, tensor in zip(self._places, (x, target), strict=True):
                shared.copy_(tensor)
            self._weights.copy_(parameters.flat)
            self._say(job)
        except OSError as error:
            self._lost(error)
            return False
        self._last, self._told = what, True
        return True

    def _new(self, what: tuple[Any, ...]) -> dict[str, Any]:
        """The words for another part than the newest, and places for its numbers."""
        shape, target, weight, compiled, loss = what
        job = {
            "do": "step", "x": shape, "target": target, "weight": weight, "loss": _fields(loss),
            "compiled": compiled,
        }  # fmt: skip
        kind = self._weights.dtype
        size = (prod(shape) + prod(target)) * kind.itemsize
        if self._batch is None or self._batch.nbytes < size:
            self._told = False
            self._batch = Shared(size)
            self._files.append(self._batch)
        if not self._told:
            job |= {"memory": self._batch.path, "bytes": self._batch.nbytes}
        self._places = batch_tensors(self._batch, shape, target, kind)
        return job

    def answer(self) -> float | None:
        """The loss of the part asked for last, whose gradients are in `gradients`; None where it failed."""
        try:
            _, loss = self._hear()
            return float(loss)
        except (OSError, ValueError) as error:
            self._lost(error)
            return None
        finally:
            for file in self._files[1:]:
                file.unlink()
            del self._files[1:]

    def measure(self) -> int:
        """Bytes that the last part takes there, and that are shared; the latter only, if it cannot say."""
        if not self._last or self._batch is None or not self.idle.wait(SECONDS) or self.fault:
            return 0
        shared = self._weights.nbytes + self.gradients.nbytes + self._batch.nbytes
        try:
            self._say({"do": "measure"})
            answer = self._hear(patience=0)
            assert isinstance(answer, dict)
            return shared + int(answer["bytes"])
        except (OSError, ValueError) as error:
            self._lost(error)
            return shared

    def _lost(self, error: Exception) -> None:
        """Says why there is no counting on it any more."""
        self.fault = str(error)
        if isinstance(error, BrokenPipeError):
            with suppress(subprocess.TimeoutExpired):
                self.fault = f"it ended with exit code {self._process.wait(1)}"

    def _say(self, job: dict[str, Any] | None) -> None:
        """A job; None for a step like the last."""
        self._asked += 1
        self._channel.say((self._asked,) if job is None else job | {"number": self._asked})

    def _hear(self, *, patience: float = PATIENCE) -> Message:
        """The answer to what was said last."""
        while True:
            answer = self._channel.hear(patience=patience)
            if answer is None:
                raise OSError(f"it ended with exit code {self._process.wait()}")
            number = answer["number"] if isinstance(answer, dict) else answer[0]
            if number == self._asked:  # not of a step that was interrupted
                return answer


def _fields(loss: LossSpec) -> dict[str, Any]:
    return loss.model_dump(exclude={"type"})


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


def _end(process: subprocess.Popen[bytes], files: list[Shared], owner: int) -> None:
    """Lets the helper go, unless this is a copy of the process that started it."""
    if os.getpid() != owner:
        return
    for file in files:
        file.unlink()
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):
            assert stream is not None
            stream.close()
    try:
        process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
