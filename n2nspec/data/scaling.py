"""From the range of a picture file to [0, 1] and back.

In: arrays of uint8 (0–255), uint16 (0–65535) or floating-point numbers (already on [0, 1], give or take
noise). Out: floating-point numbers, and from those the first kind again, rounded and cut to the range.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from n2nspec._lazy import torch
from n2nspec.diagnostics import fail

__all__ = ["from_unit", "full_scale", "to_tensor", "to_unit"]


def full_scale(dtype: DTypeLike) -> int | None:
    """The number that stands for white: 255 or 65535; None for floating point, which is used as it is.

    Raises:
        ValueError: another type, whose range nobody can know.
    """
    kind = np.dtype(dtype)
    if kind == np.uint8 or kind == np.uint16:
        return int(np.iinfo(kind).max)
    if kind.kind == "f":
        return None
    raise ValueError(f"expected uint8, uint16 or floating-point numbers, received {kind}")


def to_unit(values: NDArray[Any], dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """`values` on [0, 1], any shape; always a new array."""
    white = full_scale(values.dtype)
    unit = values.astype(dtype)
    return unit if white is None else np.divide(unit, white, out=unit)


def from_unit(values: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """`values` on [0, 1] in the range of `dtype`: rounded to the nearest integer (the report's cast would
    darken by half a step) and cut to the range. Floating point is neither rounded nor cut.

    Raises:
        DiagnosticError: E406, some value is not a number; there is no colour for it.
    """
    white = full_scale(dtype)
    if white is None:
        return values.astype(dtype)
    if not np.isfinite(values).all():
        raise fail(
            "E406",
            "the result has values that are not finite numbers",
            help="the weights have diverged; train again with a lower learning rate",
        )
    steps: NDArray[Any] = np.rint(np.clip(values, 0, 1) * float(white))
    return steps.astype(dtype)


def to_tensor(values: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    """`values` on [0, 1] as a float32 or float64 tensor of the same shape, with memory of its own."""
    # in NumPy, because a batch of small pictures is too little work to wake torch's threads for
    name = "float64" if dtype == torch.float64 else "float32"
    return torch.from_numpy(to_unit(values, name)).to(dtype)
