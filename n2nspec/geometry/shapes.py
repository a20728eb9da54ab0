"""Shapes whose entries are numbers or exact functions of the picture's size.

In: what `[input]` declares, such as ("N", 3, "H", "W"). Out: `Shape`, a tuple of `Dim`s that layers turn
into other shapes; concrete numbers once the symbols have values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod

from n2nspec.geometry.axis import AxisRule
from n2nspec.geometry.errors import ShapeError, SizeLimitError
from n2nspec.geometry.sizes import IDENTITY, SizeFunction, SizeSet, constant

__all__ = [
    "Dim", "Shape", "Symbolic", "concrete", "elements", "equal", "no_smaller", "render_dim", "render_shape",
    "total", "transform",
]  # fmt: skip

LARGEST = 2**31 - 1
"""Pixels a side; more cannot be meant."""


@dataclass(frozen=True)
class Symbolic:
    """A size that depends on one symbol of the input shape, exactly."""

    symbol: str
    function: SizeFunction = IDENTITY

    def __str__(self) -> str:
        return self.function.render(self.symbol)


Dim = int | Symbolic
Shape = tuple[Dim, ...]


def transform(dim: Dim, rule: AxisRule, *, axis: str = "size", field: str = "") -> Dim:
    """The dimension after a layer's rule. `field` is the layer's field to look at when it refuses.

    Raises:
        ShapeError: the rule refuses this number, or every value that the symbol can have.
    """
    if isinstance(dim, int):
        size = rule.size(dim)
        if size is None:
            raise _refused(dim, rule, axis, field)
        if size > LARGEST:
            raise SizeLimitError(
                f"an output of {axis} {size} is larger than any picture; output size: {rule.formula(dim)}",
                help="check stride and scale_factor for a typo",
            )
        return size
    function = dim.function.then(rule)
    if function.domain.is_empty:
        raise ShapeError(f"no picture size gives this layer an input {axis} that it accepts", field=field)
    return Symbolic(dim.symbol, function)


def _refused(n: int, rule: AxisRule, axis: str, field: str) -> ShapeError:
    """What to say of a size that a rule refuses."""
    if n < rule.start and rule.size(rule.start) is not None:
        return ShapeError(
            f"{axis} {n} is too small, at least {rule.start} is needed; output size: {rule.formula(n)}",
            help=f"give this layer an input of {axis} {rule.start} or more, or change its padding",
            field=field,
        )
    works = IDENTITY.then(rule).domain
    larger = works.at_least(n)
    return ShapeError(
        f"{axis} {n} does not fit; what does: {works.render(axis)}; output size: {rule.formula(n)}",
        help=f"pad this layer's input to {axis} {larger}" if larger else "",
        field=field,
    )


def equal(first: Dim, other: Dim, what: str = "size") -> Dim:
    """The dimension that both are, for the picture sizes that make them equal.

    Raises:
        ShapeError: no picture size does.
    """
    return _restricted(first, first, other, SizeFunction.equals, f"the same {what}")


def no_smaller(first: Dim, other: Dim, what: str = "size") -> Dim:
    """The second dimension, for the picture sizes that make it no larger than the first.

    Raises:
        ShapeError: no picture size does.
    """
    return _restricted(other, first, other, SizeFunction.at_least, f"a {what} that holds the second")


def _restricted(
    result: Dim, first: Dim, other: Dim, compare: Callable[[SizeFunction, SizeFunction], SizeSet], wish: str
) -> Dim:
    if first == other:
        return result
    symbols = {dim.symbol for dim in (first, other) if not isinstance(dim, int)}
    if len(symbols) > 1:
        raise ShapeError(f"{' and '.join(sorted(symbols))} may differ: {first} against {other}")
    f, g = (constant(dim) if isinstance(dim, int) else dim.function for dim in (first, other))
    sizes = compare(f, g)
    if sizes.is_empty:
        raise ShapeError(
            f"{first} against {other}"
            if isinstance(first, int) and isinstance(other, int)
            else f"no picture size gives {wish}: {first} against {other}{_example(symbols, f, g)}"
        )
    if not symbols:
        return result
    (symbol,) = symbols
    return Symbolic(symbol, (constant(result) if isinstance(result, int) else result.function).within(sizes))


def _example(symbols: set[str], first: SizeFunction, other: SizeFunction) -> str:
    """The first size from 32 on for which both are defined, with the two numbers."""
    symbol = next(iter(symbols), "")
    size = (first.domain & other.domain).at_least(32) or (first.domain & other.domain).smallest
    return f"; at {symbol} = {size} that is {first(size)} against {other(size)}" if size else ""


def total(dims: Iterable[Dim]) -> Dim:
    """The sum of dimensions.

    Raises:
        ShapeError: they depend on different symbols.
    """
    numbers, symbolic = 0, None
    for dim in dims:
        if isinstance(dim, int):
            numbers += dim
        elif symbolic is None:
            symbolic = dim
        elif symbolic.symbol != dim.symbol:
            raise ShapeError(f"a sum of {symbolic.symbol} and {dim.symbol} is no size of one axis")
        else:
            symbolic = Symbolic(dim.symbol, symbolic.function.plus(dim.function))
    if symbolic is None:
        return numbers
    return Symbolic(symbolic.symbol, symbolic.function.plus(constant(numbers))) if numbers else symbolic


def render_dim(dim: Dim, sizes: Mapping[str, SizeSet] | None = None) -> str | int:
    """A number, or the formula in the input's symbol; as short as the sizes that work allow."""
    if isinstance(dim, int):
        return dim
    return dim.function.render(dim.symbol, sizes.get(dim.symbol) if sizes else None)


def render_shape(shape: Shape, sizes: Mapping[str, SizeSet] | None = None) -> str:
    """`3 × H × W`, as tables and messages print it."""
    return " × ".join(str(render_dim(dim, sizes)) for dim in shape)


def concrete(shape: Shape, values: Mapping[str, int]) -> tuple[int, ...] | None:
    """The shape in numbers for these values of the symbols; None when a size is refused."""
    sizes = []
    for dim in shape:
        size = dim if isinstance(dim, int) else dim.function(values[dim.symbol])
        if size is None:
            return None
        sizes.append(size)
    return tuple(sizes)


def elements(shape: tuple[int, ...]) -> int:
    """Numbers in a tensor of this shape."""
    return prod(shape)
