"""In which order pictures lie in memory, and how to get them there fast.

In: pictures in any order. Out: tensors without gaps whose order is (N, H, W, C). How torch's compiler makes
loops of an operation depends on the operation's shape: pictures of few channels, pixel by pixel, leave vector
units nearly empty, and a mask along a row costs more than what it saves. What is here gives the same numbers
as `contiguous` and `pad` would, by loops that are several times as fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from n2nspec._lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NARROW", "channels_last", "interleave", "padded", "settled"]

NARROW = 8
"""Fewer channels leave vector units half empty: what can be done on whole rows of pixels is done there."""


def settled(x: Tensor) -> Tensor:
    """`x`, a tensor without gaps, written to memory once and read from there by all that follows.

    A compiler would otherwise keep what `x` is made of and make it again for each reader. What is settled
    decides how much memory a step takes: see `oracle.fusion`. A part of another tensor stays what it is.
    """
    if x.storage_offset():  # before torch 2.13 the compiler would lose it
        return x
    return x.as_strided((x.numel(),), (1,)).as_strided(x.shape, x.stride())


def channels_last(x: Tensor) -> Tensor:
    """Pictures (N, C, H, W), settled in the order (N, H, W, C)."""
    if x.shape[1] < NARROW and not x.is_contiguous(memory_format=torch.channels_last):
        return _woven(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return settled(x.contiguous(memory_format=torch.channels_last))


def _woven(x: Tensor) -> Tensor:
    """Pictures (N, H, W, C) of few channels, each a plane, settled in that order.

    Plane by plane: the compiler's transposition of 16 × C numbers at a time takes twice as long.
    """
    return settled(torch.stack(x.unbind(3), 3))


def padded(x: Tensor, pads: Sequence[int]) -> Tensor:
    """Pictures (N, H, W, C) with margins of zeros: left, right, above, below.

    Rows of few channels get their margins by being put next to zeros, which needs no masks. Pictures in half
    precision are taken for pictures of half as many channels, which hold two numbers each: torch's compiler
    for CPUs makes margins around numbers of 16 bits one number at a time.
    """
    if not any(pads):
        return x
    n, height, width, channels = x.shape
    if channels < NARROW:
        left, right, above, below = pads
        rows = (x if x.is_contiguous() else _woven(x)).view(n, height, width * channels)
        rows = torch.nn.functional.pad(rows, (0, 0, above, below))
        before, after = (rows.new_zeros((*rows.shape[:2], size * channels)) for size in (left, right))
        return torch.cat([before, rows, after], 2).view(n, rows.shape[1], left + width + right, channels)
    if x.element_size() != 2 or channels % 2:
        return torch.nn.functional.pad(x, (0, 0, *pads))
    pairs = settled(x.contiguous().view(-1)).view(torch.float32).view(n, height, width, channels // 2)
    return settled(torch.nn.functional.pad(pairs, (0, 0, *pads))).view(x.dtype)


def interleave(parts: list[list[Tensor]]) -> Tensor:
    """Pictures (N, H, W, C) from those of each row and column phase, (N, h, w, C).

    Pixel (i·rows + r, j·columns + q) is pixel (i, j) of parts[r][q].
    """
    n, height, width, channels = parts[0][0].shape
    woven = torch.stack([torch.stack(row, 3) for row in parts], 2)
    return woven.reshape(n, height * len(parts), width * len(parts[0]), channels)
