"""Padding of pictures and its adjoint.

In: x (N, C, H, W) or (C, H, W), and (before, after) pixels for H and W; negative ones are cut off. Out: the
padded picture; `unpad` maps a gradient of the padded picture to one of x, adding up where a mode copied a
pixel several times.

Modes other than zeros read padded pixel i from source pixel `_sources(...)[i]`, so their adjoint is an
index_add. The modes are those of torch.nn.Conv2d's `padding_mode`; with "zeros" the new pixels may hold any
other number as well. `smallest` says which sizes can be padded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from n2nspec._lazy import torch
from n2nspec.geometry import elements

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Mode", "Pads", "copying_bytes", "pad", "smallest", "taken", "unpad"]

Mode = Literal["zeros", "reflect", "replicate", "circular"]

Pads = tuple[tuple[int, int], tuple[int, int]]
"""((above, below), (left, right))"""


def smallest(mode: str, before: int, after: int) -> int:
    """The smallest size that can be padded: reflection skips the border, a circle goes round once at most.

    What is cut off has to be there, and is cut off before a circle is closed; torch, whose circle may then be
    longer than what is left, pads with memory that it never wrote.
    """
    cut = max(-before, 0) + max(-after, 0)
    if mode == "zeros":
        return max(cut, 1)
    return {"reflect": max(before, after, 0) + 1, "circular": cut + max(before, after, 1)}.get(mode, 1)


def _sources(size: int, before: int, after: int, mode: str) -> list[int]:
    """Which pixel of an axis each padded pixel copies."""
    positions = range(-before, size + after)
    if mode == "replicate":
        return [min(max(i, 0), size - 1) for i in positions]
    if mode == "circular":
        first = max(-before, 0)
        left = size - first - max(-after, 0)
        return [first + (i - first) % left for i in positions]
    # reflect: … 2 1 | 0 1 2 … without repeating the border
    return [abs(i) if i < size else 2 * (size - 1) - i for i in positions]


def pad(x: Tensor, pads: Pads, mode: str, value: float = 0.0) -> Tensor:
    """`x` with its border grown by `pads`, of `value` in mode "zeros"; x itself when nothing is added."""
    if pads == ((0, 0), (0, 0)):
        return x
    if mode == "zeros":
        (above, below), (left, right) = pads
        return torch.nn.functional.pad(x, (left, right, above, below), value=value)
    for axis, (before, after) in zip((-2, -1), pads, strict=True):
        sources = _sources(x.shape[axis], before, after, mode)
        x = taken(x, axis, torch.tensor(sources, device=x.device))
    return x


def taken(x: Tensor, axis: int, pixels: Tensor) -> Tensor:
    """The rows (axis -2) or columns (axis -1) of a picture with these numbers.

    index_select is the same, but some five times slower for columns.
    """
    return x[..., pixels] if axis == -1 else x[..., pixels, :]


def unpad(g: Tensor, pads: Pads, mode: str) -> Tensor:
    """The adjoint of `pad`."""
    if pads == ((0, 0), (0, 0)):
        return g
    if mode == "zeros":
        (above, below), (left, right) = pads
        g = g[
            ..., max(above, 0) : g.shape[-2] - max(below, 0), max(left, 0) : g.shape[-1] - max(right, 0)
        ]  # a view, as nearly always nothing was cut off
        cut = [max(-pixels, 0) for pixels in (left, right, above, below)]
        return torch.nn.functional.pad(g, cut) if any(cut) else g
    for axis, (before, after) in zip((-1, -2), reversed(pads), strict=True):
        size = g.shape[axis] - before - after
        sources = torch.tensor(_sources(size, before, after, mode), device=g.device)
        shape = list(g.shape)
        shape[axis] = size
        g = g.new_zeros(shape).index_add(axis, sources, g)
    return g


def copying_bytes(picture: tuple[int, ...], padded: tuple[int, ...], item: int) -> tuple[int, int]:
    """The most that `pad` and `unpad` allocate in modes other than zeros, which work along an axis at a time.

    `unpad` adds into zeros, which makes a copy of these.
    """
    rows = elements((*padded[:-1], picture[-1])) * item
    return rows + elements(padded) * item, rows + max(rows, 2 * elements(picture) * item)
