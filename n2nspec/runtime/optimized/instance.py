"""A program with its kernels and buffers, for one input shape.

In: an optimised program, and which gradients are wanted. Out: forward and backward passes that reuse the same
memory at every call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.compiler.correlation import AxisMap
from n2nspec.compiler.lowering import Lowerings
from n2nspec.compiler.plan import PlannedBuffer
from n2nspec.compiler.program import ConvOp, LayerOp, Op, PoolOp, Program
from n2nspec.compiler.recompute import INPUT, Recomputation, Timeline
from n2nspec.layers._base import Mode, Needs
from n2nspec.runtime.optimized.buffers import Buffers, Picture, Scratch
from n2nspec.runtime.optimized.convolution import ConvKernel
from n2nspec.runtime.optimized.correlate import pads_for
from n2nspec.runtime.optimized.kernels import Call, Kernel, LayerKernel, PoolKernel, Values
from n2nspec.runtime.optimized.sources import from_input
from n2nspec.runtime.optimized.squared_error import SquaredError

if TYPE_CHECKING:
    from torch import Generator, Tensor, device, dtype

__all__ = ["Instance", "wanted_values"]

Pads = tuple[int, int, int, int]
Tensors = Mapping[str, Mapping[str, "Tensor"]]
Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]


def wanted_values(program: Program, parameters: Shapes, input_gradient: bool) -> set[str]:
    """The values whose gradient a backward pass makes: parameters, or the input, stand before them."""
    wanted = {program.input_name} if input_gradient else set()
    for op in program.ops:
        weights = getattr(op, "weights", None)
        owned = weights is not None and any(
            name.startswith(weights.prefix) for name in parameters.get(weights.owner, {})
        )
        if owned or any(name in wanted for name in op.inputs):
            wanted.add(op.name)
    return wanted


class Instance:
    """Kernels and buffers for one input shape.

    Args:
        parameters: their shapes, by owner and name.
        backward: whether backward passes will be asked for, and `input_gradient` whether that of the input.
        recompute: what is not kept from the forward pass to the backward pass; None keeps everything.
        lowerings: how convolutions are computed, where not as usual.
    """

    def __init__(
        self, program: Program, parameters: Shapes, *, kind: dtype, place: device, backward: bool,
        input_gradient: bool, recompute: Recomputation | None = None, lowerings: Lowerings | None = None,
    ) -> None:  # fmt: skip
        self.program = program
        self.values = Values()
        ops = program.ops
        count = len(ops)
        self.wanted = wanted_values(program, parameters, input_gradient) if backward else set()
        self.timeline = timeline = Timeline(program, self.wanted, recompute)
        self.buffers = Buffers(kind, place, timeline)
        pictured = timeline.pictured
        after = {op.name: 2 * count - index for index, op in enumerate(ops)}  # when its backward runs
        pads: dict[str, Pads] = {}
        gradient_pads: dict[str, Pads] = {}
        for op in ops:
            if isinstance(op, ConvOp):
                for source in op.sources:
                    size, out = program.shapes[source.value][-2:], op.shape[-2:]
                    _widen(pads, source.value, _pads(source.maps, size, out))
                    if op.name in self.wanted and (
                        source.value in self.wanted or not from_input(source, False)
                    ):
                        adjoint = source.maps[0].adjoint(), source.maps[1].adjoint()
                        _widen(gradient_pads, op.name, _pads(adjoint, out, size))
        # A layer may hand on a view of its gradient: one lives as long as the other.
        dies = {program.input_name: 2 * count + 1}
        for op in ops:
            views = [dies[name] for name in op.inputs if isinstance(op, LayerOp) and name not in pictured]
            dies[op.name] = max([after[op.name], *views])
        for name in (value for value in timeline.index if value in pictured):
            shape, spans = program.shapes[name], timeline.values[name]
            self.values.pictures[name] = self.buffers.picture_during(shape, pads.get(name, NONE), spans)
            if name in self.wanted:
                readers = [after[op.name] for op in program.readers[name] if op.name in self.wanted]
                born = min(readers, default=count) if name != program.output else count
                self.values.gradient_pictures[name] = self.buffers.picture(
                    shape, gradient_pads.get(name, NONE), born, dies[name]
                )
        self.kernels = [
            self._kernel(op, index, after[op.name], parameters, lowerings or {})
            for index, op in enumerate(ops)
        ]
        self.again = {index: self.kernels[index] for index in timeline.again if index != INPUT}
        """The kernels that run forward a second time."""
        self.changed: dict[str, dict[str, Tensor]] = {}
        """The buffers of layers that the newest forward pass changed, by node."""
        self._pass: _Pass | None = None
        self._forward, self._backward = [_Record(), _Record()], [_Record(), _Record()]
        """Of passes with new parameters, and with those of the pass before."""
        self._written: set[str] = set()
        """The values that the recorded backward pass has made gradients of."""
        self.buffers.allocate()
        for kernel in self.kernels:
            kernel.bind()
        y = self.values.pictures.get(program.output)
        gy = self.values.gradient_pictures.get(program.output)
        joined = any(isinstance(op, ConvOp) and op.joins_loss for op in ops)
        self.squared_error = SquaredError(y, gy, joined=joined) if y and gy else None

    def _kernel(self, op: Op, now: int, then: int, parameters: Shapes, lowerings: Lowerings) -> Kernel:
        self.buffers.owner = op.name
        needs = tuple(name in self.wanted for name in op.inputs)
        backward = op.name in self.wanted
        if isinstance(op, ConvOp):
            shape = parameters[op.weights.owner][f"{op.weights.prefix}weight"]
            return ConvKernel(
                op, self.values, self.buffers, (shape[2], shape[3]), now, then if backward else None,
                needs_inputs=needs, keep_columns=op.name not in self.timeline.choice.columns,
                lowerings=lowerings,
            )  # fmt: skip
        if isinstance(op, PoolOp):
            return PoolKernel(op, self.values, self.buffers, now, then, needs_input=backward and needs[0])
        assert isinstance(op, LayerOp)
        owned = op.weights is not None and op.weights.owner in parameters
        return LayerKernel(op, self.values, Needs(inputs=needs, parameters=owned))

    @property
    def layout(self) -> tuple[PlannedBuffer, ...]:
        """Every planned buffer: of values, of gradients, and what kernels work with."""
        pictures = [
            *(("value", *entry) for entry in self.values.pictures.items()),
            *(("gradient", *entry) for entry in self.values.gradient_pictures.items()),
        ]
        kind = self.buffers.dtype
        found = [
            _planned(role, name, picture.storage_shape, kind, picture) for role, name, picture in pictures
        ]
        found += [
            _planned("workspace", request.owner, request.shape, request.dtype, request)
            for request in self.buffers.workspace
        ]
        return tuple(found)

    def forward(self, tensors: Tensors, x: Tensor, mode: Mode, *, settled: bool = False) -> Tensor:
        """The output, in a buffer that the next call overwrites.

        If `settled`, parameters are what they were in the last pass, forward and backward.
        """
        self.values.forget()
        self.values.settled = settled
        self._clear(0)
        self.values.put(self.program.input_name, x)
        if not self._forward[settled].repeat(tensors):
            self._forward[settled] = self._run_forward(tensors, x, mode)
            self.changed = self._changes()
        return self.values.nchw(self.program.output)

    def _run_forward(self, tensors: Tensors, x: Tensor, mode: Mode) -> _Record:
        record = _Record(tensors)
        self._pass = _Pass(x, mode) if self.timeline.again else None
        for index, kernel in enumerate(self.kernels):
            if index:
                record.add(self._clear(index))
            if self._pass and index in self.again:
                self._pass.remember(index, kernel.op)
            kept = kernel.op.name in self.wanted and index not in self.again
            record.add(kernel.forward(tensors, mode, keep=kept))
            self._release(index)
        return record if self._pass is None else _Record()

    def _changes(self) -> dict[str, dict[str, Tensor]]:
        found: dict[str, dict[str, Tensor]] = {}
        for kernel in self.kernels:
            if isinstance(kernel, LayerKernel) and kernel.changed:
                weights = kernel.op.weights
                assert weights is not None
                found.setdefault(weights.node, {}).update(
                    {weights.prefix + key: value for key, value in kernel.changed.items()}
                )
        return found

    def begin_backward(self) -> None:
        """Forgets the gradients of an earlier pass."""
        self.values.written.clear()
        self.values.joined.clear()
        self._clear(len(self.kernels))

    def backward(self, tensors: Tensors, gradients: Tensors) -> None:
        """Adds to the parameters' gradients, once the output's stands in its place."""
        values = self.values
        begin = tensors, gradients, frozenset(values.written), frozenset(values.joined)
        if self._backward[values.settled].repeat(*begin):
            values.written |= self._written
            return
        self._backward[values.settled] = self._run_backward(_Record(*begin), tensors, gradients)
        self._written = set(values.written)

    def _run_backward(self, record: _Record, tensors: Tensors, gradients: Tensors) -> _Record:
        for moment, kind, index in self.timeline.calls:
            record.add(self._clear(moment))
            if kind == "backward":
                record.add(self.kernels[index].backward(tensors, gradients))
                self.values.loose_gradients.pop(self.program.ops[index].name, None)
            else:
                self._recompute(index, tensors)
                record.add(None)
            self._release(moment)
        self._pass = None
        return record

    def _recompute(self, index: int, tensors: Tensors) -> None:
        assert self._pass is not None
        if index == INPUT:
            self.values.put(self.program.input_name, self._pass.x)
            return
        kernel = self.again[index]
        with self._pass.same_numbers(index):
            kernel.forward(tensors, self._pass.mode, keep=kernel.op.name in self.wanted)

    def _clear(self, moment: int) -> Sequence[Call]:
        calls = [picture.clear_border for picture in self.buffers.cleared.get(moment, ())]
        for call in calls:
            call()
        return calls

    def _release(self, moment: int) -> None:
        """Lets go of what no kernel reads after this moment."""
        for name in self.timeline.releases.get(moment, ()):
            self.values.loose.pop(name, None)


class _Record:
    """The calls of a pass that was nothing but calls.

    They are made again, one after the other, where what decides on them is given once more: the very same
    objects, or sets of the same names. A record of nothing is never repeated.
    """

    def __init__(self, *given: object) -> None:
        self._given = given
        self._calls: list[Call] | None = [] if given else None

    def add(self, calls: Sequence[Call] | None) -> None:
        """What was done next; None for something else than calls."""
        if calls is None:
            self._calls = None
        elif self._calls is not None:
            self._calls += calls

    def repeat(self, *given: object) -> bool:
        """Whether this is the same pass, which has then been made again."""
        if self._calls is None or not all(map(_same, given, self._given)):
            return False
        for call in self._calls:
            call()
        return True


def _same(one: object, other: object) -> bool:
    return one == other if isinstance(one, frozenset) else one is other


class _Pass:
    """What has to be known of a forward pass to compute parts of it again."""

    def __init__(self, x: Tensor, mode: Mode) -> None:
        self.x, self.mode = x, mode
        self._states: dict[int, Tensor] = {}

    def remember(self, index: int, op: Op) -> None:
        """Where the random numbers stand before an operation that may draw some."""
        if self.mode.training and isinstance(op, LayerOp) and op.layer.is_modal():
            self._states[index] = self._generator.get_state()

    @contextmanager
    def same_numbers(self, index: int) -> Iterator[None]:
        """The random numbers that operation `index` drew; those to come are the same afterwards."""
        state = self._states.pop(index, None)
        if state is None:
            yield
            return
        now = self._generator.get_state()
        self._generator.set_state(state)
        try:
            yield
        finally:
            self._generator.set_state(now)

    @property
    def _generator(self) -> Generator:
        return self.mode.generator or torch.default_generator


def _planned(
    role: str, name: str, shape: tuple[int, ...], kind: dtype, request: Picture | Scratch
) -> PlannedBuffer:
    return PlannedBuffer(
        role=role, of=name, shape=shape, dtype=str(kind).removeprefix("torch."), first=request.first,
        last=request.last, spans=request.spans, offset=request.offset, bytes=prod(shape) * kind.itemsize,
    )  # fmt: skip


NONE: Pads = (0, 0, 0, 0)


def _pads(maps: tuple[AxisMap, AxisMap], size: tuple[int, ...], out: tuple[int, ...]) -> Pads:
    return pads_for(maps, (size[0], size[1]), (out[0], out[1]))


def _widen(pads: dict[str, Pads], name: str, more: Pads) -> None:
    a, b = pads.get(name, NONE), more
    pads[name] = max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])
