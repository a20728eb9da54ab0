"""Amounts of memory in words, and running out of it, told apart from our own mistakes.

In: what a user wrote, a number of bytes, or an exception. Out: bytes, words, or what to say about it if it is
an allocator that gave up; torch raises a plain RuntimeError on the CPU and torch.OutOfMemoryError, which is
one, on a GPU.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from n2nspec.diagnostics import Diagnostic

__all__ = ["in_words", "memory_fault", "parse_bytes"]

_REFUSED = re.compile(r"can't allocate memory|out of memory|not enough memory", re.IGNORECASE)
_BYTES = re.compile(r"allocate (\d+) bytes")
_AMOUNT = re.compile(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*(?:([kmgt]?)(i?)b)?\s*", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """Bytes from words: "200MiB", "1.5 GB", "4096". KiB and its kin count by 1024, kB by 1000.

    Raises:
        ValueError: that is no amount of memory, or none at all.
    """
    found = _AMOUNT.fullmatch(text)
    amount = 0
    if found:
        power = " kmgt".index((found[2] or " ").lower())
        amount = int(float(found[1]) * (1024 if found[3] else 1000) ** power)
    if amount <= 0:
        raise ValueError(f"expected an amount of memory, such as 200MiB or 1.5GB; received {text!r}")
    return amount


def in_words(count: int, rounding: Callable[[float], int] = round) -> str:
    """Bytes with one digit behind the point; what `ceil` gives has room for as many."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{rounding(10 * count / size) / 10:.1f} {unit}"
    return f"{count} B"


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
