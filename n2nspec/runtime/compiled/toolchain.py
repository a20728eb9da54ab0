"""What `torch.compile` needs around it: a C++ compiler, and a folder where its results survive.

Out: whether there is a compiler; in the environment, where compiled functions are kept for later runs; and
that folder without what a compilation that was killed has left there.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from contextlib import suppress

from n2nspec.runtime.store import cache_folder

__all__ = ["find_compiler", "keep_results", "remove_leftovers"]

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


def remove_leftovers(error: BaseException) -> bool:
    """Deletes a library that cannot be loaded, and empty ones; whether there were any.

    A compilation that is killed leaves an empty or half a file where torch later finds a library, so that
    every later run fails in the same way. Torch makes anew what is not there. `error` is what loading raised:
    nothing is touched unless it names a library in the folder of compiled functions.
    """
    folder = os.environ.get(FOLDER)
    named = re.findall(r"(/[^:\n'\"]+\.so): ", f"{error}\n{getattr(error, 'inner_exception', '')}")
    broken = [Path(name) for name in named if folder and Path(name).is_relative_to(folder)]
    if not folder or not broken:
        return False
    with suppress(OSError):
        broken += [path for path in Path(folder).rglob("*.so") if not path.stat().st_size]
    removed = False
    for path in dict.fromkeys(broken):
        with suppress(OSError):
            path.unlink()
            removed = True
    return removed
