"""`builtin:photos`: photographs that may be copied freely, from the scikit-image package.

In: "train" or "val". Out: the photographs of that side. The two sides never share one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import skimage.data
from numpy.typing import NDArray

from n2nspec.data.source import Source
from n2nspec.diagnostics import plural

__all__ = ["PHOTOGRAPHS", "Photograph", "photographs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """One photograph of `skimage.data`, its author and licence, and the side it serves on."""

    name: str
    author: str
    licence: str
    side: Literal["train", "val"]


PHOTOGRAPHS = (
    Photograph(name="astronaut", author="NASA", licence="public domain", side="train"),
    Photograph(name="coffee", author="Rachel Michetti", licence="CC0", side="train"),
    Photograph(name="rocket", author="SpaceX", licence="public domain", side="train"),
    # the cat is held out: fur, sharp edges and smooth background, the three things that a denoiser can spoil
    Photograph(name="chelsea", author="Stéfan van der Walt", licence="CC0", side="val"),
)


def photographs(side: Literal["train", "val"]) -> Source:
    """The photographs to train on, or the one to validate on; clean, RGB, uint8."""
    chosen = [photo for photo in PHOTOGRAPHS if photo.side == side]
    pictures = [_load(photo.name) for photo in chosen]
    return Source(
        title=f"{plural(len(chosen), 'photograph')}: "
        + ", ".join(f"{photo.name} ({photo.author}, {photo.licence})" for photo in chosen),
        names=tuple(photo.name for photo in chosen),
        first=pictures,
    )


def _load(name: str) -> NDArray[Any]:
    picture: NDArray[Any] = getattr(skimage.data, name)()
    return np.ascontiguousarray(picture.transpose(2, 0, 1))
