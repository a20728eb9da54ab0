"""Held-out pictures to measure on.

In: a spec, or a path from outside it. Out: `ValidationData`: noisy pictures with their references. Whatever
the spec's seed, the noise is the same, so that the PSNRs of two runs can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from n2nspec._lazy import torch
from n2nspec.data.draw import generator
from n2nspec.data.scaling import to_tensor
from n2nspec.data.source import Source
from n2nspec.data.sources import complain, open_source, sized
from n2nspec.diagnostics import Diagnostic, DiagnosticError
from n2nspec.noise import NoiseSpec
from n2nspec.spec import Spec

__all__ = ["ValidationData", "ValidationPicture", "open_validation"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ValidationPicture:
    """A noisy picture and its reference, both (C, H, W) and of one size; on [0, 1], give or take noise.

    The reference is the clean picture where there is one, else another noisy picture of the same thing.
    """

    name: str
    noisy: torch.Tensor
    reference: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ValidationData:
    """Pictures to measure on; every iteration gives the same ones."""

    source: Source
    noise: NoiseSpec | None
    dtype: torch.dtype
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def description(self) -> str:
        """A few words: what pictures, from where."""
        return self.source.title

    def __len__(self) -> int:
        return len(self.source.first)

    def __iter__(self) -> Iterator[ValidationPicture]:
        for index, name in enumerate(self.source.names):
            first = to_tensor(self.source.first[index], self.dtype)
            if self.source.second is not None:
                reference = to_tensor(self.source.second[index], self.dtype)
                yield ValidationPicture(name=name, noisy=first, reference=reference)
            else:
                assert self.noise is not None  # `open_source` sees to it
                noisy, _, clean = self.noise.pair(first, generator("validation", index))
                yield ValidationPicture(name=name, noisy=noisy, reference=clean)


def open_validation(spec: Spec, dtype: torch.dtype, path: str | None = None) -> ValidationData | None:
    """Reads what `[data] val` names, or `path` instead; None when there is neither.

    A pair is (noisy, reference); clean pictures get the spec's noise, once.

    Raises:
        DiagnosticError: E304, a picture too small for the noise; and what `open_source` raises.
    """
    words = path if path is not None else spec.data.val if spec.data else None
    if words is None:
        return None
    given = path is not None
    opened = open_source(spec, "val", words, given=given)
    sizes = opened.source.sizes()[:, 1:]
    shrink = opened.noise.shrink if opened.noise else 1
    small = np.any(sizes < shrink, axis=1)
    if small.any():
        message = f"the noise makes one pixel of {shrink} × {shrink}; smaller: {sized(opened.source, small)}"
        raise DiagnosticError([complain(spec, "val", "E304", message, given=given)])
    return ValidationData(source=opened.source, noise=opened.noise, dtype=dtype, warnings=opened.warnings)
