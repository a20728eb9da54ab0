"""Random-valued impulse noise: with probability p a pixel becomes a random colour, uniform in [0, 1].

y = (1 - m)·x + m·u, one m a pixel, one u a channel (Lehtinen et al. 2018, "Random-valued impulse noise",
https://arxiv.org/abs/1803.04189). Its mean, (1 - p)·x + p / 2, is not x, its mode is: with MSE a network
learns the greyer picture of the means, which is why the paper goes over to a loss that seeks the mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from n2nspec._lazy import torch
from n2nspec.noise._base import NoiseSpec, Share

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["ImpulseSpec"]


class ImpulseSpec(NoiseSpec):
    """Pixels replaced by random colours: dead pixels, transmission errors."""

    type: Literal["impulse"] = "impulse"
    p: Share = Field(description="Probability that a pixel is replaced.", examples=[0.1])

    keeps_mean: ClassVar[bool] = False

    def draw(self, clean: Tensor, generator: Generator) -> Tensor:
        hit = torch.rand(clean.shape[1:], device=clean.device, generator=generator) < self.p
        colour = torch.rand(clean.shape, dtype=clean.dtype, device=clean.device, generator=generator)
        return torch.where(hit, colour, clean)
