"""Max-pooling with windows that do not overlap, as comparisons of shifted views."""

from __future__ import annotations

from n2nspec.compiler.program import LayerOp, Op, PoolOp, Program

__all__ = ["apply"]


def apply(program: Program) -> Program:
    """Each such layer as a `PoolOp`."""
    return program.with_ops(_lowered(op) for op in program.ops)


def _lowered(op: Op) -> Op:
    if not isinstance(op, LayerOp) or op.layer.type != "MaxPool2d" or len(op.shape) != 4:
        return op
    fields = dict(op.layer)
    window: tuple[int, int] = fields["kernel_size"]
    stride = fields["stride"] or window
    if stride != window or fields["padding"] != (0, 0) or fields["dilation"] != (1, 1) or fields["ceil_mode"]:
        return op
    return PoolOp(name=op.name, inputs=op.inputs, shape=op.shape, covers=op.covers, window=window)
