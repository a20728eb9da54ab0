"""Additive Gaussian noise: y = x + σ·n with n from N(0, 1), independent for every number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Strict

from n2nspec._lazy import torch
from n2nspec.noise._base import NoiseSpec

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["GaussianSpec"]


class GaussianSpec(NoiseSpec):
    """White noise of one strength everywhere: read-out noise."""

    type: Literal["gaussian"] = "gaussian"
    sigma: Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)] = Field(
        description="Standard deviation; pictures have the range [0, 1].", examples=[0.1]
    )

    def draw(self, clean: Tensor, generator: Generator) -> Tensor:
        noise = torch.randn(clean.shape, dtype=clean.dtype, device=clean.device, generator=generator)
        return clean + self.sigma * noise
