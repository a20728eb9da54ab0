"""Mini-batches to train on.

In: a spec. Out: `TrainingData`, which gives for each epoch number the same (noisy, noisy) mini-batches
every time. Pictures stay in memory as the file had them (a byte a value for 8 bits) and become floating
point batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n2nspec._lazy import torch
from n2nspec.data.draw import generator
from n2nspec.data.scaling import to_tensor
from n2nspec.data.source import Pictures, Source
from n2nspec.data.sources import complain, open_source, sized
from n2nspec.diagnostics import Diagnostic, DiagnosticError, fail
from n2nspec.noise import NoiseSpec
from n2nspec.spec import Spec

__all__ = ["LEAST_CROPS", "TrainingData", "open_training"]

LEAST_CROPS = 3200
"""Random crops an epoch unless the spec says how many, or more are needed to cover the pictures: 100
mini-batches of 32. Few large pictures would otherwise make epochs of a handful of steps."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingData:
    """Pairs in the order in which training sees them.

    Attributes:
        source: the pictures.
        noise: what makes pairs of clean pictures; None when they are pairs already.
        size: height and width of the batches, as the network sees them.
        crop: height and width cut out of a source picture; more than `size` where the noise shrinks pictures.
            None when every picture is used whole, once an epoch.
        pairs_per_epoch: how many pairs `epoch` gives.
        batch_size: pairs a mini-batch; the last one may have fewer.
        seed: of order, crops and noise.
        dtype: of the batches.
        warnings: what the user should know.
    """

    source: Source
    noise: NoiseSpec | None
    size: tuple[int, int]
    crop: tuple[int, int] | None
    pairs_per_epoch: int
    batch_size: int
    seed: int
    dtype: torch.dtype
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def description(self) -> str:
        """A few words: what pictures, from where."""
        return self.source.title

    @property
    def channels(self) -> int:
        """Of every picture: 1 is grey, 3 is RGB."""
        return int(self.source.first[0].shape[0])

    @property
    def batches_per_epoch(self) -> int:
        return -(-self.pairs_per_epoch // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The mini-batches of one epoch: two noisy tensors (N, C, H, W), on [0, 1] give or take noise."""
        picks = self._picks(generator(self.seed, epoch, "order"))
        random = generator(self.seed, epoch, "noise")
        for start in range(0, len(picks), self.batch_size):
            chosen = picks[start : start + self.batch_size]
            first = to_tensor(self._gather(self.source.first, chosen), self.dtype)
            if self.source.second is not None:
                yield first, to_tensor(self._gather(self.source.second, chosen), self.dtype)
            else:
                yield self._noisy(first, random)

    def _picks(self, random: torch.Generator) -> NDArray[np.int64]:
        """(pairs_per_epoch, 3): picture, and top and left of the crop."""
        count = self.pairs_per_epoch
        sizes = self.source.sizes()[:, 1:]
        if self.crop is None:
            rounds = -(-count // len(sizes))
            order = torch.cat([torch.randperm(len(sizes), generator=random) for _ in range(rounds)])
            picked = order[:count].numpy()
            return np.stack([picked, np.zeros_like(picked), np.zeros_like(picked)], axis=1)
        # by area, so that a pixel of a small picture is seen as often as one of a large picture
        areas = torch.from_numpy(sizes.prod(axis=1)).double()
        picked = torch.multinomial(areas, count, replacement=True, generator=random).numpy()
        room = sizes[picked] - np.array(self.crop) + 1
        corner = np.floor(torch.rand(count, 2, dtype=torch.float64, generator=random).numpy() * room)
        return np.concatenate([picked[:, None], corner.astype(np.int64)], axis=1)

    def _gather(self, pictures: Pictures, chosen: NDArray[np.int64]) -> NDArray[Any]:
        if self.crop is None and isinstance(pictures, np.ndarray):
            return pictures[chosen[:, 0]]
        height, width = self.crop or pictures[0].shape[1:]
        return np.stack(
            [
                pictures[index][:, top : top + height, left : left + width]
                for index, top, left in chosen.tolist()
            ]
        )

    def _noisy(self, clean: torch.Tensor, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Pairs of a batch of clean crops (N, C, H, W)."""
        assert self.noise is not None  # `open_source` sees to it
        count, channels, height, width = clean.shape
        # Noise is drawn for each pixel or block by itself, so the crops may lie below one another as one tall
        # picture: one draw a batch instead of one a crop, five times as fast.
        whole_blocks = clean[:, :, : height - height % self.noise.shrink]
        tall = whole_blocks.transpose(0, 1).reshape(channels, -1, width)
        first, second = (self.noise.draw(tall, random) for _ in range(2))
        shape = (channels, count, *self.size)
        return (
            first.reshape(shape).transpose(0, 1).contiguous(),
            second.reshape(shape).transpose(0, 1).contiguous(),
        )


def open_training(spec: Spec, dtype: torch.dtype) -> TrainingData:
    """Reads what `[data] train` names.

    Raises:
        DiagnosticError: E305, the spec has no `[data]`; E304, pictures that are smaller than `patch`, or of
            several sizes without it, or of another size than `[input]` fixes; and what `open_source` raises.
    """
    data = spec.data
    if data is None:
        raise fail(
            "E305",
            "the spec does not say what to train on",
            file=spec.source_file,
            help='add a table [data] with train = "builtin:photos", or the path of your pairs',
        )
    opened = open_source(spec, "train", data.train)
    size, crop = _cut(spec, opened.source, opened.noise)
    sizes = opened.source.sizes()[:, 1:]
    if crop is None:
        tiles = len(sizes)
    else:
        tiles = max(LEAST_CROPS, int((sizes // np.array(crop)).prod(axis=1).sum()))
    warnings = list(opened.warnings)
    if opened.noise is not None and not opened.noise.keeps_mean and spec.train.loss.type == "MSE":
        message = f"the mean of {opened.noise.type} noise is not the clean picture, but MSE learns the mean"
        warnings.append(complain(spec, "noise", "W305", message, help="choose another noise or loss"))
    if data.val is None:
        message = "without held-out pictures nobody can say how good the network is"
        warnings.append(
            complain(spec, "val", "W302", message, help='add val = "builtin:photos", or a path, to [data]')
        )
    return TrainingData(
        source=opened.source,
        noise=opened.noise,
        size=size,
        crop=crop,
        pairs_per_epoch=data.patches_per_epoch or tiles,
        batch_size=spec.train.batch_size,
        seed=spec.train.seed,
        dtype=dtype,
        warnings=tuple(warnings),
    )


def _cut(
    spec: Spec, source: Source, noise: NoiseSpec | None
) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """The size of the batches, and that of the crops; no crops when pictures are used whole."""
    assert spec.data is not None
    shrink = noise.shrink if noise else 1
    sizes = source.sizes()[:, 1:]
    whole = (int(sizes[0, 0]), int(sizes[0, 1]))
    equal = bool(np.all(sizes == sizes[0]))
    if spec.data.patch is None and not equal:
        height, width = (sizes.min(axis=0) // shrink).tolist()
        raise _refuse(
            spec,
            "train",
            f"pictures of several sizes do not fit in one batch: {sized(source, sizes[:, 0] > 0)}",
            f"set patch in [data], such as patch = 32; at most [{height}, {width}] fits in all of them",
        )
    size = spec.data.patch or (max(1, whole[0] // shrink), max(1, whole[1] // shrink))
    crop = (size[0] * shrink, size[1] * shrink)
    small = np.any(sizes < np.array(crop), axis=1)
    if small.any():
        reason = f", of which the noise makes one pixel of {shrink} × {shrink}," if shrink > 1 else ""
        raise _refuse(
            spec,
            "patch",
            f"patches of {size[0]} × {size[1]} need pictures of {crop[0]} × {crop[1]}{reason} or more;"
            f" smaller: {sized(source, small)}",
            "make patch smaller, or leave these pictures out",
        )
    _check_input(spec, size)
    uncut = spec.data.patch is None or (equal and crop == whole)
    return size, None if uncut else crop


def _check_input(spec: Spec, patch: tuple[int, int]) -> None:
    """A size that `[input]` gives as a number has to be that of the batches."""
    ((name, shape),) = spec.input.items()
    if any(isinstance(dim, int) and dim != size for dim, size in zip(shape[-2:], patch, strict=True)):
        dims = " × ".join(str(dim) for dim in shape[-2:])
        raise _refuse(
            spec,
            "patch",
            f"the input {name} takes pictures of {dims}, the training pictures are {patch[0]} × {patch[1]}",
            f'set patch to that size, or let the input vary: {name} = ["N", {shape[-3]}, "H", "W"]',
        )


def _refuse(spec: Spec, key: str, message: str, help: str) -> DiagnosticError:
    return DiagnosticError([complain(spec, key, "E304", message, help=help)])
