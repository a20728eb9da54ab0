"""The mini-project's files: `torch.save` of a tuple of two uint8 tensors (N, C, H, W).

In: a `.pkl`, `.pt` or `.pth` file. Out: its pairs. Such a file is a pickle, which can name any function to
be called while it is read; torch's restricted reader (`weights_only=True`) rebuilds tensors and plain
containers and nothing else, so a file that asks for more is refused before anything of it runs.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import warnings
import zipfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from n2nspec._lazy import torch
from n2nspec.data.source import Source, checked, some
from n2nspec.diagnostics import DiagnosticError, fail, plural

__all__ = ["read_tensors"]

_HOW = "save pairs with torch.save((first, second), path), two uint8 tensors of equal shape (N, C, H, W)"
_HARMLESS = ("torch._utils _rebuild", "torch.storage ", "collections OrderedDict")


def read_tensors(path: Path) -> Source:
    """The pairs in a file of `torch.save`.

    Raises:
        DiagnosticError: E303, the file would run code; E302, it is no such file or holds something else;
            E304, the two tensors differ in shape.
    """
    content = _load(path)
    if not isinstance(content, tuple | list) or len(content) != 2:
        raise fail(
            "E302",
            f"expected two tensors in {path.name}, received {_describe(content)}",
            file=path,
            help=_HOW,
        )
    first, second = (
        _array(part, word, path) for part, word in zip(content, ("first", "second"), strict=True)
    )
    if first.shape != second.shape:
        raise fail(
            "E304",
            f"the two tensors of {path.name} differ in shape: {first.shape} and {second.shape}",
            file=path,
            help=_HOW,
        )
    height, width = first.shape[2:]
    return Source(
        title=f"{plural(len(first), 'pair')} of {height} × {width} from {path.name}",
        names=[f"{path.stem}[{index}]" for index in range(len(first))],
        first=first,
        second=second,
    )


def _load(path: Path) -> Any:
    try:
        # torch warns when a pickle's protocol is not its own default; what it then cannot read it refuses
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise fail("E301", f"cannot read {path.name}: {error.strerror}", file=path) from error
    except pickle.UnpicklingError as error:
        calls = _calls(path)
        if calls:
            raise fail(
                "E303",
                f"{path.name} would run code when opened ({some(calls, 3)}); nothing of it was run",
                file=path,
                help=f"do not open it with pickle unless you trust where it comes from; {_HOW}",
            ) from error
        raise _not_ours(path) from error
    except Exception as error:  # broken bytes end in anything: EOFError, KeyError, RuntimeError …
        raise _not_ours(path) from error


def _not_ours(path: Path) -> DiagnosticError:
    return fail("E302", f"{path.name} is broken, or not a file that torch.save wrote", file=path, help=_HOW)


def _array(tensor: Any, word: str, path: Path) -> NDArray[Any]:
    what = f"the {word} tensor"
    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise fail("E302", f"{what} of {path.name} is {_describe(tensor)}", file=path, help=_HOW)
    if tensor.dim() != 4 or tensor.dtype not in (torch.uint8, torch.uint16, torch.float32, torch.float64):
        message = (
            f"expected uint8 pictures (N, C, H, W) as {what} of {path.name}, received {_describe(tensor)}"
        )
        raise fail("E302", message, file=path, help=_HOW)
    return checked(tensor.detach().numpy(), what, path)


def _describe(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of {str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"{plural(len(value), 'element')}"
    return f"a {type(value).__name__}"


def _calls(path: Path) -> list[str]:
    """The functions and classes that a pickle names, besides those that rebuild a tensor.

    Reads opcodes, runs nothing; a name may hold any character, so what is not printable is escaped.
    """
    found: dict[str, None] = {}
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                stream: Any = io.BytesIO(archive.read(name))
        else:
            stream = io.BytesIO(path.read_bytes())
        while True:  # torch's older format is a row of pickles
            words: list[str] = []
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name in ("GLOBAL", "INST"):
                    found[str(argument)] = None
                elif opcode.name == "STACK_GLOBAL":
                    found[" ".join(words[-2:]) or "an object"] = None
                elif isinstance(argument, str):
                    words.append(argument)
    except (ValueError, StopIteration, zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError):
        pass  # the end of the row, or of what can be understood of a broken file
    storages = {name for name in found if name.startswith("torch ") and name.endswith("Storage")}
    calls = [name for name in found if not (name in storages or name.startswith(_HARMLESS))]
    return [ascii(name.replace(" ", "."))[1:-1][:80] for name in calls]
