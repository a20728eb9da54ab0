"""Running out of memory, told apart from our own mistakes.

In: an exception. Out: what to say about it, if it is an allocator that gave up; torch raises a plain
RuntimeError on the CPU and torch.OutOfMemoryError, which is one, on a GPU.
"""

from __future__ import annotations

import re

from n2nspec.diagnostics import Diagnostic

__all__ = ["memory_fault"]

_REFUSED = re.compile(r"can't allocate memory|out of memory|not enough memory", re.IGNORECASE)
_BYTES = re.compile(r"allocate (\d+) bytes")


def memory_fault(error: BaseException, what: str = "this step", file: str = "") -> Diagnostic | None:
    """E504 when `error` says that memory ran out; None for any other exception."""
    text = str(error)
    if not (isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _REFUSED.search(text))):
        return None
    asked = _BYTES.search(text)
    amount = f"; {int(asked[1]) / 2**30:.1f} GiB more were asked for" if asked else ""
    return Diagnostic(
        code="E504",
        message=f"{what} does not fit into memory{amount}",
        file=file,
        help="take smaller pictures or, in training, a smaller train.batch_size or data.patch;"
        " `compile --check --size HxW --batch N` predicts the peak",
    )
