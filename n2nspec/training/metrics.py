"""The two numbers of training: PSNR of pictures, and the moving average of a loss.

In: pictures as tensors, losses as floats. Out: decibels, and a shorter list of floats.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from n2nspec._lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["mean", "moving_average", "picture_psnrs", "psnr"]


def picture_psnrs(prediction: Tensor, reference: Tensor) -> list[float]:
    """The peak signal-to-noise ratio of every picture, in dB: -10·log10(mse), for a range of [0, 1].

    The mean square error runs over all pixels and channels of a picture, in float64. Nothing is clipped,
    neither a network's output nor a noisy input that leaves [0, 1].

    Args:
        prediction: (C, H, W), or (N, C, H, W) for several pictures.
        reference: the same shape.

    Returns:
        one number a picture; `inf` where the two are equal, `nan` where a pixel is.

    Raises:
        ValueError: the shapes differ (nothing is broadcast), or are not those of pictures.
    """
    if prediction.shape != reference.shape:
        raise ValueError(
            f"psnr: expected two equal shapes; received {tuple(prediction.shape)} and"
            f" {tuple(reference.shape)}"
        )
    if prediction.ndim not in (3, 4) or not prediction.numel():
        raise ValueError(f"psnr: expected (C, H, W) or (N, C, H, W); received {tuple(prediction.shape)}")
    pictures = prediction.shape[0] if prediction.ndim == 4 else 1
    difference = prediction.detach().to(torch.float64) - reference.detach().to(torch.float64)
    errors = difference.reshape(pictures, -1).square().mean(dim=1)
    return [math.inf if error == 0 else -10 * math.log10(error) for error in errors.tolist()]


def mean(values: Iterable[float]) -> float:
    """The mean, summed exactly; `inf` when one value is.

    Raises:
        ValueError: there is no value.
    """
    numbers = list(values)
    if not numbers:
        raise ValueError("mean of no values")
    return math.fsum(numbers) / len(numbers)


def psnr(prediction: Tensor, reference: Tensor) -> float:
    """The mean over pictures of `picture_psnrs`: one picture (C, H, W) or several (N, C, H, W), in dB."""
    return mean(picture_psnrs(prediction, reference))


def moving_average(values: Sequence[float], window: int) -> list[float]:
    """The means of `window` neighbours: element i is the mean of values i … i + window - 1.

    Only whole windows count, so the result is window - 1 shorter; fewer values than a window are
    averaged as one.

    Raises:
        ValueError: the window is smaller than 1.
    """
    if window < 1:
        raise ValueError(f"moving_average: expected a window of 1 or more; received {window}")
    if not values:
        return []
    window = min(window, len(values))
    sums = [0.0, *accumulate(values)]
    return [(after - before) / window for before, after in zip(sums, sums[window:], strict=False)]
