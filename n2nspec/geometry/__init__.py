"""Exact integer geometry: what layers do to sizes and which pixels they read. No torch here."""

from n2nspec.geometry.axis import SAME, AxisRule, Chain, Repeat, Same, TransposedWindow, Window
from n2nspec.geometry.errors import ShapeError, SizeLimitError
from n2nspec.geometry.shapes import (
    Dim,
    Shape,
    Symbolic,
    concrete,
    elements,
    render_dim,
    render_shape,
    transform,
)
from n2nspec.geometry.sizes import ALL_SIZES, IDENTITY, SizeFunction, SizeSet, constant

__all__ = [
    "ALL_SIZES",
    "IDENTITY",
    "SAME",
    "AxisRule",
    "Chain",
    "Dim",
    "Repeat",
    "Same",
    "Shape",
    "ShapeError",
    "SizeFunction",
    "SizeLimitError",
    "SizeSet",
    "Symbolic",
    "TransposedWindow",
    "Window",
    "concrete",
    "constant",
    "elements",
    "render_dim",
    "render_shape",
    "transform",
]
