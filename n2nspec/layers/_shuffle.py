"""Channels to blocks of pixels and back: what pixel shuffle and unshuffle are made of.

In: x (…, C, H, W) and a factor r. Each is the inverse, and as a permutation the adjoint, of the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["shuffle", "unshuffle"]


def shuffle(x: Tensor, r: int) -> Tensor:
    """(…, C·r², H, W) to (…, C, H·r, W·r): channel c·r² + a·r + b goes to row a, column b of each block."""
    *batch, channels, h, w = x.shape
    blocks = x.reshape(*batch, channels // r**2, r, r, h, w)  # …, c, a, b, i, j
    return blocks.movedim((-4, -3), (-3, -1)).reshape(*batch, channels // r**2, h * r, w * r)


def unshuffle(x: Tensor, r: int) -> Tensor:
    """(…, C, H·r, W·r) to (…, C·r², H, W)."""
    *batch, channels, h, w = x.shape
    blocks = x.reshape(*batch, channels, h // r, r, w // r, r)  # …, c, i, a, j, b
    return blocks.movedim((-3, -1), (-4, -3)).reshape(*batch, channels * r**2, h // r, w // r)
