"""Memory that a training frees and soon asks for again: kept, instead of given back to the system.

In: nothing. Out: nothing; the C library is told so for the whole process, which is for a program to decide,
not for a library. A step frees what it took and the next one takes as much; what was given back in between
comes as new pages, which the system clears first: up to a third of a step of the compiled engine.

Source: mallopt in glibc, https://man7.org/linux/man-pages/man3/mallopt.3.html; others are left alone.
"""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["keep_freed_memory"]

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""glibc's numbers for its parameters, from malloc.h."""
KEPT = 2**29
"""Bytes that stay at hand at most."""
LARGEST = 2**25
"""Bytes of a request up to which it is taken from what is at hand; the most that glibc allows."""


def keep_freed_memory() -> bool:
    """Whether the C library could be told; not where the user has told it something else."""
    told = any(name.startswith("MALLOC_") for name in os.environ) or "GLIBC_TUNABLES" in os.environ
    if told or not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version") or not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(MMAP_THRESHOLD, LARGEST) and library.mallopt(TRIM_THRESHOLD, KEPT))
