"""The mean squared error where the output and its gradient are pictures on planned buffers.

In: a target, (N, C, H, W). Out: the loss; its gradient stands in the output's gradient, or, after a sigmoid y
that joins the loss, that before the sigmoid: 2 (y - t) y (1 - y), times 1/n for the mean, times the weight of
the loss. The difference is taken channel by channel: the target has another order of axes, and this is the
one walk through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.runtime.optimized.buffers import Picture

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SquaredError"]

FEW = 4
"""Channels up to which a call for each is faster than one for all."""


class SquaredError:
    """For one instance; `prediction` and `gradient` are its pictures of the output; a sigmoid if `joined`."""

    def __init__(self, prediction: Picture, gradient: Picture, *, joined: bool) -> None:
        self.joined = joined
        self._y, self._gy = prediction.whole, gradient.whole
        self._nothing = gradient.padded.new_zeros(())
        channels = gradient.shape[1]
        self._flat = gradient.padded.view(-1)  # whatever is no pixel is zero
        self._all = prediction.nchw, gradient.nchw
        self._spare = gradient.whole[..., channels:]
        self._each = [
            (prediction.inside[..., c], gradient.inside[..., c])
            for c in range(channels if channels <= FEW else 0)
        ]

    def __call__(self, target: Tensor, mean: bool, weight: float = 1.0) -> Tensor:
        """The loss: the mean over all numbers, or their sum. The gradient is that of `weight` times it."""
        if self._spare.numel():  # a NaN may have got there
            self._spare.zero_()
        if self._each:
            for (y, gy), t in zip(self._each, target.unbind(1), strict=True):
                torch.sub(y, t, out=gy)
        else:
            torch.sub(self._all[0], target, out=self._all[1])
        scale = 1.0 / target.numel() if mean else 1.0
        value = torch.dot(self._flat, self._flat) * scale
        slope = 2 * scale * weight
        if self.joined:
            y, gy = self._y, self._gy
            torch.addcmul(self._nothing, gy, y, value=slope, out=gy)
            gy.addcmul_(gy, y, value=-1)
        else:
            self._flat.mul_(slope)
        return value
