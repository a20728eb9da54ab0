"""Two ways to judge a gradient: the same tensor from torch, and the slope of the function itself.

In: tensors, or a scalar function with the gradient that is claimed for it. Out: absolute and relative errors.
All of it is meant for float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

__all__ = ["Difference", "difference", "slope_difference"]

STEPS = (1e-5, 3e-6, 1e-6, 3e-7, 1e-7, 3e-8, 1e-4, 1e-3)
"""Step sizes of the finite differences, in the order they are tried. The first has an error of about 1e-10
(its square) plus 1e-11 (2e-16, as float64 rounds, over it); smaller ones cross fewer kinks, larger ones see
more of a slope that is small beside the value."""
FLAT = "the slope is too small for float64 to see: judged by what rounding leaves"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The largest absolute difference, the same over the scale of the values, and what else went wrong."""

    absolute: float
    relative: float
    note: str = ""


def difference(ours: Tensor, theirs: Tensor, floor: float = 0.0) -> Difference:
    """The error of `ours`, relative to the largest value of `theirs`.

    Args:
        floor: the scale is at least this. Gradients that are zero in mathematics, such as that of a bias in
            front of a normalisation, are only rounding noise, which has nothing to be compared with.
    """
    if ours.shape != theirs.shape:
        note = f"shape {tuple(ours.shape)}, expected {tuple(theirs.shape)}"
        return Difference(absolute=float("inf"), relative=float("inf"), note=note)
    if ours.dtype != theirs.dtype:
        note = f"{ours.dtype}, expected {theirs.dtype}"
        return Difference(absolute=float("inf"), relative=float("inf"), note=note)
    if not theirs.numel():
        return Difference(absolute=0.0, relative=0.0)
    absolute = float((ours - theirs).abs().max())
    scale = max(float(theirs.abs().max()), floor)
    return Difference(absolute=absolute, relative=absolute / scale if scale else absolute)


def slope_difference(
    function: Callable[[Tensor], float],
    at: Tensor,
    gradient: Tensor,
    generator: Generator,
    tolerance: float,
    floor: float = 0.0,
) -> Difference:
    """A claimed gradient against central differences along a random direction of ±1.

    The slope along v is compared with ⟨gradient, v⟩, relative to the gradient's length: for random signs that
    is the size to expect of either, however many numbers there are.

    A piecewise function (ReLU, a maximum) has kinks. Where one lies within the step, the slope over half the
    step is another one, so another direction and a smaller step are tried. A wrong gradient is not excused by
    that: its function's slopes agree with each other, only not with it. Behind saturated layers every slope
    may drown in the rounding of the value; then the largest step decides, on the scale of that rounding.

    Args:
        function: of a tensor like `at`; called with changed copies of it.
        floor: the length counts as at least this, as in `difference`.
    """
    if gradient.shape != at.shape:
        note = f"shape {tuple(gradient.shape)}, expected {tuple(at.shape)}"
        return Difference(absolute=float("inf"), relative=float("inf"), note=note)
    scale = max(float(torch.linalg.vector_norm(gradient)), floor)
    rounding = 4 * torch.finfo(at.dtype).eps * abs(function(at))
    flat: tuple[float, Difference] | None = None
    error = float("inf")
    for step in STEPS:
        direction = torch.randint(0, 2, at.shape, generator=generator, dtype=at.dtype) * 2 - 1

        def slope(h: float, v: Tensor = direction) -> float:
            return (function(at + h * v) - function(at - h * v)) / (2 * h)

        whole, half = slope(step), slope(step / 2)
        claimed = float((gradient * direction).sum())
        if whole == half == claimed == 0:
            return Difference(absolute=0.0, relative=0.0)
        error = abs(half - claimed)
        reference = max(scale, abs(half))
        noise = rounding / step
        if noise <= tolerance / 4 * reference:
            if abs(whole - half) <= tolerance / 4 * reference:
                return Difference(absolute=error, relative=error / reference)
        elif abs(whole - half) <= noise and (flat is None or step > flat[0]):
            flat = step, Difference(absolute=error, relative=error * tolerance / (4 * noise), note=FLAT)
    if flat is not None:
        return flat[1]
    return Difference(absolute=error, relative=float("inf"), note="no slope: the function has a kink here")
