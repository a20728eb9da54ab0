"""Sizes as a formula in Python's integer arithmetic, such as `(H+1)//2` or `4*((H+3)//4)`.

In: picture sizes with the size that something has then, and how steeply it grows. Out: the shortest formula
that holds for all of them; none where there is no such formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

__all__ = ["affine", "sparse"]

STEEPEST = 8
"""Slopes that are tried where few sizes are known: fractions of numbers up to this."""

Point = tuple[int, int]


def affine(symbol: str, points: Sequence[Point], *, gain: int, period: int, step: int = 1) -> str | None:
    """scale·floor((up·h + shift) / down) + rest, the plain floor first.

    Args:
        points: picture sizes and values.
        gain: by how much the value grows when the picture does by `period`.
        step: a number that divides all differences of the values; the `scale` that is tried.
    """
    common = gcd(gain, period)
    up, down = gain // common, period // common
    base = points[0][1]
    forms = [(1, 0), *((step, rest) for rest in sorted({base % step, base % step - step}, key=abs))]
    for scale, rest in forms:
        shared = gcd(up, scale * down)
        top, bottom = up // shared, scale * down // shared
        # every point bounds the shift from both sides
        least = max(bottom * ((v - rest) // scale) - top * h for h, v in points)
        most = min(bottom * ((v - rest) // scale) + bottom - 1 - top * h for h, v in points)
        exact = all((v - rest) % scale == 0 for _, v in points)
        if exact and least <= most:
            shift = min(max(0, least), most)
            return _text(symbol, up=top, down=bottom, shift=shift, scale=scale, rest=rest)
    return None


def sparse(symbol: str, points: Sequence[Point]) -> str | None:
    """A formula for a few sizes, of which no law is known: the simplest fraction that fits, as a slope."""
    slopes = [(up, down) for up in range(1, STEEPEST + 1) for down in range(1, STEEPEST + 1)]
    for up, down in sorted((s for s in slopes if gcd(*s) == 1), key=lambda slope: (sum(slope), slope)):
        if text := affine(symbol, points, gain=up, period=down):
            return text
    return None


def _text(symbol: str, *, up: int, down: int, shift: int, scale: int, rest: int) -> str:
    if down == 1:  # one plain affine function
        up, shift = up * scale, shift * scale + rest
        scale, rest = 1, 0
    inner = f"{up}*{symbol}" if up != 1 else symbol
    if shift:
        inner += f"{shift:+d}"
    if down != 1:
        inner = f"({inner})//{down}" if shift or up != 1 else f"{inner}//{down}"
    if scale != 1:
        inner = f"{scale}*({inner})"
    return inner + (f"{rest:+d}" if rest else "")
