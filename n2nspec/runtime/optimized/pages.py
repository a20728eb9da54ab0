"""Large pages for large tensors: fewer addresses for the processor to look up.

In: a tensor that nothing has been written to. Out: nothing; the system is advised to put what lies within on
pages of 2 MiB instead of 4 KiB. Most Linux systems do so when asked; elsewhere nothing happens. The step of a
network whose buffers take some MiB is up to a fifth shorter.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["advise_large_pages"]

PAGE = 2**21
"""Bytes of a large page on x86-64 and, with 4 KiB pages, on AArch64."""


def advise_large_pages(block: Tensor) -> None:
    """Asks for large pages. Only whole ones within the tensor can be."""
    call = _madvise()
    if call is None or block.device.type != "cpu":
        return
    begin = -(-block.data_ptr() // PAGE) * PAGE
    end = (block.data_ptr() + block.nbytes) // PAGE * PAGE
    if begin < end:  # it is advice: an error means small pages
        call(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), ctypes.c_int(mmap.MADV_HUGEPAGE))


@cache
def _madvise() -> Any | None:
    if sys.platform != "linux" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    return getattr(ctypes.CDLL(None), "madvise", None)
