"""What `torch.compile` needs around it: a C++ compiler, and a folder where its results survive.

Out: whether there is a compiler; and, in the environment, where compiled functions are kept for later runs.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress

from n2nspec.runtime.store import cache_folder

__all__ = ["find_compiler", "keep_results"]

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
