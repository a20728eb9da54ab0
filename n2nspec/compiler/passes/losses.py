"""A sigmoid and the squared error after it: the gradient of both in one go."""

from __future__ import annotations

from dataclasses import replace

from n2nspec.compiler.program import ConvOp, Program

__all__ = ["apply"]


def apply(program: Program) -> Program:
    """Where the output is that of a convolution with a sigmoid.

    The engine takes that up for losses whose gradient it writes itself, the mean squared error and its sum.
    """
    op = program.by_name.get(program.output)
    if not isinstance(op, ConvOp) or op.activation is None or op.activation.kind != "sigmoid":
        return program
    joined = replace(op, joins_loss=True)
    return program.with_ops(joined if other is op else other for other in program.ops)
