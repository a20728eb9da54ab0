"""What a noise model is: two independent noisy versions of one clean picture.

In: a clean picture (C, H, W) of floats in [0, 1], and the generator that all randomness comes from. Out: the
two noisy pictures and the clean one, floats of one shape.

Noise2Noise works because the mean of the noisy targets is the clean picture (Lehtinen et al. 2018, section 2,
https://arxiv.org/abs/1803.04189). So nothing is clipped to [0, 1]: clipping would brighten the dark parts and
darken the bright ones on average. `keeps_mean` says whether a model has that property.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, Strict

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["NoiseSpec", "Share"]

Share = Annotated[float, Strict(), Field(ge=0, lt=1)]
"""A probability that is not certain."""


class NoiseSpec(BaseModel):
    """The spec fields of a noise model and its draw. Subclasses are frozen values."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)

    type: str

    keeps_mean: ClassVar[bool] = True
    """False: a network trained on such pairs with MSE learns something else than the clean picture."""

    @property
    def shrink(self) -> int:
        """How many pixels of the clean picture, along each axis, make one pixel of the pair."""
        return 1

    def pair(self, clean: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(noisy, noisy drawn again, clean) of a clean picture (C, H, W); `clean` itself is left alone.

        Raises:
            ValueError: no picture of floats, or one that the model can't take.
        """
        if clean.dim() != 3 or not clean.is_floating_point():
            raise ValueError(
                f"{self.type} noise: expected a picture (C, H, W) of floats;"
                f" received shape {tuple(clean.shape)}, {clean.dtype}"
            )
        return self.draw(clean, generator), self.draw(clean, generator), self.reference(clean)

    @abstractmethod
    def draw(self, clean: Tensor, generator: Generator) -> Tensor:
        """One noisy version."""

    def reference(self, clean: Tensor) -> Tensor:
        """The clean picture that the noisy ones are to be compared with."""
        return clean
