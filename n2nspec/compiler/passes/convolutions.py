"""Convolutions and transposed convolutions as correlations with bias, in a form that other passes understand.

Groups and padding modes other than zeros are left alone.
"""

from __future__ import annotations

from n2nspec.compiler.correlation import convolution, transposed
from n2nspec.compiler.program import ConvOp, LayerOp, Op, Program, Source
from n2nspec.layers.conv2d import Conv2dSpec
from n2nspec.layers.transpose_conv2d import TransposeConv2dSpec

__all__ = ["apply"]


def apply(program: Program) -> Program:
    """Each such layer as a `ConvOp`."""
    return program.with_ops(_lowered(op, program) for op in program.ops)


def _lowered(op: Op, program: Program) -> Op:
    if not isinstance(op, LayerOp) or op.weights is None or len(op.shape) != 4:
        return op
    layer = op.layer
    if isinstance(layer, Conv2dSpec):
        pads = layer.pads()
        if layer.groups != 1 or (layer.padding_mode != "zeros" and pads != ((0, 0), (0, 0))):
            return op
        height, width = (
            convolution(k, s, d, before)
            for k, s, d, (before, _) in zip(
                layer.kernel_size, layer.stride, layer.dilation, pads, strict=True
            )
        )
    elif isinstance(layer, TransposeConv2dSpec):
        if layer.groups != 1:
            return op
        height, width = (
            transposed(k, s, d, p)
            for k, s, d, p in zip(layer.kernel_size, layer.stride, layer.dilation, layer.padding, strict=True)
        )
    else:
        return op
    channels = program.shapes[op.inputs[0]][1]
    return ConvOp(
        name=op.name, inputs=op.inputs, shape=op.shape, covers=op.covers,
        sources=(Source(value=op.inputs[0], channels=channels, maps=(height, width)),),
        weights=op.weights, transposed=isinstance(layer, TransposeConv2dSpec), bias=layer.bias,
    )  # fmt: skip
