"""The ways in which the optimised engine can compute a convolution, and which one is usual.

In: one source of a convolution, and the channels around it. Out: a `Lowering`. All give the same numbers up
to rounding; which is faster depends on channels, sizes and the machine, so it may also be measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from n2nspec.compiler.program import Source

__all__ = ["Lowering", "Lowerings", "usual"]

SHIFTED_FORWARD = 16
SHIFTED_BACKWARD = 64
"""Channels from which on shifted pixels usually beat copied windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowering:
    """How one source is multiplied: its windows copied into a matrix, or, at stride 1, its pixels shifted.

    Attributes:
        forward, backward: True for shifted pixels, where that can be.
    """

    forward: bool
    backward: bool


Lowerings = Mapping[tuple[str, int], Lowering]
"""By the operation, and the number of its source; the usual one where there is none."""


def usual(source: Source, channels: int, outputs: int) -> Lowering:
    """Without measuring: by the channels in memory of the source and of the result."""
    long = any(m.length > 1 for m in source.maps)  # a window of one place is a matrix product as it is
    return Lowering(
        forward=channels >= SHIFTED_FORWARD and long, backward=min(channels, outputs) >= SHIFTED_BACKWARD
    )
