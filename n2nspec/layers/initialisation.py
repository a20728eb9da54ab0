"""Uniform initialisations U(-a, a) of weights and biases.

In: N_in and N_out of a parameter (channels times kernel positions). Out: the bound a.

    xavier    a = √(6 / (N_in + N_out))     Glorot and Bengio 2010
    he        a = √(6 / N_in)               He et al. 2015
    pytorch   a = 1 / √N_in                 what torch.nn.Conv2d and torch.nn.Linear draw

Source: the source report, section 1.3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from n2nspec._lazy import torch
from n2nspec.layers._base import ParameterSpec

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["Initialisation", "bound", "initialise"]

Initialisation = Literal["xavier", "he", "pytorch"]


def bound(scheme: Initialisation, fan_in: int, fan_out: int) -> float:
    """The bound a of U(-a, a)."""
    if scheme == "xavier":
        return math.sqrt(6 / (fan_in + fan_out))
    if scheme == "he":
        return math.sqrt(6 / fan_in)
    if scheme == "pytorch":
        return 1 / math.sqrt(fan_in)
    raise ValueError(f'init: expected "xavier", "he" or "pytorch"; received {scheme!r}')


def initialise(
    tensor: Tensor, spec: ParameterSpec, scheme: Initialisation, generator: Generator | None
) -> None:
    """Fills `tensor` in place; a parameter that starts as a number draws nothing.

    Drawn on the CPU in float64 and then rounded, so that one seed gives the same network on every device and
    in every dtype.
    """
    if spec.value is not None:
        tensor.fill_(spec.value)
        return
    a = bound(scheme, spec.fan_in, spec.fan_out)
    draw = torch.empty(spec.shape, dtype=torch.float64).uniform_(-a, a, generator=generator)
    tensor.copy_(draw)
