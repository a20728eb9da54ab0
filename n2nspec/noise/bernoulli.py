"""Multiplicative Bernoulli noise: y = x·m / (1 - p), with the mask m = 0 with probability p, else 1.

One mask a pixel, for all its channels. `p` is the probability of losing a pixel, as in the Noise2Noise paper
(Lehtinen et al. 2018, "Multiplicative Bernoulli noise", https://arxiv.org/abs/1803.04189). The
paper leaves the kept pixels as they are and lets the loss pass over the lost ones; here a loss sees every
pixel, so the kept ones are scaled by 1 / (1 - p) instead, which makes the mean the clean picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from n2nspec._lazy import torch
from n2nspec.noise._base import NoiseSpec, Share

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["BernoulliSpec"]


class BernoulliSpec(NoiseSpec):
    """Lost pixels; the others are brighter to make up for them."""

    type: Literal["bernoulli"] = "bernoulli"
    p: Share = Field(description="Probability that a pixel is lost.", examples=[0.1])

    def draw(self, clean: Tensor, generator: Generator) -> Tensor:
        # drawn in float32 whatever the picture's dtype: one seed, one mask
        kept = torch.rand(clean.shape[1:], device=clean.device, generator=generator) >= self.p
        return clean * kept / (1 - self.p)
