"""Convolutions on planned buffers: a list of calls forward and one backward, made once and run at every step.

In: a convolution of a program, and the pictures of the values around it. Out: `ConvKernel`. All memory stays
where it is, so that every view of it is made once, when the kernel is bound to its memory and when the
parameters have moved; a step then does nothing but call torch's operators.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import inf, prod
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.compiler.lowering import Lowerings, usual
from n2nspec.compiler.program import Activation, ConvOp
from n2nspec.layers._base import Mode
from n2nspec.runtime.optimized.buffers import Buffers, Scratch
from n2nspec.runtime.optimized.correlate import Correlation
from n2nspec.runtime.optimized.kernels import Call, Kernel, Values
from n2nspec.runtime.optimized.sources import Backward, Forward, from_input
from n2nspec.runtime.optimized.tiling import Tile, tiles

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ConvKernel"]

Tensors = Mapping[str, Mapping[str, "Tensor"]]

BESIDE = 16
"""Numbers that fill a vector unit: pixels of fewer channels are summed several at a time."""


class ConvKernel(Kernel):
    """Convolutions of one or more sources, bias and activation.

    Backward builds the windows of the output's gradient once and multiplies them twice: by the flipped
    kernels for the input's gradient, and by the input for the weights'. Only where the stride is more than 1,
    or nobody wants the input's gradient, the weights' comes from the windows of the input.
    """

    op: ConvOp

    def __init__(
        self, op: ConvOp, values: Values, buffers: Buffers, kernel: tuple[int, int], now: int,
        then: int | None, *, needs_inputs: tuple[bool, ...], keep_columns: bool,
        lowerings: Lowerings,
    ) -> None:  # fmt: skip
        self.op, self.values = op, values
        n, outputs, height, width = op.shape
        self.out = values.pictures[op.name]
        channels = [values.pictures[source.value].stored for source in op.sources]
        ways = [
            lowerings.get((op.name, index)) or usual(source, stored, self.out.stored)
            for index, (source, stored) in enumerate(zip(op.sources, channels, strict=True))
        ]
        self.forwards = [
            Forward(
                op, source, index, values, buffers, kernel, now,
                then if then is not None and from_input(source, needed) else None, keep_columns,
                way.forward, last=index == len(op.sources) - 1,
            )
            for index, (source, needed, way) in enumerate(zip(op.sources, needs_inputs, ways, strict=True))
        ]  # fmt: skip
        first = self.forwards[0]
        several = len(self.forwards) > 1
        self.in_place = several if first.correlation.scale > 1 else first.scratch is None
        """Whether the value before its activation stands where the value belongs."""
        activation = op.activation
        self.bias: Tensor | None = None
        """For each phase and stored channel, where it has to be made; what is not there stays 0. For as many
        windows as fill a vector unit."""
        extra = self.out.stored != outputs
        scale = first.correlation.scale
        beside = max(1, BESIDE // (scale * self.out.stored))
        if extra or (op.bias and (scale > 1 or beside > 1)):
            nothing = -inf if extra and activation and activation.kind == "sigmoid" else 0.0
            shape = beside, scale, self.out.stored
            self.bias = torch.full(shape, nothing, dtype=buffers.dtype, device=buffers.device)
            self.bias[..., :outputs] = 0.0
        itemsize = buffers.dtype.itemsize
        self.tiles = tiles(n, height, 3 * width * self.out.stored * itemsize)
        """Of the value, where activations are not done to those of a product."""
        last = self.forwards[-1].correlation
        finished = last.tiles if last.scale == 1 else self.tiles
        self.scaled: Scratch | None = None
        if activation and activation.kind == "leaky_relu" and self.in_place:
            most = max(tile.rows for tile in finished)
            self.scaled = buffers.scratch((most * width * self.out.stored,), now, now)
        self.bound_to: Tensor | None = None
        """The weights that the calls of the forward pass were made for; below, those of the backward pass."""
        self.backwards: list[Backward] = []
        if then is None:
            return
        gradient = self.gradient = values.gradient_pictures[op.name]
        self.backwards = [
            Backward(source, forward, values, buffers, kernel, gradient, then, way.backward, needed=needed)
            for source, forward, needed, way in zip(
                op.sources, self.forwards, needs_inputs, ways, strict=True
            )
        ]
        self.copy = None
        owning = [part.forward.correlation for part in self.backwards if part.own]
        if not gradient.bare and owning:
            rows = max(correlation.passing_rows for correlation in owning)
            self.copy = buffers.scratch((rows, gradient.stored), then, then)
        self.slope: Scratch | None = None
        if activation and activation.kind != "sigmoid":
            # it has served before these are filled
            later = [self.copy, *(scratch for part in self.backwards for scratch in part.scratches)]
            numbers = max(tile.rows for tile in self.tiles) * width * gradient.stored
            large = [scratch for scratch in later if scratch and prod(scratch.shape) >= numbers]
            self.slope = large[0] if large else buffers.scratch((numbers,), then, then)
        pixels = prod(gradient.storage_shape[:3])
        self.beside = next(k for k in range(max(1, BESIDE // gradient.stored), 0, -1) if pixels % k == 0)
        """So many pixels are summed side by side."""
        self.sums = buffers.scratch((self.beside + 1, gradient.stored), then, then)
        self.backward_bound_to: tuple[Tensor, Tensor] | None = None

    @property
    def shifts(self) -> tuple[bool, bool]:
        """Whether the first source's pixels are shifted forward, and backward; else windows are copied."""
        backward = self.backwards[0].correlation if self.backwards else None
        return self.forwards[0].correlation.shifted, backward is not None and backward.shifted

    def bind(self) -> None:
        for forward in self.forwards:
            forward.bind()
        for backward in self.backwards:
            backward.bind()

    def _weights(self, tensors: Tensors, owner: str) -> tuple[Tensor, Tensor | None]:
        """The kernel as it is kept, and the bias."""
        weights = self.op.weights
        given = tensors[owner]
        return given[f"{weights.prefix}weight"], given[f"{weights.prefix}bias"] if self.op.bias else None

    def _parts(self, weight: Tensor) -> Iterator[Tensor]:
        """The kernel as (kH, kW, C, O), source by source."""
        order = (2, 3, 0, 1) if self.op.transposed else (2, 3, 1, 0)
        w, start = weight.permute(order), 0
        for source in self.op.sources:
            yield w[:, :, start : start + source.channels]
            start += source.channels

    def forward(self, tensors: Tensors, mode: Mode, *, keep: bool) -> Sequence[Call]:
        weight, bias = self._weights(tensors, self.op.weights.node)
        if self.bound_to is not weight:
            self.bound_to = weight
            with torch.inference_mode(False):  # what is made in that mode cannot be changed outside it
                self.filling = list(self._filling(weight, bias))
                self.forward_calls = list(self._forward_calls(bias))
        calls = self.forward_calls if self.values.settled else self.filling + self.forward_calls
        for call in calls:
            call()
        return calls

    def _filling(self, weight: Tensor, bias: Tensor | None) -> Iterator[Call]:
        """Puts the parameters where they are multiplied from, and added from."""
        for part, forward in zip(self._parts(weight), self.forwards, strict=True):
            yield from forward.matrix.filled(part)
        if self.bias is not None and bias is not None:
            yield partial(self.bias[..., : self.op.shape[1]].copy_, bias)

    def _forward_calls(self, bias: Tensor | None) -> Iterator[Call]:
        added = bias if self.bias is None else self.bias.view(-1)
        total: Tensor | None = None  # (N, H, W, O), of the sources so far
        for index, forward in enumerate(self.forwards):
            correlation, product = forward.correlation, forward.product
            last = index == len(self.forwards) - 1
            finish = partial(self._finished, total) if last and correlation.scale == 1 else None
            yield from correlation.multiplied(
                forward.matrix.kernels, product, None if index else added, finish, passing=forward.passing
            )
            if finish:
                return
            if correlation.scale == 1:
                first = correlation.view(product)[:, :, :, 0, 0]
                if total is not None:
                    yield partial(total.add_, first)
                else:
                    total = first
                continue
            phases = list(correlation.phases(product))
            if total is None and len(self.forwards) == 1:
                yield from self._activated_phases(correlation, product, phases)
                return
            put = "copy_" if total is None else "add_"
            total = self.out.whole if total is None else total
            for phase, (rows, columns) in phases:
                yield partial(getattr(total[:, rows, columns], put), phase)
        assert total is not None
        for tile in self.tiles:
            yield from self._activated(tile.of(total), tile.of(self.out.whole))

    def _finished(self, total: Tensor | None, tile: Tile, part: Tensor) -> Iterator[Call]:
        """From a tile of the last source's product, to which the `total` of those before is added."""
        if total is not None:
            value = tile.of(total)
            yield partial(value.add_, part)
            part = value
        yield from self._activated(part, tile.of(self.out.whole))

    def _activated(self, value: Tensor, out: Tensor) -> Iterator[Call]:
        activation = self.op.activation
        value = out if self.in_place else value  # not another view of the same numbers
        if self.scaled is not None and activation is not None:
            scaled = self.scaled.tensor[: value.numel()].view(value.shape)
            yield partial(torch.mul, value, activation.slope, out=scaled)
            yield partial(torch.maximum, value, scaled, out=out)
        elif activation is not None or not self.in_place:
            yield from _activated(activation, value, out)

    def _activated_phases(
        self, correlation: Correlation, product: Tensor, phases: list[tuple[Tensor, tuple[slice, slice]]]
    ) -> Iterator[Call]:
        activation = self.op.activation
        if activation and activation.kind == "sigmoid":  # in one piece, that is faster
            yield partial(torch.sigmoid, product, out=product)
            activation = None
        woven = correlation.woven(product, self.out.whole) if activation is None else None
        if woven is not None:
            yield woven
            return
        for part, (rows, columns) in phases:
            out = self.out.whole[:, rows, columns]
            yield from _activated(activation, part, out)

    def backward(self, tensors: Tensors, gradients: Tensors) -> Sequence[Call]:
        weight, _ = self._weights(tensors, self.op.weights.node)
        gw, gb = self._weights(gradients, self.op.weights.owner)
        bound_to = self.backward_bound_to
        if bound_to is None or bound_to[0] is not weight or bound_to[1] is not gw:
            self.backward_bound_to = weight, gw
            with torch.inference_mode(False):
                self._bind_backward(weight, gw, gb)
        calls = [] if self.op.name in self.values.joined else list(self.activation_calls)
        calls += self.first_calls
        for part in self.backwards:
            calls += [] if self.values.settled else part.filling
            calls += part.calls[part.target is not None and self.values.first(part.target)]
        for call in calls:
            call()
        return calls

    def _bind_backward(self, weight: Tensor, gw: Tensor, gb: Tensor | None) -> None:
        picture = self.gradient
        self.activation_calls = list(self._before_activation())
        self.first_calls: list[Call] = []
        matrix = self.copy.tensor if self.copy else picture.matrix if picture.bare else None
        if gb is not None:  # the border is zero
            sums, total = self.sums.tensor[:-1], self.sums.tensor[-1]
            wide = picture.matrix.view(-1, sums.numel())
            self.first_calls.append(partial(torch.sum, wide, 0, out=sums.view(-1)))
            if self.beside > 1:
                self.first_calls.append(partial(torch.sum, sums, 0, out=total))
            else:
                total = sums[0]
            self.first_calls.append(partial(gb.add_, total[: self.op.shape[1]]))
        for part, w, g in zip(self.backwards, self._parts(weight), self._parts(gw), strict=True):
            part.bind_weights(w, g, matrix)

    def _before_activation(self) -> Iterator[Call]:
        """Turns the gradient of the value into that before the activation, in place."""
        activation = self.op.activation
        if activation is None:
            return
        spare = self.gradient.whole[..., self.op.shape[1] :]
        if spare.numel():  # a NaN may have got there, and would stay
            yield spare.zero_
        for tile in self.tiles:
            gy, y = tile.of(self.gradient.whole), tile.of(self.out.whole)
            if activation.kind == "sigmoid":
                yield partial(gy.mul_, y)
                yield partial(gy.addcmul_, gy, y, value=-1)
                continue
            assert self.slope is not None
            slope = self.slope.tensor.view(-1)[: gy.numel()].view(gy.shape)
            # 1, 0 or -1, as numbers: ten times as fast as a choice by a mask; a relu's value is not negative
            yield partial(torch.sign, y, out=slope)
            if activation.kind != "relu":
                yield partial(slope.clamp_, min=activation.slope)
            yield partial(gy.mul_, slope)


def _activated(activation: Activation | None, value: Tensor, out: Tensor) -> Iterator[Call]:
    """Puts the activation of `value` into `out`, memory of its own unless the activation is one call."""
    if activation is None:
        yield partial(out.copy_, value)
    elif activation.kind == "relu":
        yield partial(torch.clamp, value, min=0, out=out)
    elif activation.kind == "sigmoid":
        yield partial(torch.sigmoid, value, out=out)
    else:
        yield partial(torch.mul, value, activation.slope, out=out)
        yield partial(torch.maximum, out, value, out=out)
