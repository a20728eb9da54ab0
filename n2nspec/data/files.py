"""A file is there whole, or not at all.

In: bytes for a path. Out: the file under its final name, only once every byte is on disk; a run that is
killed half-way leaves what was there before.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from n2nspec.diagnostics import fail

__all__ = ["atomic_write"]


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """A binary stream whose content replaces `path` when the block ends without an error.

    Raises:
        DiagnosticError: E405, the folder is missing, not writable or full.
    """
    path = Path(path)
    # next to the target, because a rename is atomic only within one file system; opened by hand rather than
    # through `tempfile`, whose files nobody but the owner may read
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        stream = temporary.open("xb")
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()  # gone already when the rename succeeded


def _unwritable(path: Path, error: Exception) -> Exception:
    reason = getattr(error, "strerror", None) or str(error)
    return fail(
        "E405",
        f"cannot write {path.name}: {reason}",
        file=path,
        help="check that the folder exists, that you may write there, and that the disk is not full",
    )
