"""Freed memory that stays at hand, by what the C library does of itself.

In: nothing. Out: nothing. A compiled step frees all that it took and takes it again at the next call. glibc
gives back to the system what is freed, until a large block has been freed once: then it keeps twice as much,
up to 64 MiB. Coming back from the system, memory is cleared first, up to a seventh of a step. A program may
have more kept (`cli/_heap.py`); that is not for a library to decide.

Source: M_MMAP_THRESHOLD in mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html.
"""

from __future__ import annotations

from n2nspec._lazy import torch

__all__ = ["keep_freed_memory"]

LARGEST = 2**25 - 2**14
"""Bytes of a block: just below those of which glibc learns nothing any more, with what it adds."""


def keep_freed_memory() -> None:
    """From now on, where the C library is glibc and nobody has told it otherwise."""
    torch.empty(LARGEST, dtype=torch.uint8)
