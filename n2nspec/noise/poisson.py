"""Poisson noise: y = k / peak with k from Poisson(peak·x), independent for every number.

Mean x, variance x / peak: photons are counted, `peak` of them where the picture is white.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Strict

from n2nspec._lazy import torch
from n2nspec.noise._base import NoiseSpec

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["PoissonSpec"]


class PoissonSpec(NoiseSpec):
    """Photon noise: strongest, for its signal, in the dark."""

    type: Literal["poisson"] = "poisson"
    peak: Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)] = Field(
        description="Photons at the value 1; fewer mean more noise.", examples=[30]
    )

    def draw(self, clean: Tensor, generator: Generator) -> Tensor:
        if clean.numel() and clean.min() < 0:
            raise ValueError("poisson noise: expected no negative values; photons are counted")
        return torch.poisson(clean * self.peak, generator=generator) / self.peak
