"""What torch's compiler needs around it: a C++ compiler, and a folder where its results survive.

Out: whether there is a compiler; in the environment, where compiled functions are kept for later runs; and
that folder without what a compilation that was killed has left there.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from n2nspec.runtime.store import cache_folder

__all__ = ["find_compiler", "keep_results", "remove_leftovers", "without_spaces"]

FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""Where torch keeps them; a folder for temporary files unless this says otherwise.

Source: https://docs.pytorch.org/tutorials/recipes/torch_compile_caching_configuration_tutorial.html.
"""


def find_compiler() -> str | None:
    """The C++ compiler that torch would call, the one in `CXX` if that is set; None when there is none."""
    default = {"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++")
    return shutil.which(os.environ.get("CXX") or default)


def keep_results() -> None:
    """Has compiled functions kept in the user's cache folder, unless somebody chose another one."""
    if FOLDER in os.environ:
        return
    with suppress(OSError, RuntimeError):  # no home, or one that is read-only: torch's own choice then
        folder = cache_folder() / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[FOLDER] = str(folder)


@contextmanager
def without_spaces() -> Iterator[None]:
    """While this holds, torch names its libraries to the C++ compiler by a path without spaces.

    It quotes the folders of headers but not those of libraries: torch/_inductor/cpp_builder.py in 2.13.
    """
    module: Any = importlib.import_module("torch.utils.cpp_extension")
    given: str = module.TORCH_LIB_PATH
    link = _link(given) if " " in given else None
    module.TORCH_LIB_PATH = given if link is None else str(link)
    try:
        yield
    finally:
        module.TORCH_LIB_PATH = given


def _link(folder: str) -> Path | None:
    """Another name for a folder, one without spaces, if there is a place for it."""
    name = f"torch-{hashlib.sha256(folder.encode()).hexdigest()[:16]}"
    for place in (cache_folder, lambda: Path(tempfile.gettempdir())):
        with suppress(OSError, RuntimeError):
            link = place() / name
            if " " in str(link):
                continue
            link.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                link.symlink_to(folder, target_is_directory=True)
            if link.samefile(folder):
                return link
    return None


def remove_leftovers(older_than: float = 60.0) -> bool:
    """Deletes libraries that are cut short from the folder of compiled functions; whether there were any.

    A compilation that is killed leaves an empty or half a file where torch later finds a library, so that
    every later run fails. Torch makes anew what is not there.

    Args:
        older_than: seconds; what is younger, another process may be about to write.
    """
    removed = False
    if FOLDER in os.environ:
        for path in Path(os.environ[FOLDER]).rglob("*.so"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime >= older_than and _cut_short(path):
                    path.unlink()
                    removed = True
    return removed


def _cut_short(path: Path) -> bool:
    """Whether an ELF file ends before its last table does, or has not even a header; others if empty.

    Source: the header's fields e_shoff, e_shentsize and e_shnum, elf(5), for 64 bits.
    """
    with path.open("rb") as file:
        head = file.read(64)
        size = file.seek(0, os.SEEK_END)
    if head[:5] == b"\x7fELF\x02" and len(head) == 64:
        (offset,), (entry, count) = (
            struct.unpack_from("<Q", head, 0x28),
            struct.unpack_from("<2H", head, 0x3A),
        )
        return size < int(offset) + int(entry) * int(count)
    return not any(head) or (head.startswith(b"\x7fELF") and len(head) < 64)
