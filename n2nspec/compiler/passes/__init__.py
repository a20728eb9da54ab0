"""Passes: each takes a program and returns one that computes the same values and gradients for less.

In: a program of operations. Out: another. A pass changes what it knows and leaves everything else alone; run
twice, it changes nothing more. One file each, in the order of `PASSES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from n2nspec.compiler.passes import (
    activations,
    concatenations,
    convolutions,
    duplicates,
    identities,
    losses,
    pooling,
    upsampling,
)
from n2nspec.compiler.program import Program

__all__ = ["PASSES", "Change", "optimise", "trace"]

PASSES: tuple[tuple[str, Callable[[Program], Program]], ...] = (
    ("remove identities", identities.apply),
    ("merge equal operations", duplicates.apply),
    ("convolutions with bias", convolutions.apply),
    ("upsampling into convolution", upsampling.apply),
    ("concatenation into convolution", concatenations.apply),
    ("upsampling into convolution", upsampling.apply),
    ("activation into convolution", activations.apply),
    ("activation into loss", losses.apply),
    ("pooling on channels-last pictures", pooling.apply),
)
"""Upsampling comes twice: a branch of a concatenation meets its convolution only once that is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a pass did."""

    name: str
    before: Program
    after: Program

    @property
    def values(self) -> tuple[str, ...]:
        """The values whose operation it changed, and those that exist no more."""
        after = self.after.by_name
        return tuple(op.name for op in self.before.ops if after.get(op.name) != op)


def trace(program: Program) -> Iterator[Change]:
    """Each pass in turn."""
    for name, apply in PASSES:
        after = apply(program)
        yield Change(name=name, before=program, after=after)
        program = after


def optimise(program: Program) -> Program:
    """The program after all passes."""
    for _, apply in PASSES:
        program = apply(program)
    return program
