"""Padding of pictures and its adjoint.

In: x (N, C, H, W) and (before, after) pixels for H and W. Out: the padded picture; `unpad` maps a
gradient of the padded picture to one of x, adding up where a mode copied a pixel several times.

Modes other than zeros read padded pixel i from source pixel `_sources(...)[i]`, so their adjoint is an
index_add. The modes are those of torch.nn.Conv2d's `padding_mode`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from n2nspec._lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Pads", "pad", "unpad"]

Pads = tuple[tuple[int, int], tuple[int, int]]
"""((above, below), (left, right))"""


def _sources(size: int, before: int, after: int, mode: str) -> list[int]:
    """Which pixel of an axis each padded pixel copies."""
    positions = range(-before, size + after)
    if mode == "replicate":
        return [min(max(i, 0), size - 1) for i in positions]
    if mode == "circular":
        return [i % size for i in positions]
    # reflect: … 2 1 | 0 1 2 … without repeating the border
    return [abs(i) if i < size else 2 * (size - 1) - i for i in positions]


def pad(x: Tensor, pads: Pads, mode: str) -> Tensor:
    """`x` with its border grown by `pads`; x itself when nothing is added."""
    if pads == ((0, 0), (0, 0)):
        return x
    if mode == "zeros":
        (above, below), (left, right) = pads
        return torch.nn.functional.pad(x, (left, right, above, below))
    for axis, (before, after) in zip((-2, -1), pads, strict=True):
        sources = _sources(x.shape[axis], before, after, mode)
        x = x.index_select(axis, torch.tensor(sources, device=x.device))
    return x


def unpad(g: Tensor, pads: Pads, mode: str) -> Tensor:
    """The adjoint of `pad`."""
    if pads == ((0, 0), (0, 0)):
        return g
    if mode == "zeros":
        (above, below), (left, right) = pads
        return g[..., above : g.shape[-2] - below, left : g.shape[-1] - right]
    for axis, (before, after) in zip((-1, -2), reversed(pads), strict=True):
        size = g.shape[axis] - before - after
        sources = torch.tensor(_sources(size, before, after, mode), device=g.device)
        shape = list(g.shape)
        shape[axis] = size
        g = g.new_zeros(shape).index_add(axis, sources, g)
    return g
