"""Words of a drawing: layers, sizes and facts as the picture says them.

In: nodes and shapes, and values for the symbols where numbers are wanted. Out: plain text, not yet escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from n2nspec.diagnostics import plural
from n2nspec.geometry import Dim, Shape, SizeSet, render_dim
from n2nspec.graph.model import ShapedGraph, ShapedNode
from n2nspec.layers import LayerSpec

__all__ = ["dims_text", "facts", "layer_text", "without_batch"]

NUMBERS = (
    ("kernel_size", " "), ("stride", ", stride "), ("scale_factor", " ×"), ("upscale_factor", " ×"),
    ("downscale_factor", " ÷"),
)  # fmt: skip
"""Fields that tell a layer from others of its type, and what stands before them."""


def layer_text(node: ShapedNode) -> str:
    """A layer's type with its main numbers: "Conv2d 3×3, stride 2"."""
    text = node.layer.type
    # of a pooling the stride is that of the kernel unless it says otherwise
    plain = (1, 1) if hasattr(node.layer, "out_channels") else _pair(node.layer, "kernel_size")
    for field, before in NUMBERS:
        pair = _pair(node.layer, field)
        if pair is None or (field == "stride" and pair == plain):
            continue
        text += before + "×".join(map(str, pair if field == "kernel_size" else dict.fromkeys(pair)))
    return text


def _pair(layer: LayerSpec, field: str) -> tuple[object, ...] | None:
    value = getattr(layer, field, None)
    return value if value is None or isinstance(value, tuple) else (value, value)


def without_batch(shape: Shape) -> Shape:
    """What is left of a shape when the pictures are taken one by one."""
    return shape[1:] if len(shape) in (2, 4) else shape


def dims_text(dims: Iterable[Dim], sizes: Mapping[str, SizeSet], values: Mapping[str, int]) -> str:
    """`16 × H/2 × W/2`, or numbers for the symbols that have a value."""
    return " × ".join(_dim_text(dim, sizes, values) for dim in dims)


def _dim_text(dim: Dim, sizes: Mapping[str, SizeSet], values: Mapping[str, int]) -> str:
    """`H/2` for what `render_dim` calls `H//2`, where nothing is rounded."""
    if isinstance(dim, int):
        return str(dim)
    if dim.symbol in values:
        return str(dim.function(values[dim.symbol]))
    text, works = str(render_dim(dim, sizes)), sizes[dim.symbol]
    quotient = re.fullmatch(r"(\w+)//(\d+)", text)
    if quotient:
        symbol, divisor = quotient[1], int(quotient[2])
        if not any(size % divisor for size in (works.period, *works.remainders, *works.exceptions)):
            return f"{symbol}/{divisor}"
    return text


def facts(graph: ShapedGraph, values: Mapping[str, int]) -> str:
    """The line below the title: parameters, and which picture sizes work or which one is drawn."""
    parameters = plural(graph.parameter_count, "parameter")
    dims = graph.input_shape[-2:] if graph.size_contract else ()
    if not dims or all(isinstance(dim, int) or dim.symbol in values for dim in dims):
        return " · ".join([parameters, dims_text(dims, graph.sizes, values)] if dims else [parameters])
    height, width = (
        f"{_dim_text(dim, graph.sizes, values)}: {works.render(str(dim))}"
        for dim, works in zip(dims, graph.size_contract.values(), strict=True)
    )
    if height.partition(":")[2] == width.partition(":")[2]:
        height, width = f"{dims[0]} and {dims[1]}:{height.partition(':')[2]}", ""
    return " · ".join(filter(None, (parameters, height, width)))
