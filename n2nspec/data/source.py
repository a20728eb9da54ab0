"""Pictures in memory, before they are cut, scaled or made noisy.

In: what a reader found. Out: a `Source`: pairs of noisy pictures, or clean pictures that still need noise,
in the dtype of the files, (C, H, W) each, so that a byte of a picture costs a byte of memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n2nspec.data.scaling import full_scale
from n2nspec.diagnostics import Diagnostic, fail

__all__ = ["Pictures", "Source", "checked", "packed", "some"]

Pictures = Sequence[NDArray[Any]] | NDArray[Any]
"""(C, H, W) arrays; one (N, C, H, W) array when all are equal in size."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """Pictures and where they come from.

    Attributes:
        title: a few words for the reader of a run's report.
        names: one a picture, for messages and tables.
        first: the noisy pictures, or the clean ones when there is no `second`.
        second: the other noisy picture of each pair (in validation: the clean one); None without pairs.
        warnings: what was found on the way.
    """

    title: str
    names: Sequence[str]
    first: Pictures
    second: Pictures | None = None
    warnings: tuple[Diagnostic, ...] = ()

    def sizes(self) -> NDArray[np.int64]:
        """(N, 3): channels, height and width of every picture."""
        if isinstance(self.first, np.ndarray):
            return np.tile(np.array(self.first.shape[1:], dtype=np.int64), (len(self.first), 1))
        return np.array([picture.shape for picture in self.first], dtype=np.int64)


def packed(pictures: list[NDArray[Any]]) -> Pictures:
    """Pictures of one dtype, as one array when all are equal in shape (a batch is then one gather)."""
    if len({picture.dtype for picture in pictures}) > 1:
        # 65535 = 257 · 255, so 8 bits among 16 are widened without rounding
        pictures = [p * np.uint16(257) if p.dtype == np.uint8 else p for p in pictures]
    return np.stack(pictures) if len({picture.shape for picture in pictures}) == 1 else pictures


def checked(array: NDArray[Any], what: str, file: Path, *, noisy: bool = True) -> NDArray[Any]:
    """`array`, if its dtype has a range that is known, and its values are in it.

    Raises:
        DiagnosticError: E302, integers of another type, or floating point far from [0, 1] (for clean
            pictures, below 0); E304, no pictures.
    """
    try:
        white = full_scale(array.dtype)
    except ValueError as error:
        raise fail(
            "E302", f"{what} of {file.name}: {error}", file=file, help="store the pictures as uint8 or uint16"
        ) from error
    if array.size == 0:
        raise fail("E304", f"{what} of {file.name} holds no pictures, its shape is {array.shape}", file=file)
    if white is None:
        low, high = float(array.min()), float(array.max())
        # noise may leave [0, 1] by a little; 0–255 stored as floating point is off by a lot
        if not (low >= (-1 if noisy else 0) and high <= 2):
            raise fail(
                "E302",
                f"{what} of {file.name} has values from {low:g} to {high:g}; expected [0, 1]",
                file=file,
                help="divide by the value of white, or store the pictures as uint8 or uint16",
            )
    return array


def some(names: Sequence[str], limit: int = 5) -> str:
    """The first few of a list of names, and how many more there are."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"
