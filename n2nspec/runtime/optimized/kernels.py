"""Kernels: each runs one operation of a program, forward and backward, on planned buffers.

In: an operation, and the buffers of the values around it. Out: `forward` fills the value's buffer, `backward`
turns the gradient of the value into those of inputs and parameters. After the first step nothing is allocated
by convolutions, activations and pooling; operations without a kernel of their own run a layer's functions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from n2nspec._lazy import torch
from n2nspec.compiler.program import Activation, ConvOp, LayerOp, Op, PoolOp, Source
from n2nspec.layers._base import Mode, Needs, run
from n2nspec.runtime.optimized.buffers import Buffers, Picture, Scratch
from n2nspec.runtime.optimized.correlate import Correlation, KernelMatrix

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ConvKernel", "Kernel", "LayerKernel", "PoolKernel", "Values"]

Tensors = Mapping[str, Mapping[str, "Tensor"]]

SHIFTED_FORWARD = 16
SHIFTED_BACKWARD = 64
"""Channels from which on shifted pixels beat copied windows; measured, see `Correlation`."""


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
    """Runs one operation."""

    op: Op

    def bind(self) -> None:  # noqa: B027  most have no views to make
        """Makes views of the buffers, once memory is there."""

    @abstractmethod
    def forward(self, tensors: Tensors, mode: Mode, *, keep: bool) -> None:
        """Computes the value from its inputs."""

    @abstractmethod
    def backward(self, tensors: Tensors, gradients: Tensors) -> None:
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
        if needs_input:
            self.equal = buffers.scratch((n, h, w, c), then, then)
            self.chosen = buffers.scratch((n, h, w, c), then, then)

    def bind(self) -> None:
        self.x = self._corners(self.values.pictures[self.source].inside)
        self.y = self.values.pictures[self.op.name].inside
        if self.needs_input:
            self.whole = self.values.gradient_pictures[self.source].inside
            self.gx = self._corners(self.whole)
            self.gy = self.values.gradient_pictures[self.op.name].inside
            covered = self.op.shape[2] * self.op.window[0], self.op.shape[3] * self.op.window[1]
            self.rest = covered != tuple(self.whole.shape[1:3])

    def _corners(self, picture: Tensor) -> list[Tensor]:
        """For each place in a window, in rows, the pixels there: (N, H, W, C) views."""
        (k_h, k_w), (h, w) = self.op.window, self.op.shape[2:]
        return [
            picture[:, i : i + k_h * (h - 1) + 1 : k_h, j : j + k_w * (w - 1) + 1 : k_w]
            for i in range(k_h)
            for j in range(k_w)
        ]

    def forward(self, tensors: Tensors, mode: Mode, *, keep: bool) -> None:
        if len(self.x) == 1:
            self.y.copy_(self.x[0])
            return
        torch.maximum(self.x[0], self.x[1], out=self.y)
        for corner in self.x[2:]:
            torch.maximum(self.y, corner, out=self.y)

    def backward(self, tensors: Tensors, gradients: Tensors) -> None:
        if not self.needs_input:
            return
        first = self.values.first(self.source)
        if first and self.rest:
            self.whole.zero_()
        equal, chosen = self.equal.tensor, self.chosen.tensor
        for x, gx in zip(self.x[:-1], self.gx, strict=False):
            torch.eq(x, self.y, out=equal)  # 1 or 0, as numbers: twice as fast as any choice by a mask
            torch.mul(self.gy, equal, out=chosen)
            self.gy.sub_(chosen)  # given away; nobody reads it after this
            if first:
                gx.copy_(chosen)
            else:
                gx.add_(chosen)
        if first:  # what is left, that of a NaN too, which equals nothing
            self.gx[-1].copy_(self.gy)
        else:
            self.gx[-1].add_(self.gy)


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
    ) -> None:  # fmt: skip
        self.op, self.values = op, values
        n, outputs, height, width = op.shape
        self.needs_inputs = needs_inputs
        self.size = height, width
        self.forwards: list[tuple[Correlation, KernelMatrix]] = []
        self.products: list[Scratch | None] = []
        out = values.pictures[op.name]
        for source, needed in zip(op.sources, needs_inputs, strict=True):
            from_input = then is not None and self.from_input(source, needed)
            x = values.pictures[source.value]
            unit = all(m.stride == 1 for m in source.maps)
            correlation = Correlation(
                buffers, x, source.maps, self.size, outputs, now,
                shifted=unit and not from_input and x.stored >= SHIFTED_FORWARD and self._long(source),
                keep_until=then if from_input and keep_columns else None,
            )  # fmt: skip
            self.forwards.append((correlation, KernelMatrix(buffers, source.maps, kernel, x, outputs, now)))
            at_once = out.contiguous and correlation.scale == 1 and not correlation.shifted
            self.products.append(
                None
                if at_once and not self.forwards[:-1]
                else buffers.scratch((correlation.rows, correlation.scale * outputs), now, now)
            )
        self.backwards: list[tuple[Correlation, KernelMatrix, Scratch, Scratch | None] | None] = []
        self.own: list[KernelMatrix | None] = []
        if then is None:
            return
        gradient = values.gradient_pictures[op.name]
        for source, needed in zip(op.sources, needs_inputs, strict=True):
            adjoint = source.maps[0].adjoint(), source.maps[1].adjoint()
            from_input = self.from_input(source, needed)
            x = values.pictures[source.value]
            self.own.append(
                KernelMatrix(buffers, source.maps, kernel, x, outputs, then) if from_input else None
            )
            if from_input and not needed:
                self.backwards.append(None)
                continue
            same = x.storage_shape[1:3] == gradient.storage_shape[1:3] and x.stored == source.channels
            correlation = Correlation(
                buffers, gradient, adjoint, (x.shape[2], x.shape[3]), source.channels, then,
                shifted=same and not from_input and all(m.stride == 1 for m in adjoint)
                and min(gradient.stored, x.stored) >= SHIFTED_BACKWARD,
            )  # fmt: skip
            correlation.align(x)
            matrix = KernelMatrix(buffers, adjoint, kernel, gradient, source.channels, then)
            product = buffers.scratch((correlation.rows, correlation.scale * source.channels), then, then)
            copy = None
            if not from_input and not x.contiguous and not correlation.shifted:
                copy = buffers.scratch((x.shape[0] * x.shape[2] * x.shape[3], source.channels), then, then)
            self.backwards.append((correlation, matrix, product, copy))
        pixels = n * height * width
        self.copy = None if gradient.contiguous else buffers.scratch((pixels, outputs), then, then)
        self.slope = buffers.scratch((n, height, width, gradient.stored), then, then)
        self.sums = buffers.scratch((gradient.stored,), then, then)

    @staticmethod
    def _long(source: Source) -> bool:
        """Whether there is more than one place in a window; one is a matrix product as it is."""
        return any(m.length > 1 for m in source.maps)

    @staticmethod
    def from_input(source: Source, needed: bool) -> bool:
        """Whether the weights' gradient comes from windows of the input."""
        plain = all(m.scale == 1 for m in source.maps)
        return plain and (not needed or any(m.stride > 1 for m in source.maps))

    def bind(self) -> None:
        for correlation, _ in self.forwards:
            correlation.bind()
        for entry in self.backwards:
            if entry:
                entry[0].bind()

    def _weights(self, tensors: Tensors, owner: str) -> tuple[Tensor, Tensor | None]:
        """The kernel as (kH, kW, C, O), and the bias."""
        weights = self.op.weights
        given = tensors[owner]
        w = given[f"{weights.prefix}weight"]
        w = w.permute(2, 3, 0, 1) if self.op.transposed else w.permute(2, 3, 1, 0)
        return w, given[f"{weights.prefix}bias"] if self.op.bias else None

    def forward(self, tensors: Tensors, mode: Mode, *, keep: bool) -> None:
        w, bias = self._weights(tensors, self.op.weights.node)
        out = self.values.pictures[self.op.name]
        start = 0
        total: Tensor | None = None  # (N, H, W, O), of the sources so far
        for (correlation, matrix), scratch, source in zip(
            self.forwards, self.products, self.op.sources, strict=True
        ):
            kernels = matrix.fill(w[:, :, start : start + source.channels])
            start += source.channels
            product = scratch.tensor if scratch else out.matrix
            first_bias = bias if total is None else None
            if first_bias is not None and correlation.scale > 1:
                first_bias = first_bias.repeat(correlation.scale)
            correlation.multiply(kernels, product, first_bias)
            if correlation.scale == 1:
                part = correlation.view(product)[:, :, :, 0, 0]
                if total is None:
                    total = part
                else:
                    total.add_(part)
            elif total is None and len(self.forwards) == 1:
                if (
                    self.op.activation and self.op.activation.kind == "sigmoid"
                ):  # in one piece, that is faster
                    torch.sigmoid(product, out=product)
                    for part, (rows, columns) in correlation.phases(product):
                        out.inside[:, rows, columns].copy_(part)
                    return
                for part, (rows, columns) in correlation.phases(product):
                    _activate(self.op.activation, part, out.inside[:, rows, columns])
                return
            elif total is None:
                total = out.inside
                for part, (rows, columns) in correlation.phases(product):
                    total[:, rows, columns].copy_(part)
            else:
                for part, (rows, columns) in correlation.phases(product):
                    total[:, rows, columns].add_(part)
        assert total is not None
        _activate(self.op.activation, total, out.inside)

    def backward(self, tensors: Tensors, gradients: Tensors) -> None:
        w, _ = self._weights(tensors, self.op.weights.node)
        gw, gb = self._weights(gradients, self.op.weights.owner)
        picture = self.values.gradient_pictures[self.op.name]
        gy = picture.inside
        self._before_activation(picture.whole)
        outputs = self.op.shape[1]
        matrix_of_gy: Tensor | None = None
        if self.copy is None:
            matrix_of_gy = picture.matrix
        elif any(own is not None for own in self.own):
            self.copy.tensor.view(gy.shape).copy_(gy)
            matrix_of_gy = self.copy.tensor
        if gb is not None:  # the border is zero
            torch.sum(picture.matrix, 0, out=self.sums.tensor)
            gb.add_(self.sums.tensor[:outputs])
        start = 0
        for source, needed, (forward, _), own, entry in zip(
            self.op.sources, self.needs_inputs, self.forwards, self.own, self.backwards, strict=True
        ):
            part = slice(start, start + source.channels)
            start += source.channels
            if own is not None:
                assert matrix_of_gy is not None
                for index, (columns, rows) in enumerate(forward.tiled(fill=not forward.kept)):
                    own.gradient.addmm_(matrix_of_gy[rows].t(), columns, beta=float(index > 0))
                own.collect(gw[:, :, part])
            if entry is None:
                continue
            correlation, matrix, product, copy = entry
            x = self.values.pictures[source.value]
            kernels = matrix.fill(w[:, :, part].transpose(2, 3)) if needed else None
            if own is None:
                if copy is None:
                    pixels = x.matrix
                else:
                    copy.tensor.view(x.inside.shape).copy_(x.inside)
                    pixels = copy.tensor
                correlation.collect(pixels, matrix.gradient, kernels, product.tensor)
                matrix.collect(gw[:, :, part].transpose(2, 3))
            elif kernels is not None:
                correlation.multiply(kernels, product.tensor)
            if needed:
                self._put(source.value, correlation, product.tensor)

    def _put(self, name: str, correlation: Correlation, product: Tensor) -> None:
        target = self.values.gradient_pictures[name].inside
        first = self.values.first(name)
        for part, (rows, columns) in correlation.phases(product):
            place = target[:, rows, columns]
            if first:
                place.copy_(part)
            else:
                place.add_(part)

    def _before_activation(self, gy: Tensor) -> None:
        """Turns the gradient of the value into that before the activation, in place."""
        activation = self.op.activation
        if activation is None:
            return
        y = self.values.pictures[self.op.name].whole
        if activation.kind == "sigmoid":
            gy.mul_(y)
            gy.addcmul_(gy, y, value=-1)
            return
        slope = self.slope.tensor
        torch.gt(y, 0, out=slope)  # 1 or 0, as numbers: ten times as fast as a choice by a mask
        if activation.kind == "leaky_relu":
            slope.mul_(1 - activation.slope).add_(activation.slope)
        gy.mul_(slope)


def _activate(activation: Activation | None, value: Tensor, out: Tensor) -> None:
    if activation is None:
        if value.data_ptr() != out.data_ptr() or value.stride() != out.stride():
            out.copy_(value)
    elif activation.kind == "relu":
        torch.clamp(value, min=0, out=out)
    elif activation.kind == "sigmoid":
        torch.sigmoid(value, out=out)
    elif value.data_ptr() == out.data_ptr():
        torch.maximum(value, value * activation.slope, out=out)
    else:
        torch.mul(value, activation.slope, out=out)
        torch.maximum(out, value, out=out)
