"""Shapes whose entries are numbers or exact functions of the picture's size.

In: what `[input]` declares, such as ("N", 3, "H", "W"). Out: `Shape`, a tuple of `Dim`s that layers turn
into other shapes; concrete numbers once the symbols have values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from n2nspec.geometry.axis import AxisRule
from n2nspec.geometry.errors import ShapeError, SizeLimitError
from n2nspec.geometry.sizes import IDENTITY, SizeFunction, SizeSet

__all__ = ["Dim", "Shape", "Symbolic", "concrete", "elements", "render_dim", "render_shape", "transform"]

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
            raise ShapeError(
                f"{axis} {dim} is too small, at least {rule.start} is needed;"
                f" output size: {rule.formula(dim)}",
                help=f"give this layer an input of {axis} {rule.start} or more, or change its padding",
                field=field,
            )
        if size > LARGEST:
            raise SizeLimitError(
                f"an output of {axis} {size} is larger than any picture; output size: {rule.formula(dim)}",
                help="check stride and scale_factor for a typo",
            )
        return size
    function = dim.function.then(rule)
    if function.domain.is_empty:
        # only a size that no longer depends on the picture can be refused for every picture
        raise ShapeError(f"no picture size gives this layer an input {axis} that it accepts", field=field)
    return Symbolic(dim.symbol, function)


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
