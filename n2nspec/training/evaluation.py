"""What a network makes of held-out pictures.

In: a forward function, held-out pictures of any size. Out: the PSNR of every picture before and after, and a
few of the pictures to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.data import ValidationPicture
from n2nspec.training.examples import Example, example
from n2nspec.training.inference import Frame, pictures_per_batch
from n2nspec.training.metrics import mean, picture_psnrs

if TYPE_CHECKING:
    from torch import Tensor, device

__all__ = ["Measured", "Score", "measure", "spread"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One held-out picture, dB against its reference."""

    name: str
    psnr: float
    noisy_psnr: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All held-out pictures, in their order, and the rows of `examples.png`."""

    scores: tuple[Score, ...]
    examples: tuple[Example, ...] = ()

    @property
    def psnr(self) -> float:
        """Mean over pictures, denoised."""
        return mean(score.psnr for score in self.scores)

    @property
    def noisy_psnr(self) -> float:
        """Mean over pictures, as they were."""
        return mean(score.noisy_psnr for score in self.scores)


def measure(
    forward: Callable[[Tensor], Tensor],
    frame: Frame,
    pictures: Iterable[ValidationPicture],
    device: device,
    show: frozenset[int] = frozenset(),
) -> Measured:
    """Denoises every picture and compares. Only one batch of them is in memory at a time.

    Args:
        forward: a network in evaluation mode.
        pictures: at least one; neighbours of equal size go through the network together.
        show: indices of the pictures to keep as examples.

    Raises:
        DiagnosticError: a picture that does not fit the network, by size or by channels.
    """
    scores: list[Score] = []
    examples: list[Example] = []
    for batch in _batches(pictures):
        noisy = torch.stack([picture.noisy for picture in batch])
        reference = torch.stack([picture.reference for picture in batch])
        denoised = frame.apply(forward, noisy.to(device)).to(noisy.device)
        before, after = picture_psnrs(noisy, reference), picture_psnrs(denoised, reference)
        for index, picture in enumerate(batch):
            if len(scores) in show:
                examples.append(example(picture.name, picture.noisy, denoised[index], picture.reference))
            scores.append(Score(name=picture.name, psnr=after[index], noisy_psnr=before[index]))
    return Measured(scores=tuple(scores), examples=tuple(examples))


def _batches(pictures: Iterable[ValidationPicture]) -> Iterator[list[ValidationPicture]]:
    """Neighbours of equal size, as many as go through a network at once."""
    batch: list[ValidationPicture] = []
    for picture in pictures:
        full = batch and len(batch) >= pictures_per_batch(*batch[0].noisy.shape[-2:])
        if batch and (full or picture.noisy.shape != batch[0].noisy.shape):
            yield batch
            batch = []
        batch.append(picture)
    if batch:
        yield batch


def spread(count: int, rows: int) -> frozenset[int]:
    """Up to `rows` indices below `count`, evenly from the first to the last."""
    if count <= rows:
        return frozenset(range(count))
    return frozenset(round(row * (count - 1) / (rows - 1)) for row in range(rows))
