"""From the words of `[data]` to pictures.

In: what `train` or `val` says, and the spec around it. Out: a `Source` whose pictures have the channels of
the network's input, and the noise to draw when they are clean.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from n2nspec.data.arrays import read_arrays
from n2nspec.data.folders import read_folder
from n2nspec.data.photographs import photographs
from n2nspec.data.source import Source, some
from n2nspec.data.tensors import read_tensors
from n2nspec.diagnostics import Diagnostic, DiagnosticError, did_you_mean, fail, plural
from n2nspec.noise import NoiseSpec
from n2nspec.spec import Spec

__all__ = ["Opened", "Side", "complain", "open_source", "sized"]

Side = Literal["train", "val"]
BUILTIN = "builtin:"
_READERS = {
    ".pkl": read_tensors,
    ".pt": read_tensors,
    ".pth": read_tensors,
    ".npz": read_arrays,
    ".npy": read_arrays,
}
_KINDS = "a folder with a/ and b/, a folder of clean pictures, or a file: " + ", ".join(_READERS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened:
    """A source that fits the spec.

    Attributes:
        noise: what to draw pairs with; None when the source is paired already.
        warnings: of the source, and about noise that is not used.
    """

    source: Source
    noise: NoiseSpec | None
    warnings: tuple[Diagnostic, ...]


def open_source(spec: Spec, side: Side, words: str, *, given: bool = False) -> Opened:
    """Reads the pictures that `words` name.

    A relative path is looked for in the folder of the spec file, then in the current one; with `given` (a
    path from outside the spec, such as the command line's) only in the current one.

    Raises:
        DiagnosticError: E301, not found; E302, of an unknown kind; E306, clean pictures without noise; E304,
            pictures that do not fit the network's input; and whatever the reader of that kind raises.
    """
    source = _read(spec, side, words, given)
    noise = spec.data.noise if spec.data else None
    warnings = list(source.warnings)
    if source.second is None and noise is None:
        help = 'add noise = { type = "gaussian", sigma = 0.1 } to [data], or give pairs'
        if given:  # a trained network's [data] is of the past
            help = "give pairs: a folder with a/ and b/, or a file with two arrays"
        problem = complain(
            spec,
            side,
            "E306",
            f"{words} holds clean pictures, and [data] has no noise to make pairs of them",
            help=help,
            given=given,
        )
        raise DiagnosticError([problem])
    if source.second is not None and noise is not None:
        noise = None
        if side == "train":
            message = f"{words} holds pairs, so no noise is added to its pictures"
            warnings.append(complain(spec, "noise", "W301", message, help="remove noise from [data]"))
    _check_channels(spec, side, words, source, given)
    return Opened(source=source, noise=noise, warnings=tuple(warnings))


def complain(
    spec: Spec, key: str, code: str, message: str, *, help: str = "", given: bool = False
) -> Diagnostic:
    """A diagnostic at a key of `[data]`; at none when the value was `given` from outside the spec."""
    if given:
        return Diagnostic(code=code, message=message, help=help)
    span = spec.locate(("data", key))
    return Diagnostic(
        code=code, message=message, file=spec.source_file, span=span, path=f"data.{key}", help=help
    )


def sized(source: Source, which: NDArray[np.bool]) -> str:
    """`coffee (400 × 600), rocket (427 × 640)`: the first few of the pictures that `which` marks."""
    named = zip(source.names, source.sizes().tolist(), which, strict=True)
    return some([f"{name} ({height} × {width})" for name, (_, height, width), marked in named if marked])


def _read(spec: Spec, side: Side, words: str, given: bool) -> Source:
    if words.startswith(BUILTIN):
        if words == "builtin:photos":
            return photographs(side)
        help = did_you_mean(words, ["builtin:photos"]) or 'the only one is "builtin:photos"'
        problem = complain(spec, side, "E302", f"{words} is not built in", help=help, given=given)
        raise DiagnosticError([problem])
    path = _find(spec, side, words, given)
    if path.is_dir():
        return read_folder(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None or not path.is_file():
        problem = complain(
            spec, side, "E302", f"cannot tell what {words} is", help=f"expected {_KINDS}", given=given
        )
        raise DiagnosticError([problem])
    return reader(path)


def _find(spec: Spec, side: Side, words: str, given: bool) -> Path:
    """The path that exists, as seen from the spec file or from the current folder."""
    try:
        folders = [Path()]
        if spec.source_file and not given:
            folders.insert(0, Path(spec.source_file).parent)
        # an absolute path stays what it is; the two folders may be the same one
        looked = list(dict.fromkeys((folder / Path(words).expanduser()).absolute() for folder in folders))
        for path in looked:
            if path.exists():
                return path
    except (OSError, ValueError, RuntimeError) as error:  # too long, a null byte, no such home folder
        reason = getattr(error, "strerror", None) or str(error)
        message = f"{words!r} is not a usable path: {reason}"
        problem = complain(spec, side, "E301", message, help=f"expected {_KINDS}", given=given)
        raise DiagnosticError([problem]) from error
    help = "looked for " + " and ".join(str(path) for path in looked)
    raise DiagnosticError([complain(spec, side, "E301", f"{words} was not found", help=help, given=given)])


def _check_channels(spec: Spec, side: Side, words: str, source: Source, given: bool) -> None:
    ((name, shape),) = spec.input.items()
    if len(shape) not in (3, 4):
        dims = ", ".join(str(dim) for dim in shape)
        raise fail(
            "E304",
            f"pictures have channels, height and width; the input {name} is ({dims})",
            file=spec.source_file,
            path=f"input.{name}",
            help=f'declare it as {name} = ["N", 3, "H", "W"]',
        )
    expected = shape[-3]
    channels = source.sizes()[:, 0]
    wrong = channels != expected
    if not wrong.any():
        return
    received = int(channels[wrong][0])
    kind = {1: "grey", 3: "RGB"}
    message = (
        f"the input {name} takes {_count(expected, kind)}, {words} has pictures of {_count(received, kind)}"
    )
    if not wrong.all():
        message = f"{message}: {sized(source, wrong)}"
        help = "convert them all to the same kind"
    elif given:  # outside of the spec: its network is trained, and takes what it takes
        help = f"convert the pictures, or train a network for {plural(received, 'channel')}"
    else:
        help = f'change the input to {name} = ["N", {received}, "H", "W"], or convert the pictures'
    raise DiagnosticError([complain(spec, side, "E304", message, help=help, given=given)])


def _count(channels: int | str, kind: dict[int, str]) -> str:
    if isinstance(channels, str):
        return f"{channels} channels"
    word = f" ({kind[channels]})" if channels in kind else ""
    return plural(channels, "channel") + word
