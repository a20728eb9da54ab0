"""Pictures from NumPy.

In: an `.npz` file with two arrays, or an `.npy` file with one. Out: pairs, or clean pictures. The axes of a
set of pictures are (N, H, W) for grey ones, (N, H, W, C) as NumPy's libraries have them, or (N, C, H, W) as
torch has them; C is 1 or 3, and tells the two apart. An `.npy` file holds a set of clean pictures, or with
one more axis of length 2 in front, and C written out, pairs: (2, N, H, W, C).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n2nspec.data.source import Source, checked
from n2nspec.diagnostics import fail, plural

__all__ = ["read_arrays"]

_HOW = "save pairs with numpy.savez(path, a=first, b=second), two arrays of equal shape (N, H, W, C)"


def read_arrays(path: Path) -> Source:
    """The pictures in an `.npz` file (arrays `a` and `b`, or the only two that there are) or an `.npy` file.

    Raises:
        DiagnosticError: E303, the file holds pickled objects; E302, it is no such file or holds something
            else; E304, the two arrays differ in shape.
    """
    first, second = _load(path)
    first = checked(_channels_first(first, path), "the first array", path, noisy=second is not None)
    height, width = first.shape[2:]
    if second is None:
        count = plural(len(first), "clean picture")
    else:
        second = checked(_channels_first(second, path), "the second array", path)
        count = plural(len(first), "pair")
        if first.shape != second.shape:
            message = f"the two arrays of {path.name} differ in shape: {first.shape} and {second.shape}"
            raise fail("E304", message, file=path, help=_HOW)
    return Source(
        title=f"{count} of {height} × {width} from {path.name}",
        names=[f"{path.stem}[{index}]" for index in range(len(first))],
        first=first,
        second=second,
    )


def _load(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    try:
        with path.open("rb") as stream:
            content = np.load(stream, allow_pickle=False)
            if isinstance(content, np.ndarray):
                pairs = content.ndim == 5 and len(content) == 2
                return (content[0], content[1]) if pairs else (content, None)
            names = {"a", "b"} if {"a", "b"} <= set(content.files) else set(content.files)
            if len(names) == 2:
                first, second = (content[name] for name in sorted(names))
                return first, second
            found = ", ".join(content.files) or "none"
    except OSError as error:
        raise fail("E301", f"cannot read {path.name}: {error.strerror or error}", file=path) from error
    except Exception as error:  # broken files end in BadZipFile, EOFError, MemoryError …
        if "allow_pickle" in str(error):
            raise fail(
                "E303", f"{path.name} holds pickled objects, which could run code", file=path, help=_HOW
            ) from error
        raise fail(
            "E302", f"{path.name} is broken, or not a file that NumPy wrote", file=path, help=_HOW
        ) from error
    raise fail("E302", f"expected two arrays in {path.name}, received {found}", file=path, help=_HOW)


def _channels_first(pictures: NDArray[Any], path: Path) -> NDArray[Any]:
    """(N, C, H, W), whichever of the three orders of axes it was."""
    if pictures.ndim == 3:
        return pictures[:, None]
    torch_like = pictures.ndim == 4 and pictures.shape[1] in (1, 3)
    numpy_like = pictures.ndim == 4 and pictures.shape[3] in (1, 3)
    if torch_like == numpy_like:
        doubt = (
            "could have its channels first or last" if torch_like else "is not that of grey or RGB pictures"
        )
        raise fail("E302", f"the shape {pictures.shape} in {path.name} {doubt}", file=path, help=_HOW)
    return pictures if torch_like else np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
