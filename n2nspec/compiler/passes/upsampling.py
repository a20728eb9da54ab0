"""Nearest-neighbour upsampling and a convolution of stride 1: small convolutions of the small picture.

For scale 2 and a 3 × 3 kernel these are four kernels of 2 × 2, one for each phase of an output pixel: 2.25
times fewer products, and no upsampled picture. It is exact; see `compiler.correlation`.
"""

from __future__ import annotations

from dataclasses import replace

from n2nspec.compiler.correlation import AxisMap, convolution
from n2nspec.compiler.program import ConvOp, LayerOp, Program, Source

__all__ = ["apply"]


def apply(program: Program) -> Program:
    """Convolutions read what the upsampling reads; the upsampling goes when nobody else needs it."""
    ops = []
    for op in program.ops:
        if isinstance(op, ConvOp) and not op.transposed:
            sources = tuple(_before(program, source) for source in op.sources)
            if sources != op.sources:
                op = replace(op, sources=sources, inputs=tuple(source.value for source in sources))
        ops.append(op)
    changed = program.with_ops(ops)
    return changed if changed == program else apply(changed)  # one axis after the other


def _before(program: Program, source: Source) -> Source:
    maker = program.by_name.get(source.value)
    if not isinstance(maker, LayerOp) or maker.layer.type != "NearestUpsampling":
        return source
    if any(axis.stride > 1 for axis in source.maps):  # no kernel does both, even along different axes
        return source
    scales: tuple[int, int] = maker.layer.scale_factor  # type: ignore[attr-defined]
    maps = [_with_scale(*pair) for pair in zip(source.maps, scales, strict=True)]
    height, width = maps
    if height is None or width is None:
        return source
    return replace(source, value=maker.inputs[0], maps=(height, width))


def _with_scale(axis: AxisMap, scale: int) -> AxisMap | None:
    if scale == 1:
        return axis
    if not axis.plain or axis.stride != 1:
        return None
    return convolution(axis.length, 1, axis.dilation, -axis.starts[0], scale)
