"""The operations of a program as pure functions of tensors, forward and backward.

In: an operation and its inputs, pictures (N, C, H, W) in any order of memory. Out: its value and what its
backward needs; then, from the gradient of the value, those of inputs and weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

from n2nspec._lazy import torch
from n2nspec.compiler.correlation import AxisMap
from n2nspec.compiler.program import Activation, ConvOp, LayerOp, PoolOp, Program, Source
from n2nspec.layers._base import Mode, Needs, run
from n2nspec.runtime.compiled.correlate import Correlation
from n2nspec.runtime.compiled.gather import Gathering
from n2nspec.runtime.compiled.layout import NARROW, interleave, settled
from n2nspec.runtime.compiled.precision import Precision
from n2nspec.runtime.compiled.winograd import Winograd

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

__all__ = ["Convolution", "Function", "LayerFunction", "MaxPooling", "multiplies_windows"]

Named = Mapping[str, "Tensor"]


class Function(Protocol):
    """One operation. `weights` are its own parameters and buffers, by the layer's names for them."""

    def forward(self, weights: Named, xs: Sequence[Tensor], mode: Mode) -> tuple[Tensor, Any, Named]:
        """The value, what backward needs, and the buffers that change."""
        ...

    def backward(self, weights: Named, saved: Any, gy: Tensor) -> tuple[Sequence[Tensor | None], Named]:
        """The gradients of the inputs, None for those that nobody needs, and of the parameters."""
        ...


@dataclass(frozen=True, slots=True)
class LayerFunction:
    """A layer by its own functions."""

    op: LayerOp
    needs: Needs
    kind: dtype
    """What the layer computes in."""

    def forward(self, weights: Named, xs: Sequence[Tensor], mode: Mode) -> tuple[Tensor, Any, Named]:
        return run(self.op.layer, weights, tuple(x.to(self.kind) for x in xs), mode)

    def backward(self, weights: Named, saved: Any, gy: Tensor) -> tuple[Sequence[Tensor | None], Named]:
        return self.op.layer.backward(weights, saved, gy.to(self.kind), self.needs)


@dataclass(frozen=True, slots=True)
class MaxPooling:
    """Max-pooling with windows side by side; of equal numbers the first one counts, as in torch."""

    op: PoolOp
    size: tuple[int, int]

    def _corners(self, x: Tensor) -> list[Tensor]:
        """For each place in a window, row by row, the pixels there."""
        (k_h, k_w), (h, w) = self.op.window, self.op.shape[2:]
        return [x[:, :, i : k_h * h : k_h, j : k_w * w : k_w] for i in range(k_h) for j in range(k_w)]

    def forward(self, weights: Named, xs: Sequence[Tensor], mode: Mode) -> tuple[Tensor, Any, Named]:
        corners = self._corners(xs[0])
        y = corners[0]
        for corner in corners[1:]:
            y = torch.maximum(y, corner)
        return y, (xs[0], y), {}

    def backward(self, weights: Named, saved: Any, gy: Tensor) -> tuple[Sequence[Tensor | None], Named]:
        x, y = saved
        k_h, k_w = self.op.window
        parts, free = [], torch.ones_like(y, dtype=torch.bool)
        for corner in self._corners(x):
            largest = (corner == y) | corner.isnan()
            parts.append(torch.where(largest & free, gy, 0).permute(0, 2, 3, 1))
            free = free & ~largest
        gx = interleave([parts[i * k_w : (i + 1) * k_w] for i in range(k_h)]).permute(0, 3, 1, 2)
        (h, w), (height, width) = gx.shape[2:], self.size
        if (h, w) != self.size:  # windows that would hang over are left out
            gx = torch.nn.functional.pad(gx, (0, width - w, 0, height - h))
        return (gx,), {}


SIGMOID = Activation(kind="sigmoid")


def multiplies_windows(source: Source, needed: bool) -> bool:
    """Whether the weights' gradient comes from the windows of a source, and not from the source itself.

    `needed`: somebody wants the gradient of the source.
    """
    plain = all(axis.scale == 1 for axis in source.maps)
    return plain and (not needed or any(axis.stride > 1 for axis in source.maps))


class Convolution:
    """Convolutions of one or more sources, bias and activation.

    Backward builds the windows of the value's gradient once and multiplies them twice: by the flipped kernels
    for the input's gradient, and by the input for the weights'. Only where the stride is more than 1, or
    nobody wants the input's gradient, the weights' comes from the windows of the input.
    """

    def __init__(
        self, op: ConvOp, program: Program, kernel: tuple[int, int], needs: tuple[bool, ...], *, kept: bool,
        precision: Precision, place: device,
    ) -> None:  # fmt: skip
        self.op, self.needs, self.kept, self.precision = op, needs, kept, precision
        self.result = precision.full if op.name == program.output else precision.low
        out = op.shape[2], op.shape[3]
        self.forwards: list[Correlation | Gathering | Winograd] = []
        self.adjoints: list[Correlation | Gathering | Winograd] = []
        self.from_input: list[bool] = []
        self.narrow = len(op.sources) == 1 and op.shape[1] < NARROW
        self.gathers = len(program.readers[op.name]) > 1  # the gradient is a sum, too long to do it twice
        for source, needed in zip(op.sources, needs, strict=True):
            _, _, height, width = program.shapes[source.value]
            adjoint = source.maps[0].adjoint(), source.maps[1].adjoint()
            self.from_input.append(multiplies_windows(source, needed))
            n, size = op.shape[0], (height, width)
            sizes = source.channels, op.shape[1]
            self.forwards.append(
                _way(source.maps, size, out, n, sizes, kernel, precision, place, gather=True)
            )
            self.adjoints.append(
                _way(adjoint, out, size, n, sizes[::-1], kernel, precision, place, gather=self.from_input[-1])
            )

    def _weight(self, weights: Named) -> list[Tensor]:
        """The kernel as (kH, kW, C, O), the channels of each source alone."""
        w = weights["weight"]
        w = w.permute(2, 3, 0, 1) if self.op.transposed else w.permute(2, 3, 1, 0)
        return list(torch.split(w, [source.channels for source in self.op.sources], 2))

    def forward(self, weights: Named, xs: Sequence[Tensor], mode: Mode) -> tuple[Tensor, Any, Named]:
        pictures = [x.permute(0, 2, 3, 1) for x in xs]
        columns = [correlation.columns(x) for correlation, x in zip(self.forwards, pictures, strict=True)]
        activation, bias = self.op.activation, weights["bias"] if self.op.bias else None
        products = [
            self._full(correlation.product(windows, w))
            for correlation, windows, w in zip(self.forwards, columns, self._weight(weights), strict=True)
        ]
        first, rest = self.forwards[0], self.forwards[1:]
        if isinstance(first, Gathering) and self.narrow:
            y = settled(first.pixels(products[0], lambda part: _plus(part, bias)).contiguous())
            y = _activate(activation, y)
        elif isinstance(first, Gathering | Winograd) and not rest:
            y = first.pixels(products[0], lambda part: _activate(activation, _plus(part, bias)))
        else:
            if not rest and activation == SIGMOID and isinstance(first, Correlation):
                # before the phases are put in their places: rows of few channels make poor use of vectors
                phases = products[0].shape[1] // self.op.shape[1]
                products = [_activate(activation, _plus(products[0], bias, phases))]
                activation = bias = None
            y = first.pixels(products[0])
            for correlation, product in zip(rest, products[1:], strict=True):
                y = y + correlation.pixels(product)
            y = _activate(activation, _plus(y, bias))
        y = y.to(self.result)
        if self.kept:
            y = settled(y.contiguous())
        return y.permute(0, 3, 1, 2), (pictures, columns, y), {}

    def _full(self, product: Tensor) -> Tensor:
        """In full precision, converted in one go before phases are put in their places."""
        full = product.to(self.precision.full)
        return settled(full) if self.precision.mixed else full

    def backward(self, weights: Named, saved: Any, gy: Tensor) -> tuple[Sequence[Tensor | None], Named]:
        pictures, columns, y = saved
        n, outputs, height, width = self.op.shape
        full, low = self.precision
        gy = _before_activation(self.op.activation, y.to(full), gy.to(full).permute(0, 2, 3, 1))
        if not self.narrow:  # few channels are summed first
            gy = gy.to(low)
        if self.gathers or self.narrow or any(self.from_input):
            gy = settled(gy.contiguous())
        gxs: list[Tensor | None] = []
        gws: list[Tensor] = []
        rows = zip(
            self.needs, self.from_input, self.forwards, self.adjoints, pictures, columns,
            self._weight(weights), strict=True,
        )  # fmt: skip
        for needed, from_input, forward, adjoint, x, windows, w in rows:
            flipped, product = w.transpose(2, 3), None
            if from_input:
                assert not isinstance(forward, Gathering)
                gws.append(forward.gradient(windows, gy.to(low).reshape(n * height * width, outputs)))
                if needed:
                    product = adjoint.product(adjoint.columns(gy), flipped)
            else:
                assert not isinstance(adjoint, Gathering)
                pixels = x.to(low).reshape(n * x.shape[1] * x.shape[2], x.shape[3])
                columns_of_gy = adjoint.columns(gy)
                if needed:
                    product, gw = adjoint.product_and_gradient(columns_of_gy, flipped, pixels)
                else:
                    gw = adjoint.gradient(columns_of_gy, pixels)
                gws.append(gw.transpose(2, 3))
            gxs.append(None if product is None else adjoint.pixels(product).permute(0, 3, 1, 2))
        gw = gws[0] if len(gws) == 1 else torch.cat(gws, 2)
        gradients = {"weight": gw.permute(2, 3, 0, 1) if self.op.transposed else gw.permute(3, 2, 0, 1)}
        if self.op.bias:
            # rows of pixels first, which are long enough for vector units
            rows_of_gy = gy.reshape(n * height, width * outputs) if self.narrow else gy
            sums = rows_of_gy.sum(0, dtype=full).view(1, 1, width, outputs) if self.narrow else gy
            gradients["bias"] = sums.sum((0, 1, 2), dtype=full)
        return gxs, gradients


def _way(
    maps: tuple[AxisMap, AxisMap], size: tuple[int, int], out: tuple[int, int], pictures: int,
    channels: tuple[int, int], kernel: tuple[int, int], precision: Precision, place: device, *, gather: bool,
) -> Correlation | Gathering | Winograd:  # fmt: skip
    """How pictures of `size` are correlated; `channels`: theirs, and those of the result.

    `gather`: whether nobody wants the gradient of the kernel from here.
    """
    given, made = channels
    if Winograd.suits(maps, pictures * prod(out), given, made, precision, place):
        return Winograd.make(maps, size, out, pictures, precision, place)
    if gather and Gathering.suits(maps, kernel, pictures * prod(size) * made, precision.low):
        return Gathering(maps=maps, size=size, out=out, pictures=pictures, kernel=kernel, low=precision.low)
    return Correlation.make(maps, size, out, pictures, given, kernel, precision, place)


def _plus(x: Tensor, bias: Tensor | None, phases: int = 1) -> Tensor:
    return x if bias is None else x + bias.repeat(phases)


def _activate(activation: Activation | None, x: Tensor) -> Tensor:
    if activation is None:
        return x
    if activation.kind == "relu":
        return x.clamp(min=0)
    if activation.kind == "sigmoid":
        return x.sigmoid()
    return torch.maximum(x, x * activation.slope)


def _before_activation(activation: Activation | None, y: Tensor, gy: Tensor) -> Tensor:
    """The gradient of what the activation was given, from that of its value `y`."""
    if activation is None:
        return gy
    if activation.kind == "sigmoid":
        return gy * y * (1 - y)
    return torch.where(y <= 0, gy * activation.slope if activation.slope else 0.0, gy)
