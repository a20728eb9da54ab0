"""What an operation of a program has to do at least: multiply-accumulates, and numbers read and written.

In: an operation, the program, and the values whose gradient somebody needs. Out: counts for one pass.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from math import prod

from n2nspec.compiler.program import ConvOp, LayerOp, Op, Program, Source

__all__ = ["backward_macs", "step_macs", "step_numbers"]


def backward_macs(op: Op, program: Program, wanted: Collection[str]) -> int:
    """Of one backward pass: once the forward's for the weights, and once for each input gradient."""
    if op.name not in wanted:
        return 0
    if isinstance(op, ConvOp):
        return sum(
            _gradient_macs(op, source, program) * (1 + (source.value in wanted)) for source in op.sources
        )
    weights = isinstance(op, LayerOp) and op.weights is not None
    return op.macs(program.shapes) * (weights + sum(name in wanted for name in op.inputs))


def _gradient_macs(op: ConvOp, source: Source, program: Program) -> int:
    """For the gradient of the weights, or of the source: as many as forward, unless neighbours that an
    upsampling made of one pixel are added first."""
    sums = [m.adjoint().summed() for m in source.maps]
    if any(found is None for found in sums) or max(found[0] for found in sums if found) == 1:
        return replace(op, sources=(source,)).macs(program.shapes)
    height, width = program.shapes[source.value][-2:]
    places = prod(found[1].length for found in sums if found)
    return op.shape[0] * height * width * places * source.channels * op.shape[1]


def step_macs(program: Program, wanted: Collection[str] = ()) -> int:
    """Of a forward pass, and of a backward pass for the gradients `wanted`."""
    return program.macs + sum(backward_macs(op, program, wanted) for op in program.ops)


def step_numbers(program: Program, wanted: Collection[str] = ()) -> int:
    """Numbers that move between memory and the processor when each operation's inputs and results do, once.

    Forward an operation reads its inputs and writes its value; backward it reads the inputs and the value's
    gradient and writes the gradients of inputs. Weights are left out: they are few.
    """
    sizes = {name: prod(shape) for name, shape in program.shapes.items()}
    total = 0
    for op in program.ops:
        reads = sum(sizes[name] for name in op.inputs)
        total += reads + sizes[op.name]
        if op.name in wanted:
            total += reads + sizes[op.name] + sum(sizes[name] for name in op.inputs if name in wanted)
    return total
