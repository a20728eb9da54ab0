"""The run folder: claimed before anything is written, its files always whole.

In: names and bytes. Out: files that are either the old one or the new one, never half of one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from n2nspec.data.files import atomic_write
from n2nspec.diagnostics import fail

__all__ = ["claim_folder", "refuse_existing", "write_files"]


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Writes or replaces files of an existing folder; makes the folders below it that their names need.

    All of them are complete on the disk before the first is renamed, so files that belong together (weights
    and the metrics up to them) change together but for the instant between two renamings.

    Raises:
        DiagnosticError: E405, the disk refuses; what was there before is untouched.
    """
    try:
        for below in {(folder / name).parent for name in contents} - {folder}:
            below.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise fail("E405", f"cannot make a folder in {folder}: {error.strerror}", file=folder) from error
    with ExitStack() as stack:
        streams = {name: stack.enter_context(atomic_write(folder / name)) for name in contents}
        try:
            for name, stream in streams.items():
                stream.write(contents[name])
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise fail(
                "E405",
                f"cannot write into {folder}: {error.strerror or error}",
                file=folder,
                help="check that the disk is not full",
            ) from error


def refuse_existing(folder: Path) -> None:
    """Checks that a run may be written to `folder`: it does not exist, or is an empty folder.

    Raises:
        DiagnosticError: E403, something is there; E405, it cannot be looked at.
    """
    try:
        kind = ""
        if folder.is_dir():
            kind = "is not empty" if any(folder.iterdir()) else ""
        elif os.path.lexists(folder):
            kind = "is not a folder"
    except OSError as error:
        raise fail("E405", f"cannot look into {folder}: {error.strerror}", file=folder) from error
    if kind:
        raise fail(
            "E403",
            f"{folder} exists already and {kind}; a run is never written over something else",
            file=folder,
            help="choose another folder, or remove this one yourself",
        )


def claim_folder(out: Path | None, name: str, runs: Path = Path("runs")) -> Path:
    """Makes the folder of a new run: `out`, or without one `runs/NAME`, `runs/NAME-2`, …

    Two processes that start at once get different folders.

    Raises:
        DiagnosticError: E403, `out` holds something; E405, the folder cannot be made.
    """
    try:
        if out is not None:
            refuse_existing(out)
            out.mkdir(parents=True, exist_ok=True)
            return out
        runs.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            candidate = runs / (name if number == 1 else f"{name}-{number}")
            try:
                candidate.mkdir()
                return candidate
            except FileExistsError:
                number += 1
    except OSError as error:
        folder = out if out is not None else runs / name
        raise fail(
            "E405",
            f"cannot make the run folder {folder}: {error.strerror}",
            file=folder,
            help="give another folder with --out",
        ) from error
