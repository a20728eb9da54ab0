"""Counterparts of layers that torch.nn has no module for, so that a twin is complete.

Written with torch's own operations and differentiated by autograd, like everything in the oracle.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Add", "CenterCrop", "Concat", "CropLike", "Mul", "Sub"]


class Add(torch.nn.Module):
    """The sum of two or more tensors of one shape."""

    def forward(self, *xs: Tensor) -> Tensor:
        """The sum."""
        _check(xs)
        return torch.stack(xs).sum(0)


class Sub(torch.nn.Module):
    """The first tensor less the second."""

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """The difference."""
        _check((x, other))
        return torch.sub(x, other)


class Mul(torch.nn.Module):
    """The elementwise product of two or more tensors of one shape."""

    def forward(self, *xs: Tensor) -> Tensor:
        """The product."""
        _check(xs)
        return torch.stack(xs).prod(0)


class Concat(torch.nn.Module):
    """torch.cat along `dim`."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *xs: Tensor) -> Tensor:
        """The tensors side by side."""
        return torch.cat(xs, self.dim)


class CropLike(torch.nn.Module):
    """The first picture, cut to the height and width of the second around the middle."""

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """The cut."""
        return _cut(x, reference.shape[-2], reference.shape[-1])


class CenterCrop(torch.nn.Module):
    """A picture, cut to a fixed size around the middle."""

    def __init__(self, size: int | tuple[int, int]) -> None:
        super().__init__()
        self.size = (size, size) if isinstance(size, int) else size

    def forward(self, x: Tensor) -> Tensor:
        """The cut."""
        return _cut(x, *self.size)


def _cut(x: Tensor, height: int, width: int) -> Tensor:
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x.narrow(-2, top, height).narrow(-1, left, width)


def _check(xs: tuple[Tensor, ...]) -> None:
    """Broadcasting would hide that shapes differ."""
    if len(xs) < 2 or any(x.shape != xs[0].shape for x in xs):
        raise ValueError(f"expected tensors of one shape; received {[tuple(x.shape) for x in xs]}")
