"""Operations that do the same to the same: one is enough (common subexpressions)."""

from __future__ import annotations

from n2nspec.compiler.program import LayerOp, Program

__all__ = ["apply"]


def apply(program: Program) -> Program:
    """Later copies give way to the first. A layer that draws numbers or keeps statistics is never a copy."""
    seen: dict[object, list[LayerOp]] = {}
    names: dict[str, str] = {}
    for op in program.ops:
        if not isinstance(op, LayerOp) or op.layer.is_modal():
            continue
        inputs = tuple(names.get(name, name) for name in op.inputs)
        weights = (op.weights.owner, op.weights.prefix) if op.weights else None
        alike = seen.setdefault((op.layer.type, inputs, weights), [])
        same = next((other for other in alike if other.layer == op.layer), None)
        if same is None:
            alike.append(op)
        else:
            names[op.name] = same.name
    return program.renamed(names, program.ops) if names else program
