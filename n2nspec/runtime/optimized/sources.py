"""One source of a convolution: its windows multiplied, and the gradients of input and weights made of them.

In: a source, and the pictures around it. Out: `Forward` and `Backward`, which a convolution's kernel puts
together; all memory stays where it is, and what they give are calls of torch's operators.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from n2nspec.compiler.program import ConvOp, Source
from n2nspec.runtime.optimized.buffers import Buffers, Picture, Scratch
from n2nspec.runtime.optimized.correlate import Correlation, Finish, KernelMatrix
from n2nspec.runtime.optimized.kernels import Call, Values
from n2nspec.runtime.optimized.sums import Sums

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Backward", "Forward", "from_input"]


def from_input(source: Source, needed: bool) -> bool:
    """Whether the weights' gradient comes from windows of the input; `needed`: its gradient is wanted."""
    plain = all(m.scale == 1 for m in source.maps)
    return plain and (not needed or any(m.stride > 1 for m in source.maps))


class Forward:
    """The forward pass of one source."""

    def __init__(
        self, op: ConvOp, source: Source, index: int, values: Values, buffers: Buffers,
        kernel: tuple[int, int], now: int, keep_until: int | None, keep_columns: bool,
        shifted: bool, *, last: bool,
    ) -> None:  # fmt: skip
        x, out = values.pictures[source.value], values.pictures[op.name]
        outputs, size = out.stored, (op.shape[2], op.shape[3])
        shifted = shifted and keep_until is None and all(m.stride == 1 for m in source.maps)
        self.correlation = Correlation(
            buffers, x, source.maps, size, outputs, now, shifted=shifted,
            keep_until=keep_until, refilled=not keep_columns,
        )  # fmt: skip
        self.matrix = KernelMatrix(buffers, source.maps, kernel, x, op.shape[1], now, columns=outputs)
        at_once = out.bare and self.correlation.scale == 1 and not shifted
        self.scratch: Scratch | None = None
        self.passing = last and self.correlation.scale == 1 and (not at_once or index > 0)
        if not at_once or index:
            rows = self.correlation.passing_rows if self.passing else self.correlation.rows
            self.scratch = buffers.scratch((rows, self.correlation.scale * outputs), now, now)
        self._out = out

    def bind(self) -> None:
        self.correlation.bind()
        self.matrix.bind()
        self.product = self.scratch.tensor if self.scratch else self._out.matrix


class Backward:
    """The backward pass of one source: calls that end with the gradient of the input, as phases."""

    def __init__(
        self, source: Source, forward: Forward, values: Values, buffers: Buffers,
        kernel: tuple[int, int], gradient: Picture, then: int, shifted: bool, *, needed: bool,
    ) -> None:  # fmt: skip
        x = self.x = values.pictures[source.value]
        self.gradient = gradient
        self.forward, self.needed = forward, needed
        self.target = source.value if needed else None
        self.own: KernelMatrix | None = None
        if from_input(source, needed):
            self.own = KernelMatrix(
                buffers, source.maps, kernel, x, gradient.shape[1], then, columns=gradient.stored
            )
        self.correlation: Correlation | None = None
        self.scratches: list[Scratch | None] = []
        """What is filled after the gradient before the activation stands."""
        if self.own and not needed:
            return
        adjoint = source.maps[0].adjoint(), source.maps[1].adjoint()
        self.sums: Sums | None = None
        sums = adjoint[0].summed(), adjoint[1].summed()
        if sums[0] and sums[1] and max(sums[0][0], sums[1][0]) > 1:
            self.sums = Sums(
                buffers, gradient, (sums[0][1], sums[1][1]), (sums[0][0], sums[1][0]), x.shape[2:], then,
                whole=any(m.scale > 1 for m in adjoint),
            )  # fmt: skip
            gradient, adjoint = self.sums.picture, self.sums.maps
        self.pictures = self.sums.pictures if self.sums else x.shape[0]
        """As many at a time."""
        same = x.storage_shape[1:3] == gradient.storage_shape[1:3] and x.stored == source.channels
        correlation = self.correlation = Correlation(
            buffers, gradient, adjoint, (x.shape[2], x.shape[3]), source.channels, then,
            shifted=shifted and same and not self.own and all(m.stride == 1 for m in adjoint),
        )  # fmt: skip
        correlation.align(x)
        self.matrix = KernelMatrix(buffers, adjoint, kernel, gradient, source.channels, then)
        self.target_picture = values.gradient_pictures[source.value] if needed else None
        self.at_once = self.target_picture is not None and correlation.fits(self.target_picture)
        """Whether products are written where the gradient of the input belongs."""
        self.passing = correlation.scale == 1 and not self.at_once
        self.product: Scratch | None = None
        rows = correlation.passing_rows if self.passing else correlation.rows
        if needed and not self.at_once:
            self.product = buffers.scratch((rows, correlation.scale * source.channels), then, then)
        self.copy: Scratch | None = None
        if not self.own and not x.contiguous and not correlation.shifted:
            pixels = rows if self.passing else x.shape[0] * x.shape[2] * x.shape[3]
            self.copy = buffers.scratch((pixels, source.channels), then, then)
        self.scratches = [self.product, self.copy]

    def bind(self) -> None:
        if self.own:
            self.own.bind()
        if self.correlation is None:
            return
        self.correlation.bind()
        self.matrix.bind()

    def bind_weights(self, weight: Tensor, gradient: Tensor, matrix_of_gy: Tensor | None) -> None:
        """Makes the calls for these weights, (kH, kW, C, O), and their gradients.

        Those at 1 are for the first gradient of the input, which is written, those at 0 for others, which are
        added. `filling` comes before, where weights have changed.
        """
        self.filling = list(self.matrix.filled(weight.transpose(2, 3))) if self.needed else []
        self.calls = [list(self._calls(gradient, matrix_of_gy, put)) for put in ("add_", "copy_")]

    def _calls(self, gradient: Tensor, matrix_of_gy: Tensor | None, put: str) -> Iterator[Call]:
        if self.own:
            assert matrix_of_gy is not None
            forward, gy = self.forward.correlation, self.gradient
            yield from forward.correlated(matrix_of_gy, self.own.gradient, None if gy.bare else gy.whole)
            yield from self.own.collected(gradient)
        if self.correlation is None:
            return
        kernels, product = self.matrix.kernels if self.needed else None, self._product
        if self.own:
            assert kernels is not None
            assert product is not None
            yield from self.correlation.multiplied(
                kernels, product, finish=self._finish(put), passing=self.passing,
                add=self.at_once and put == "add_",
            )  # fmt: skip
        else:
            for first in range(0, self.x.shape[0], self.pictures):
                yield from self._part(first, kernels, product, put)
            yield from self.matrix.collected(gradient.transpose(2, 3))
        if self.target_picture is None or product is None or self.passing:
            return
        if self.at_once:
            yield self.target_picture.clear_border
            return
        target = self.target_picture.inside
        for part, (rows, columns) in self.correlation.phases(product):
            yield partial(getattr(target[:, rows, columns], put), part)

    @property
    def _product(self) -> Tensor | None:
        """Where products go; nowhere if the gradient of the input is not wanted."""
        assert self.correlation is not None
        if self.target_picture is not None and self.at_once:
            return self.correlation.place_in(self.target_picture)
        return self.product.tensor if self.product else None

    def _part(self, first: int, kernels: Tensor | None, product: Tensor | None, put: str) -> Iterator[Call]:
        """Of the pictures from `first` on, as many as there are sums of at a time."""
        assert self.correlation is not None
        last = first + self.pictures
        each = self.x.matrix.shape[0] // self.x.shape[0]
        pixels, whole = self.x.matrix[first * each : last * each], None
        if self.sums:
            yield from self.sums.calls(first)
        if self.copy is not None:
            pixels, whole = self.copy.tensor, self.x.inside[first:last]
            if not self.passing:
                yield partial(pixels.view(whole.shape).copy_, whole)
                whole = None
        yield from self.correlation.collected(
            pixels, self.matrix.gradient, kernels, product, self._finish(put, first), whole,
            more=first > 0, passing=self.passing, add=self.at_once and put == "add_",
        )  # fmt: skip

    def _finish(self, put: str, first: int = 0) -> Finish | None:
        """Takes tiles of the product to where the gradient of the input belongs."""
        if not self.passing or self.target_picture is None:
            return None
        target = self.target_picture.inside[first:]
        return lambda tile, part: iter([partial(getattr(tile.of(target), put), part)])
