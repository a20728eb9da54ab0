"""Numbers too small for a processor to be quick with, taken for zero.

In: nothing. Out: a context in which operators of this thread do so. The moments of a unit that died decay
until they are denormal, below 1.2e-38 in float32, and stay there; after a thousand steps of specs/n2n.toml it
is half of them, and an update takes three times as long. Whoever runs this keeps the setting that he had.

Source: torch.set_flush_denormal, https://docs.pytorch.org/docs/stable/generated/torch.set_flush_denormal.html.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from n2nspec._lazy import torch

__all__ = ["denormals_are_zero"]

HALF = 0.5


@contextmanager
def denormals_are_zero() -> Iterator[None]:
    """While this holds; nothing where the processor cannot, or does so already."""
    already = HALF * sys.float_info.min == 0.0  # a Python float is multiplied by the same unit of this thread
    if already or not torch.set_flush_denormal(True):
        yield
        return
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
