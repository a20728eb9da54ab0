"""Memory that two processes see, as tensors.

In: a number of bytes. Out: a file in memory, mapped here and, by its path, elsewhere. It is an ordinary file
where the system has no such folder, or no room in it.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from n2nspec._lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, dtype

__all__ = ["Shared", "batch_tensors"]

IN_MEMORY = Path("/dev/shm")


class Shared:
    """So many bytes.

    Raises:
        OSError: no room for them.
    """

    def __init__(self, nbytes: int, path: str = "") -> None:
        self.nbytes = nbytes
        self.path = path or _reserved(nbytes)
        self._bytes = torch.from_file(self.path, shared=True, size=nbytes, dtype=torch.uint8)

    def tensor(self, shape: tuple[int, ...], kind: dtype, start: int = 0) -> Tensor:
        """Numbers from byte `start` on."""
        size = prod(shape) * kind.itemsize
        return self._bytes[start : start + size].view(kind).view(shape)

    def unlink(self) -> None:
        """Takes the name away; whoever has mapped it keeps the memory."""
        with suppress(OSError):
            os.unlink(self.path)


def batch_tensors(
    shared: Shared, x: tuple[int, ...], target: tuple[int, ...], kind: dtype
) -> tuple[Tensor, Tensor]:
    """Inputs and targets of these shapes, one after the other."""
    return shared.tensor(x, kind), shared.tensor(target, kind, prod(x) * kind.itemsize)


def _reserved(nbytes: int) -> str:
    """A new file with room for so many bytes: writing to a mapped file that has none ends the process."""
    folders = [str(IN_MEMORY)] if IN_MEMORY.is_dir() else []
    for folder in [*folders, tempfile.gettempdir()]:
        try:
            handle, path = tempfile.mkstemp(prefix="n2nspec-", dir=folder)
        except OSError:
            continue
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, nbytes)
            else:
                os.truncate(handle, nbytes)
        except OSError:
            os.unlink(path)
            continue
        finally:
            os.close(handle)
        return path
    raise OSError(f"no room for {nbytes} bytes that processes share")
