"""A whole training step as one pure function: forward, loss, backward and the optimiser's update.

In: an optimised program. Out: a function of parameters, optimiser state, buffers and a batch that returns new
tensors and changes none, for a compiler to fuse. What differs from step to step comes in tensors, so that
nothing has to be compiled again.
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
from n2nspec.runtime.compiled.functions import Convolution, Function, LayerFunction, MaxPooling

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

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
        *, kind: dtype, place: device,
    ) -> None:  # fmt: skip
        self.program, self.shapes = program, shapes
        self.loss, self.optimizer, self.mode = loss, optimizer, mode
        self.wanted: set[str] = set()
        self.functions: list[tuple[Op, Weights | None, Function]] = []
        for op in program.ops:
            weights: Weights | None = getattr(op, "weights", None)
            own = _own(weights, shapes.get(weights.owner, {})) if weights else {}
            needs = tuple(name in self.wanted for name in op.inputs)
            if own or any(needs):
                self.wanted.add(op.name)
            self.functions.append((op, weights, self._function(op, own, needs, kind, place)))

    def _function(
        self, op: Op, own: Mapping[str, tuple[int, ...]], needs: tuple[bool, ...], kind: dtype, place: device
    ) -> Function:
        if isinstance(op, ConvOp):
            height, width = own["weight"][2:]
            return Convolution(op, self.program, (height, width), needs, kind=kind, place=place)
        if isinstance(op, PoolOp):
            height, width = self.program.shapes[op.inputs[0]][2:]
            return MaxPooling(op, (height, width))
        assert isinstance(op, LayerOp)
        return LayerFunction(op, Needs(inputs=needs, parameters=bool(own)))

    def __call__(
        self, parameters: Tensor, state: Mapping[str, Tensor], buffers: Buffers, x: Tensor, target: Tensor,
        factors: Tensor,
    ) -> Result:  # fmt: skip
        """One step from flat `parameters` and `state`; `factors` are `OptimizerSpec.factors`."""
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
            values[op.name], saved[op.name], updates = function.forward(own, xs, self.mode)
            for key, value in updates.items():
                assert weights
                changed.setdefault(weights.node, {})[weights.prefix + key] = value

        loss, kept = self.loss.forward(values[self.program.output], target)
        gradients = {self.program.output: self.loss.backward(kept, torch.ones_like(loss))}
        sums: dict[tuple[str, str], Tensor] = {}
        for op, weights, function in reversed(self.functions):
            if op.name not in self.wanted:
                continue
            gxs, gparams = function.backward(given[op.name], saved[op.name], gradients[op.name])
            for name, gx in zip(op.inputs, gxs, strict=True):
                if name in self.wanted:
                    assert gx is not None
                    _add(gradients, name, gx)
            for key, gradient in gparams.items():
                assert weights
                _add(sums, (weights.owner, weights.prefix + key), gradient)
        flat = torch.cat([sums[node, key].flatten() for node, keys in self.shapes.items() for key in keys])
        return Result(loss, *self.optimizer.updated(parameters, flat, state, factors), flat, changed)

    def _views(self, flat: Tensor) -> dict[str, dict[str, Tensor]]:
        sizes = [prod(shape) for own in self.shapes.values() for shape in own.values()]
        parts = iter(torch.split(flat, sizes))
        return {
            node: {name: next(parts).view(shape) for name, shape in own.items()}
            for node, own in self.shapes.items()
        }


def _own(weights: Weights, named: Mapping[str, Any]) -> dict[str, Any]:
    """Those that an operation uses, by the layer's own names."""
    prefix = weights.prefix
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}


def _add(sums: dict[Any, Tensor], name: Any, gradient: Tensor) -> None:
    sums[name] = sums[name] + gradient if name in sums else gradient
