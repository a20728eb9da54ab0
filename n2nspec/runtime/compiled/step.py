"""A whole training step as one pure function: forward, loss, backward and the optimiser's update.

In: an optimised program. Out: a function of parameters, optimiser state, buffers and a batch that returns new
tensors and changes none, for a compiler to fuse; and one that stops at the gradients, for parts of a batch.
What differs from step to step comes in tensors, so that nothing has to be compiled again.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from n2nspec._lazy import torch
from n2nspec.compiler.program import ConvOp, LayerOp, Op, PoolOp, Program, Weights
from n2nspec.layers._base import Mode, Needs
from n2nspec.losses import LossSpec
from n2nspec.optim import OptimizerSpec
from n2nspec.runtime.compiled.functions import (
    Convolution,
    Function,
    LayerFunction,
    MaxPooling,
    multiplies_windows,
)
from n2nspec.runtime.compiled.layout import channels_last
from n2nspec.runtime.compiled.precision import Precision

if TYPE_CHECKING:
    from torch import Tensor, device

__all__ = ["Result", "TrainingStep"]

Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]
Buffers = Mapping[str, Mapping[str, "Tensor"]]


class Result(NamedTuple):
    """What a step gives: all of it new tensors, `gradient`, `parameters` and `state` flat."""

    loss: Tensor
    parameters: Tensor
    state: dict[str, Tensor]
    gradient: Tensor
    buffers: dict[str, dict[str, Tensor]]
    """Those that changed, by node."""


class TrainingStep:
    """The step of one program.

    Args:
        shapes: of the parameters that the step changes, by owner and name, in the order of the flat tensors.
    """

    def __init__(
        self, program: Program, shapes: Shapes, loss: LossSpec, optimizer: OptimizerSpec, mode: Mode,
        *, precision: Precision, place: device,
    ) -> None:  # fmt: skip
        self.program, self.shapes, self.precision = program, shapes, precision
        self.loss, self.optimizer, self.mode = loss, optimizer, mode
        self.wanted: set[str] = set()
        self.kept: set[str] = set()  # values that are multiplied as they are
        owned: dict[str, dict[str, tuple[int, ...]]] = {}
        for op in program.ops:
            weights = _weights(op)
            owned[op.name] = _own(weights, shapes.get(weights.owner, {})) if weights else {}
            if owned[op.name] or not self.wanted.isdisjoint(op.inputs):
                self.wanted.add(op.name)
            if isinstance(op, ConvOp):
                self.kept.update(
                    source.value
                    for source in op.sources
                    if not multiplies_windows(source, source.value in self.wanted)
                )
        self.functions: list[tuple[Op, Weights | None, Function]] = [
            (op, _weights(op), self._function(op, owned[op.name], place)) for op in program.ops
        ]

    def _function(self, op: Op, own: Mapping[str, tuple[int, ...]], place: device) -> Function:
        needs = tuple(name in self.wanted for name in op.inputs)
        if isinstance(op, ConvOp):
            height, width = own["weight"][2:]
            kept = op.name in self.kept
            return Convolution(
                op, self.program, (height, width), needs, kept=kept, precision=self.precision, place=place
            )
        if isinstance(op, PoolOp):
            height, width = self.program.shapes[op.inputs[0]][2:]
            return MaxPooling(op, (height, width))
        assert isinstance(op, LayerOp)
        return LayerFunction(op, Needs(inputs=needs, parameters=bool(own)), self.precision.full)

    def __call__(
        self, parameters: Tensor, x: Tensor, target: Tensor, state: Mapping[str, Tensor], buffers: Buffers,
        factors: Tensor,
    ) -> Result:  # fmt: skip
        """One step from flat `parameters` and `state`; `factors` are `OptimizerSpec.factors`."""
        loss, flat, changed = self._gradients(parameters, buffers, x, target, None)
        return Result(loss, *self.optimizer.updated(parameters, flat, state, factors), flat, changed)

    def part(self, parameters: Tensor, x: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of a part of a batch, and the flat gradient of `weight` times it."""
        loss, flat, _ = self._gradients(parameters, {}, x, target, weight)
        return loss, flat

    def _gradients(
        self, parameters: Tensor, buffers: Buffers, x: Tensor, target: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor, dict[str, dict[str, Tensor]]]:
        """The loss, the flat gradient of it (of `weight` times it), and the buffers that changed."""
        low = self.precision.low
        views = self._views(parameters)
        values = {self.program.input_name: x}
        saved: dict[str, Any] = {}
        given: dict[str, dict[str, Tensor]] = {}
        changed: dict[str, dict[str, Tensor]] = {}
        for op, weights, function in self.functions:
            own: dict[str, Tensor] = {}
            given[op.name] = own
            if weights:
                own |= _own(weights, views.get(weights.owner, {}))
                own |= _own(weights, buffers.get(weights.node, {}))
            xs = [values[name] for name in op.inputs]
            value, saved[op.name], updates = function.forward(own, xs, self.mode)
            if op.name != self.program.output:  # what the loss sees is not rounded
                value = value.to(low)
            values[op.name] = channels_last(value) if op.name in self.kept else value
            for key, value in updates.items():
                assert weights
                changed.setdefault(weights.node, {})[weights.prefix + key] = value

        if target.dim() == 4:  # it meets values in that order
            target = channels_last(target)
        loss, kept = self.loss.forward(values[self.program.output], target)
        slope = torch.ones_like(loss) if weight is None else weight
        gradients = {self.program.output: self.loss.backward(kept, slope)}
        sums: dict[tuple[str, str], Tensor] = {}
        for op, weights, function in reversed(self.functions):
            if op.name not in self.wanted:
                continue
            gxs, gparams = function.backward(given[op.name], saved[op.name], gradients[op.name])
            for name, gx in zip(op.inputs, gxs, strict=True):
                if name in self.wanted:
                    assert gx is not None
                    _add(gradients, name, gx.to(low))
            for key, gradient in gparams.items():
                assert weights
                _add(sums, (weights.owner, weights.prefix + key), gradient)
        flat = torch.cat([sums[node, key].flatten() for node, keys in self.shapes.items() for key in keys])
        return loss, flat, changed

    def _views(self, flat: Tensor) -> dict[str, dict[str, Tensor]]:
        sizes = [prod(shape) for own in self.shapes.values() for shape in own.values()]
        parts = iter(torch.split(flat, sizes))
        return {
            node: {name: next(parts).view(shape) for name, shape in own.items()}
            for node, own in self.shapes.items()
        }


def _weights(op: Op) -> Weights | None:
    return getattr(op, "weights", None)


def _own(weights: Weights, named: Mapping[str, Any]) -> dict[str, Any]:
    """Those that an operation uses, by the layer's own names."""
    prefix = weights.prefix
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}


def _add(sums: dict[Any, Tensor], name: Any, gradient: Tensor) -> None:
    sums[name] = sums[name] + gradient if name in sums else gradient
