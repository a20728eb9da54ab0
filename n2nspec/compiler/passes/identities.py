"""Layers that hand on their input as it is: Identity, a Concat or Upsampling of one, padding by nothing."""

from __future__ import annotations

from n2nspec.compiler.program import LayerOp, Op, Program
from n2nspec.layers._pads import PadSpec

__all__ = ["apply"]


def apply(program: Program) -> Program:
    """Readers of such a layer read what it reads."""
    names = {op.name: op.inputs[0] for op in program.ops if _hands_on(op)}
    return program.renamed(names, program.ops) if names else program


def _hands_on(op: Op) -> bool:
    if not isinstance(op, LayerOp) or len(op.inputs) != 1:
        return False
    layer = op.layer
    if isinstance(layer, PadSpec):
        return layer.padding == (0, 0, 0, 0)
    match layer.type:
        case "Identity" | "Concat":
            return True
        case "Dropout":
            return getattr(layer, "p", 1.0) == 0
        case "NearestUpsampling":
            return getattr(layer, "scale_factor", None) == (1, 1)
        case "PixelShuffle":
            return getattr(layer, "upscale_factor", None) == 1
        case "PixelUnshuffle":
            return getattr(layer, "downscale_factor", None) == 1
    return False
