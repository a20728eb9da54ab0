"""A program with its kernels and buffers, for one input shape.

In: an optimised program, and which gradients are wanted. Out: forward and backward passes that reuse the same
memory at every call.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from n2nspec.compiler.correlation import AxisMap
from n2nspec.compiler.plan import PlannedBuffer
from n2nspec.compiler.program import ConvOp, LayerOp, Op, PoolOp, Program
from n2nspec.graph import ShapedGraph
from n2nspec.layers._base import Mode, Needs
from n2nspec.runtime.optimized.buffers import Buffers, Picture, Scratch
from n2nspec.runtime.optimized.correlate import pads_for
from n2nspec.runtime.optimized.kernels import ConvKernel, Kernel, LayerKernel, PoolKernel, Values

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

__all__ = ["Instance"]

Pads = tuple[int, int, int, int]
Tensors = Mapping[str, Mapping[str, "Tensor"]]


class Instance:
    """Kernels and buffers for one input shape.

    Args:
        parameters: their shapes, by owner and name.
        backward: whether backward passes will be asked for, and `input_gradient` whether that of the input.
    """

    def __init__(
        self, program: Program, graph: ShapedGraph, parameters: Mapping[str, Mapping[str, tuple[int, ...]]],
        *, kind: dtype, place: device, backward: bool, input_gradient: bool, keep_columns: bool = True,
    ) -> None:  # fmt: skip
        self.program = program
        self.values = Values()
        self.buffers = Buffers(kind, place)
        ops = program.ops
        count = len(ops)
        wanted = {program.input_name} if input_gradient else set()
        for op in ops:
            weights = getattr(op, "weights", None)
            owned = weights is not None and any(
                name.startswith(weights.prefix) for name in parameters.get(weights.owner, {})
            )
            if owned or any(name in wanted for name in op.inputs):
                wanted.add(op.name)
        self.wanted = wanted if backward else set()
        made = {program.input_name: 0, **{op.name: index for index, op in enumerate(ops)}}
        after = {op.name: 2 * count - index for index, op in enumerate(ops)}  # when its backward runs
        last = {name: made[name] for name in made}
        pictured: set[str] = set()
        pads: dict[str, Pads] = {}
        gradient_pads: dict[str, Pads] = {}
        for index, op in enumerate(ops):
            fused = isinstance(op, (ConvOp, PoolOp))
            if fused:
                pictured |= {op.name, *op.inputs}
            for name in op.inputs:
                saves = op.name in self.wanted and fused
                last[name] = max(last[name], after[op.name] if saves else index)
            if op.name in self.wanted and fused:
                last[op.name] = max(last[op.name], after[op.name])
            if isinstance(op, ConvOp):
                for source in op.sources:
                    size, out = program.shapes[source.value][-2:], op.shape[-2:]
                    _widen(pads, source.value, _pads(source.maps, size, out))
                    if op.name in self.wanted and (
                        source.value in self.wanted or not ConvKernel.from_input(source, False)
                    ):
                        adjoint = source.maps[0].adjoint(), source.maps[1].adjoint()
                        _widen(gradient_pads, op.name, _pads(adjoint, out, size))
        last[program.output] = 2 * count + 1
        for op in ops:
            if isinstance(op, LayerOp) and op.name in self.wanted:  # it may keep any input or its output
                for name in (*op.inputs, op.name):
                    last[name] = max(last[name], after[op.name])
        # A layer may hand on a view, of its input or of its gradient: one lives as long as the other.
        for op in reversed(ops):
            if isinstance(op, LayerOp) and op.name not in pictured:
                for name in op.inputs:
                    last[name] = max(last[name], last[op.name])
        dies = {program.input_name: 2 * count + 1}
        for op in ops:
            views = [dies[name] for name in op.inputs if isinstance(op, LayerOp) and name not in pictured]
            dies[op.name] = max([after[op.name], *views])
        for name in (value for value in made if value in pictured):
            shape = program.shapes[name]
            until = last[name]
            self.values.pictures[name] = self.buffers.picture(shape, pads.get(name, NONE), made[name], until)
            if name in self.wanted:
                readers = [after[op.name] for op in program.readers[name] if op.name in self.wanted]
                born = min(readers, default=count) if name != program.output else count
                self.values.gradient_pictures[name] = self.buffers.picture(
                    shape, gradient_pads.get(name, NONE), born, dies[name]
                )
        self.kernels = [
            self._kernel(op, index, after[op.name], graph, parameters, keep_columns)
            for index, op in enumerate(ops)
        ]
        self.buffers.allocate()
        for kernel in self.kernels:
            kernel.bind()

    def _kernel(
        self, op: Op, now: int, then: int, graph: ShapedGraph,
        parameters: Mapping[str, Mapping[str, tuple[int, ...]]], keep_columns: bool,
    ) -> Kernel:  # fmt: skip
        self.buffers.owner = op.name
        needs = tuple(name in self.wanted for name in op.inputs)
        backward = op.name in self.wanted
        if isinstance(op, ConvOp):
            shape = parameters[op.weights.owner][f"{op.weights.prefix}weight"]
            return ConvKernel(
                op, self.values, self.buffers, (shape[2], shape[3]), now, then if backward else None,
                needs_inputs=needs, keep_columns=keep_columns,
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

    def forward(self, tensors: Tensors, x: Tensor, mode: Mode) -> Tensor:
        """The output, in a buffer that the next call overwrites."""
        self.values.forget()
        self.values.put(self.program.input_name, x)
        for kernel in self.kernels:
            kernel.forward(tensors, mode, keep=kernel.op.name in self.wanted)
        return self.values.nchw(self.program.output)

    @property
    def changed(self) -> dict[str, dict[str, Tensor]]:
        """The buffers of layers that the newest forward pass changed, by node."""
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

    def backward(self, tensors: Tensors, gradients: Tensors) -> None:
        """Adds to the parameters' gradients, once the output's stands in its place."""
        for kernel in reversed(self.kernels):
            if kernel.op.name in self.wanted:
                kernel.backward(tensors, gradients)


def _planned(
    role: str, name: str, shape: tuple[int, ...], kind: dtype, request: Picture | Scratch
) -> PlannedBuffer:
    return PlannedBuffer(
        role=role, of=name, shape=shape, dtype=str(kind).removeprefix("torch."), first=request.first,
        last=request.last, offset=request.offset, bytes=prod(shape) * kind.itemsize,
    )  # fmt: skip


NONE: Pads = (0, 0, 0, 0)


def _pads(maps: tuple[AxisMap, AxisMap], size: tuple[int, ...], out: tuple[int, ...]) -> Pads:
    return pads_for(maps, (size[0], size[1]), (out[0], out[1]))


def _widen(pads: dict[str, Pads], name: str, more: Pads) -> None:
    a, b = pads.get(name, NONE), more
    pads[name] = max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])
