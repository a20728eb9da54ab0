"""Pictures in a folder.

In: a folder with `a/` and `b/`, whose PNG and JPEG files are paired by name without suffix; or a folder of
clean pictures. Out: the pictures. Files whose names start with a dot are not looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n2nspec.data.pictures import SUFFIXES, Picture, read_picture
from n2nspec.data.source import Source, packed, some
from n2nspec.diagnostics import Diagnostic, DiagnosticError, fail, plural

__all__ = ["read_folder"]

_HOW = "put the two pictures of a pair in a/ and b/ under the same name, or only clean pictures in the folder"
_MOST = 20
"""After so many errors reading stops: a folder that is wrong as a whole need not be read to its end."""


def read_folder(folder: Path) -> Source:
    """The pairs of `folder/a` and `folder/b`, or the clean pictures of `folder`.

    Raises:
        DiagnosticError: everything found in the folder, up to twenty: E302, no pictures, or `a/` without
            `b/`; E304, a picture without its counterpart, or pairs of different size, channels or bits; E402
            and E301, files that are not pictures or cannot be read.
    """
    try:
        halves = [folder / half for half in ("a", "b") if (folder / half).is_dir()]
        if len(halves) == 1:
            missing = "b" if halves[0].name == "a" else "a"
            raise fail(
                "E302",
                f"{folder.name} has a folder {halves[0].name}/ but no {missing}/",
                file=folder,
                help=_HOW,
            )
        return _pairs(folder) if halves else _clean(folder)
    except OSError as error:
        raise fail("E301", f"cannot read {folder.name}: {error.strerror or error}", file=folder) from error


def _clean(folder: Path) -> Source:
    files, warnings = _listing(folder)
    pictures, problems = _read(files)
    _raise(problems)
    return Source(
        title=f"{plural(len(files), 'clean picture')} from {folder.name}",
        names=[file.name for file in files],
        first=packed([_colours(picture) for picture in pictures.values()]),
        warnings=(*warnings, *_transparent(pictures, folder)),
    )


def _pairs(folder: Path) -> Source:
    sides = [_listing(folder / half) for half in ("a", "b")]
    a, b = ({file.stem: file for file in files} for files, _ in sides)
    problems = [*_repeated(sides[0][0]), *_repeated(sides[1][0])]
    for here, there, half in ((a, b, "b"), (b, a, "a")):
        alone = [file.name for stem, file in here.items() if stem not in there]
        if alone:
            verb = "has" if len(alone) == 1 else "have"
            problems.append(
                Diagnostic(
                    code="E304",
                    message=f"{some(alone)} {verb} no counterpart in {half}/",
                    file=str(folder / half),
                    help="pairs are matched by name without suffix: rename, add or remove files",
                )
            )
    _raise(problems)
    pictures, problems = _read([file for stem in a for file in (a[stem], b[stem])])
    for stem in a:
        first, second = pictures.get(a[stem]), pictures.get(b[stem])
        if first and second and _kind(first) != _kind(second):
            message = f"the two pictures of pair {stem} differ: {_words(first)} and {_words(second)}"
            problems.append(Diagnostic(code="E304", message=message, file=str(a[stem])))
    _raise(problems)
    return Source(
        title=f"{plural(len(a), 'pair')} from {folder.name}",
        names=list(a),
        first=packed([_colours(pictures[a[stem]]) for stem in a]),
        second=packed([_colours(pictures[b[stem]]) for stem in a]),
        warnings=(*sides[0][1], *sides[1][1], *_transparent(pictures, folder)),
    )


def _listing(folder: Path) -> tuple[list[Path], list[Diagnostic]]:
    """The picture files of a folder by name, and a warning about what else is there."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    files = [entry for entry in entries if entry.suffix.lower() in SUFFIXES and not entry.is_dir()]
    others = [entry.name for entry in entries if entry not in set(files)]
    if not files:
        found = f"; it holds {some(others)}" if others else "; it is empty"
        raise fail("E302", f"no PNG or JPEG pictures in {folder.name}/{found}", file=folder, help=_HOW)
    if not others:
        return files, []
    message = f"left out of {folder.name}/, not PNG or JPEG files: {some(others)}"
    return files, [
        Diagnostic(code="W304", message=message, file=str(folder), help="convert pictures among them to PNG")
    ]


def _repeated(files: list[Path]) -> list[Diagnostic]:
    """Files of one folder that differ in their suffix only: which of them belongs to the pair?"""
    seen: dict[str, Path] = {}
    problems = []
    for file in files:
        other = seen.setdefault(file.stem, file)
        if other is not file:
            message = f"{other.name} and {file.name} have the same name without suffix"
            problems.append(
                Diagnostic(code="E304", message=message, file=str(file), help="rename or remove one")
            )
    return problems


def _read(files: list[Path]) -> tuple[dict[Path, Picture], list[Diagnostic]]:
    pictures: dict[Path, Picture] = {}
    problems: list[Diagnostic] = []
    for file in files:
        try:
            pictures[file] = read_picture(file)
        except DiagnosticError as error:
            problems.extend(error.diagnostics)
            if len(problems) >= _MOST:
                break
    return pictures, problems


def _raise(problems: list[Diagnostic]) -> None:
    if problems:
        raise DiagnosticError(problems[:_MOST])


def _transparent(pictures: dict[Path, Picture], folder: Path) -> list[Diagnostic]:
    """A warning about pictures that one can see through: what colour a network learns there is arbitrary."""
    names = [
        file.relative_to(folder).as_posix()
        for file, picture in pictures.items()
        if picture.alpha is not None and (picture.alpha != np.iinfo(picture.alpha.dtype).max).any()
    ]
    if not names:
        return []
    message = f"transparency is ignored in training, the colours behind it are used: {some(names)}"
    help = "put the pictures on a background, and save them without transparency"
    return [Diagnostic(code="W303", message=message, file=str(folder), help=help)]


def _kind(picture: Picture) -> tuple[object, ...]:
    return picture.array.shape, picture.array.dtype


def _words(picture: Picture) -> str:
    height, width = picture.size
    colour = "grey" if picture.channels == 1 else "RGB"
    return f"{height} × {width} {colour} of {picture.array.dtype.itemsize * 8} bits"


def _colours(picture: Picture) -> NDArray[Any]:
    return np.ascontiguousarray(picture.array.transpose(2, 0, 1))
