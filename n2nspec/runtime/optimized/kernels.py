"""Kernels: each runs one operation of a program, forward and backward, on planned buffers.

In: an operation, and the buffers of the values around it. Out: `forward` fills the value's buffer, `backward`
turns the gradient of the value into those of inputs and parameters. After the first step nothing is allocated
by convolutions, activations and pooling; operations without a kernel of their own run a layer's functions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from n2nspec._lazy import torch
from n2nspec.compiler.program import LayerOp, Op, PoolOp
from n2nspec.layers._base import Mode, Needs, run
from n2nspec.runtime.optimized.buffers import Buffers, Picture
from n2nspec.runtime.optimized.tiling import tiles

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Call", "Kernel", "LayerKernel", "PoolKernel", "Values"]

Call = Callable[[], object]
"""One operator on its arguments, which are all there."""

Tensors = Mapping[str, Mapping[str, "Tensor"]]


class Values:
    """The values of a program and their gradients: pictures where a kernel needs one, else loose tensors.

    The first gradient that reaches a value is written, later ones are added; `written` keeps count.
    """

    def __init__(self) -> None:
        self.pictures: dict[str, Picture] = {}
        self.gradient_pictures: dict[str, Picture] = {}
        self.loose: dict[str, Tensor] = {}
        self.loose_gradients: dict[str, Tensor] = {}
        self.written: set[str] = set()
        self.joined: set[str] = set()
        """Those whose gradient is that before the activation already."""
        self.settled = False
        """Whether parameters are still what they were in the pass before, of the same kind."""

    def nchw(self, name: str) -> Tensor:
        """A value as layers expect it."""
        if name in self.loose:
            return self.loose[name]
        return self.pictures[name].nchw

    def put(self, name: str, value: Tensor) -> None:
        """Keeps a value that a layer made."""
        if name in self.pictures:
            self.pictures[name].nchw.copy_(value)
        else:
            self.loose[name] = value

    def gradient(self, name: str) -> Tensor:
        """The gradient of a value, (N, C, H, W)."""
        if name in self.gradient_pictures:
            return self.gradient_pictures[name].nchw
        return self.loose_gradients[name]

    def add_gradient(self, name: str, gradient: Tensor) -> None:
        """Adds to the gradient of a value."""
        if name in self.gradient_pictures:
            target = self.gradient_pictures[name].nchw
            if name in self.written:
                target.add_(gradient)
            else:
                target.copy_(gradient)
        elif name in self.written:
            self.loose_gradients[name] = self.loose_gradients[name] + gradient
        else:
            self.loose_gradients[name] = gradient
        self.written.add(name)

    def forget(self) -> None:
        """Lets go of the tensors that are no buffers."""
        self.loose.clear()
        self.loose_gradients.clear()

    def first(self, name: str) -> bool:
        """Whether this is the first gradient for a value; from now on it is not."""
        fresh = name not in self.written
        self.written.add(name)
        return fresh


class Kernel(ABC):
    """Runs one operation.

    Both passes return the calls that they were, if they were nothing else: made again they do the same, as
    long as parameters and gradients stay where they are.
    """

    op: Op

    def bind(self) -> None:  # noqa: B027  most have no views to make
        """Makes views of the buffers, once memory is there."""

    @abstractmethod
    def forward(self, tensors: Tensors, mode: Mode, *, keep: bool) -> Sequence[Call] | None:
        """Computes the value from its inputs."""

    @abstractmethod
    def backward(self, tensors: Tensors, gradients: Tensors) -> Sequence[Call] | None:
        """Adds to the gradients of inputs and parameters, given the gradient of the value."""


class LayerKernel(Kernel):
    """Any layer, by its pure functions."""

    op: LayerOp

    def __init__(self, op: LayerOp, values: Values, needs: Needs) -> None:
        self.op, self.values, self.needs = op, values, needs
        self.saved: Any = None
        self.changed: dict[str, Tensor] = {}

    def _tensors(self, tensors: Tensors) -> dict[str, Tensor]:
        weights = self.op.weights
        if weights is None:
            return {}
        given = tensors[weights.node]
        return {
            name.removeprefix(weights.prefix): t
            for name, t in given.items()
            if name.startswith(weights.prefix)
        }

    def forward(self, tensors: Tensors, mode: Mode, *, keep: bool) -> None:
        xs = tuple(self.values.nchw(name) for name in self.op.inputs)
        if mode.training and self.op.layer.is_modal():  # random numbers are drawn in the order of memory
            xs = tuple(x.contiguous() for x in xs)
        y, saved, self.changed = run(self.op.layer, self._tensors(tensors), xs, mode)
        self.saved = saved if keep else None
        self.values.put(self.op.name, y)

    def backward(self, tensors: Tensors, gradients: Tensors) -> None:
        gy = self.values.gradient(self.op.name)
        gxs, gparams = self.op.layer.backward(self._tensors(tensors), self.saved, gy, self.needs)
        self.saved = None
        weights = self.op.weights
        for key, gradient in gparams.items():
            assert weights is not None
            gradients[weights.owner][weights.prefix + key].add_(gradient)
        for name, needed, gx in zip(self.op.inputs, self.needs.inputs, gxs, strict=True):
            if needed:
                assert gx is not None
                # a layer may hand on the very gradient it was given, which lives in a buffer
                self.values.add_gradient(name, gx)


class PoolKernel(Kernel):
    """Max-pooling with windows side by side; of equal numbers the first one counts, as in torch."""

    op: PoolOp

    def __init__(
        self, op: PoolOp, values: Values, buffers: Buffers, now: int, then: int, *, needs_input: bool
    ) -> None:
        self.op, self.values = op, values
        self.source = op.inputs[0]
        n, c, h, w = op.shape
        self.needs_input = needs_input
        self.tiles = tiles(n, h, (prod(op.window) + 3) * w * c * buffers.dtype.itemsize)
        if needs_input:
            most = max(tile.rows for tile in self.tiles) * w * c
            self.equal = buffers.scratch((most,), then, then)
            self.chosen = buffers.scratch((most,), then, then)

    def bind(self) -> None:
        corners = self._corners(self.values.pictures[self.source].inside)
        y = self.values.pictures[self.op.name].inside
        self._maxima = [(tile.of(y), [tile.of(x) for x in corners]) for tile in self.tiles]
        if not self.needs_input:
            return
        self.whole = self.values.gradient_pictures[self.source].inside
        gy, gx = self.values.gradient_pictures[self.op.name].inside, self._corners(self.whole)
        covered = self.op.shape[2] * self.op.window[0], self.op.shape[3] * self.op.window[1]
        self.rest = covered != tuple(self.whole.shape[1:3])
        self._gradients = [(tile.of(gy), [tile.of(part) for part in gx]) for tile in self.tiles]

    def _corners(self, picture: Tensor) -> list[Tensor]:
        """For each place in a window, in rows, the pixels there: (N, H, W, C) views."""
        (k_h, k_w), (h, w) = self.op.window, self.op.shape[2:]
        return [
            picture[:, i : i + k_h * (h - 1) + 1 : k_h, j : j + k_w * (w - 1) + 1 : k_w]
            for i in range(k_h)
            for j in range(k_w)
        ]

    def forward(self, tensors: Tensors, mode: Mode, *, keep: bool) -> None:
        for y, (first, *others) in self._maxima:
            if not others:
                y.copy_(first)
            for index, corner in enumerate(others):
                torch.maximum(y if index else first, corner, out=y)

    def backward(self, tensors: Tensors, gradients: Tensors) -> None:
        if not self.needs_input:
            return
        fresh = self.values.first(self.source)
        if fresh and self.rest:
            self.whole.zero_()
        for (y, xs), (gy, gxs) in zip(self._maxima, self._gradients, strict=True):
            equal, chosen = (
                scratch.tensor[: y.numel()].view(y.shape) for scratch in (self.equal, self.chosen)
            )
            for x, gx in zip(xs[:-1], gxs, strict=False):
                torch.eq(x, y, out=equal)  # 1 or 0, as numbers: twice as fast as any choice by a mask
                torch.mul(gy, equal, out=chosen)
                gy.sub_(chosen)  # given away; nobody reads it after this
                _put(gx, chosen, fresh=fresh)
            _put(gxs[-1], gy, fresh=fresh)  # what is left, that of a NaN too, which equals nothing


def _put(to: Tensor, given: Tensor, *, fresh: bool) -> None:
    """Writes the first gradient of a value, adds a later one."""
    if fresh:
        to.copy_(given)
    else:
        to.add_(given)
