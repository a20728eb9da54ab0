"""A convolution of a concatenation: the sum of convolutions of its inputs, each with its part of the kernel.

The concatenated picture is never made, and a branch that ends in an upsampling keeps its short cut.
"""

from __future__ import annotations

from dataclasses import replace

from n2nspec.compiler.program import ConvOp, LayerOp, Program, Source

__all__ = ["apply"]


def apply(program: Program) -> Program:
    """Convolutions read the inputs of the concatenation along the channels."""
    ops = []
    for op in program.ops:
        if isinstance(op, ConvOp):
            sources = tuple(part for source in op.sources for part in _parts(program, source))
            if sources != op.sources:
                op = replace(op, sources=sources, inputs=tuple(source.value for source in sources))
        ops.append(op)
    changed = program.with_ops(ops)
    return changed if changed == program else apply(changed)  # a concatenation of concatenations


def _parts(program: Program, source: Source) -> tuple[Source, ...]:
    maker = program.by_name.get(source.value)
    if not isinstance(maker, LayerOp) or maker.layer.type != "Concat" or maker.layer.dim not in (1, -3):  # type: ignore[attr-defined]
        return (source,)
    return tuple(replace(source, value=name, channels=program.shapes[name][1]) for name in maker.inputs)
