"""Which lowering is the fastest here: measured once for each kind of convolution, and kept.

In: an optimised program, and the values whose gradients are wanted. Out: for each source of a convolution the
way that took the least time on this machine. Each is run alone, on numbers of its own, in turns with the
others; one that is hardly faster than the usual one is not worth leaving it for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from n2nspec._lazy import torch
from n2nspec.compiler.lowering import Lowering, Lowerings, usual
from n2nspec.compiler.program import ConvOp, Program, Weights
from n2nspec.layers._base import Mode
from n2nspec.runtime.machine import signature
from n2nspec.runtime.optimized.convolution import ConvKernel
from n2nspec.runtime.optimized.instance import Instance
from n2nspec.runtime.store import Store

if TYPE_CHECKING:
    from torch import device, dtype

__all__ = ["Tuner"]

FILE = "lowerings.json"
LEAST_MACS = 4_000_000
"""Multiply-accumulates of a convolution from which on a choice can gain what measuring costs."""
TURNS = 7
WORTH = 0.95
"""Of the usual one's time; less is hardly more than the clock's noise."""

Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]


class Tuner:
    """Measures what nobody has measured yet.

    Args:
        parameters: shapes by owner and name.
    """

    def __init__(self, parameters: Shapes, *, kind: dtype, place: device) -> None:
        self._parameters, self._kind, self._place = parameters, kind, place
        self._store = Store(FILE)
        self.measured = 0
        """Convolutions that were, and were not found in the store."""

    def __call__(self, program: Program, wanted: Collection[str]) -> Lowerings:
        """For a training step."""
        found: dict[tuple[str, int], Lowering] = {}
        for op in program.ops:
            if isinstance(op, ConvOp) and op.name in wanted and op.macs(program.shapes) >= LEAST_MACS:
                for index, source in enumerate(op.sources):
                    shape = program.shapes[source.value]
                    found[op.name, index] = self._fastest(op, index, shape, source.value in wanted)
        return found

    def _fastest(self, op: ConvOp, index: int, shape: tuple[int, ...], needed: bool) -> Lowering:
        case = _Case.of(op, index, shape, needed, self._parameters)
        question = {
            **signature(self._place), "dtype": str(self._kind), "shape": shape, "needed": needed,
            "op": asdict(case.op), "parameters": case.parameters,
        }  # fmt: skip
        known = self._store.get(question)
        if isinstance(known, list) and list(map(type, known)) == [bool, bool]:
            return Lowering(forward=known[0], backward=known[1])
        self.measured += 1
        chosen = self._measured(case)
        self._store.put(question, [chosen.forward, chosen.backward])
        return chosen

    def _measured(self, case: _Case) -> Lowering:
        first = _Run(case, case.usual, self._kind, self._place)
        other = _Run(
            case, Lowering(forward=not first.forward, backward=not first.backward), self._kind, self._place
        )
        times: dict[tuple[str, int], list[float]] = {}
        for turn in range(TURNS + 1):
            for number, run in enumerate((first, other)):
                for part, seconds in zip(("forward", "backward"), run(), strict=True):
                    if turn:
                        times.setdefault((part, number), []).append(seconds)

        def better(part: str, given: bool, changed: bool) -> bool:
            return changed if min(times[part, 1]) < WORTH * min(times[part, 0]) else given

        return Lowering(
            forward=better("forward", first.forward, other.forward),
            backward=better("backward", first.backward, other.backward),
        )


class _Case:
    """One source of a convolution as a program of its own."""

    def __init__(self, op: ConvOp, parameters: Shapes, shape: tuple[int, ...], needed: bool) -> None:
        self.op, self.parameters, self.needed = op, parameters, needed
        self.program = Program(ops=(op,), input_name="x", input_shape=shape, output="y")
        self.usual = usual(op.sources[0], shape[1], op.shape[1])

    @classmethod
    def of(cls, op: ConvOp, index: int, shape: tuple[int, ...], needed: bool, parameters: Shapes) -> _Case:
        source = op.sources[index]
        given = parameters[op.weights.owner][f"{op.weights.prefix}weight"]
        sizes = (source.channels, op.shape[1]) if op.transposed else (op.shape[1], source.channels)
        own = {"weight": (*sizes, *given[2:]), **({"bias": (op.shape[1],)} if op.bias else {})}
        alone = replace(
            op, name="y", inputs=("x",), covers=(), sources=(replace(source, value="x"),),
            weights=Weights(owner="y", node="y"),
        )  # fmt: skip
        return cls(alone, {"y": own}, shape, needed)


class _Run:
    """A case on numbers, in one way; `forward` and `backward` tell which it became."""

    def __init__(self, case: _Case, lowering: Lowering, kind: dtype, place: device) -> None:
        self._instance = Instance(
            case.program, case.parameters, kind=kind, place=place, backward=True, input_gradient=case.needed,
            lowerings={("y", 0): lowering},
        )  # fmt: skip
        (kernel,) = self._instance.kernels
        assert isinstance(kernel, ConvKernel)
        self._kernel = kernel
        self.forward, self.backward = kernel.shifts
        make: Callable[..., Any] = torch.ones
        self._x = make(case.program.input_shape, dtype=kind, device=place)
        self._tensors = {
            "y": {key: make(shape, dtype=kind, device=place) for key, shape in case.parameters["y"].items()}
        }
        self._gradients = {"y": {key: torch.zeros_like(t) for key, t in self._tensors["y"].items()}}
        self._place = place

    def __call__(self) -> tuple[float, float]:
        """Seconds forward and backward."""
        instance, mode = self._instance, Mode(True, None)
        instance.values.forget()
        instance.values.put("x", self._x)
        forward = self._timed(lambda: self._kernel.forward(self._tensors, mode, keep=True))
        instance.begin_backward()
        instance.values.gradient_pictures["y"].whole.fill_(1.0)
        instance.values.written.add("y")
        return forward, self._timed(lambda: self._kernel.backward(self._tensors, self._gradients))

    def _timed(self, run: Callable[[], object]) -> float:
        self._wait()
        start = perf_counter()
        run()
        self._wait()
        return perf_counter() - start

    def _wait(self) -> None:
        if self._place.type == "cuda":
            torch.cuda.synchronize(self._place)
