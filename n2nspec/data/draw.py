"""Everything random about data, from the seed.

In: the spec's seed, an epoch, a purpose. Out: generators. An epoch has
its own generators, so that one can start at any epoch and get the batches of an uninterrupted run.
"""

from __future__ import annotations

import hashlib

from n2nspec._lazy import torch

__all__ = ["generator"]


def generator(*words: str | int) -> torch.Generator:
    """A generator of its own for these words; the same words give the same numbers everywhere."""
    # a hash, because neighbouring seeds of one generator are not promised to be independent
    digest = hashlib.sha256(":".join(map(str, words)).encode()).digest()
    made = torch.Generator()
    made.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return made
