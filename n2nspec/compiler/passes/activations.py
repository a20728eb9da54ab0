"""A convolution and the activation that follows it, in one go, where nobody else reads what lies between."""

from __future__ import annotations

from dataclasses import replace

from n2nspec.compiler.program import Activation, ConvOp, LayerOp, Op, Program

__all__ = ["apply"]


def apply(program: Program) -> Program:
    """ReLU, LeakyReLU with a slope from 0 to 1, and Sigmoid join the convolution before them.

    The gradients of all of them follow from their output.
    """
    fused: dict[str, Op] = {}
    gone: set[str] = set()
    for op in program.ops:
        activation = _activation(op)
        maker = program.by_name.get(op.inputs[0]) if activation and op.inputs else None
        if not isinstance(maker, ConvOp) or maker.activation or program.only_reader(maker.name) is not op:
            continue
        covers = (*maker.covers, *(name for name in op.covers if name not in maker.covers))
        fused[op.name] = replace(maker, name=op.name, activation=activation, covers=covers)
        gone.add(maker.name)
    return program.with_ops(fused.get(op.name, op) for op in program.ops if op.name not in gone)


def _activation(op: Op) -> Activation | None:
    if not isinstance(op, LayerOp):
        return None
    match op.layer.type:
        case "ReLU":
            return Activation(kind="relu")
        case "Sigmoid":
            return Activation(kind="sigmoid")
        case "LeakyReLU":
            slope = float(op.layer.negative_slope)  # type: ignore[attr-defined]
            return Activation(kind="leaky_relu", slope=slope) if 0 < slope <= 1 else None
    return None
