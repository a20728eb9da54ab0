"""Exact integer geometry: what layers do to sizes and which pixels they read. No torch here."""

from n2nspec.geometry.axis import SAME, AxisRule, Chain, Same, TransposedWindow, Window
from n2nspec.geometry.crops import Cut, Shift
from n2nspec.geometry.errors import ShapeError, SizeLimitError
from n2nspec.geometry.scales import Blend, Border, Divide, Repeat
from n2nspec.geometry.shapes import (
    Dim,
    Shape,
    Symbolic,
    concrete,
    elements,
    equal,
    no_smaller,
    render_dim,
    render_shape,
    total,
    transform,
)
from n2nspec.geometry.sizes import ALL_SIZES, IDENTITY, SizeFunction, SizeSet, constant

__all__ = [
    "ALL_SIZES",
    "IDENTITY",
    "SAME",
    "AxisRule",
    "Blend",
    "Border",
    "Chain",
    "Cut",
    "Dim",
    "Divide",
    "Repeat",
    "Same",
    "Shape",
    "ShapeError",
    "Shift",
    "SizeFunction",
    "SizeLimitError",
    "SizeSet",
    "Symbolic",
    "TransposedWindow",
    "Window",
    "concrete",
    "constant",
    "elements",
    "equal",
    "no_smaller",
    "render_dim",
    "render_shape",
    "total",
    "transform",
]
