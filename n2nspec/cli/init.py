"""`n2nspec init`: a folder with a spec that trains, ready for an editor."""

from __future__ import annotations

import json
import os
import re
import shlex
from contextlib import suppress
from pathlib import Path

import click

from n2nspec.cli import _starter
from n2nspec.cli._options import PATH
from n2nspec.diagnostics import Diagnostic, DiagnosticError, fail
from n2nspec.spec.schema import SCHEMA_FILE, json_schema

__all__ = ["command"]

NAMELESS = "denoiser"
LONGEST_NAME = 60


@click.command(
    "init", help="Start a project in DIR, the current folder by default: a spec, its schema, a README."
)
@click.argument("folder", metavar="[DIR]", default=".", type=PATH)
def command(folder: Path) -> None:
    name = _name(folder)
    spec = f"specs/{name}.toml"
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    files = {
        folder / spec: _starter.SPEC.replace("NAME", name),
        folder / "specs" / SCHEMA_FILE: schema,
        folder / "README.md": _starter.README.replace("NAME", name),
        folder / ".gitignore": _starter.GITIGNORE,
    }
    _refuse_existing(folder, list(files))
    _write_all(files)
    for file in files:
        click.echo(file)
    click.echo("\nnext:")
    if folder.resolve() != Path().resolve():
        click.echo(f"  cd {shlex.quote(str(folder))}")
    for line in _starter.README.replace("NAME", name).splitlines():
        if line.startswith("n2nspec "):
            click.echo(f"  {line.partition('#')[0].rstrip()}")


def _name(folder: Path) -> str:
    """The folder's name, as far as a spec can be called so."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-")[:LONGEST_NAME]
    return plain if re.match(r"[A-Za-z_]", plain) else NAMELESS


def _refuse_existing(folder: Path, files: list[Path]) -> None:
    """Looks before anything is written.

    Raises:
        DiagnosticError: E403, for each file that is there already, and for a file in place of a folder.
    """
    folders = [folder, folder / "specs"]
    taken = [path for path in folders if os.path.lexists(path) and not path.is_dir()]
    taken += [file for file in files if os.path.lexists(file)]
    if taken:
        help = "nothing was written; start in a new folder: n2nspec init DIR"
        raise DiagnosticError(
            Diagnostic(code="E403", message=f"{path} exists already", file=str(path), help=help)
            for path in taken
        )


def _write_all(files: dict[Path, str]) -> None:
    """Every file, or none.

    Raises:
        DiagnosticError: E403, somebody else wrote one meanwhile; E405, the disk refuses.
    """
    made: list[Path] = []
    try:
        for file, text in files.items():
            for folder in reversed([parent for parent in file.parents if not parent.exists()]):
                folder.mkdir()
                made.append(folder)
            with file.open("x", encoding="utf-8", newline="\n") as stream:
                made.append(file)
                stream.write(text)
    except OSError as error:
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        code = "E403" if isinstance(error, FileExistsError) else "E405"
        raise fail(
            code, f"cannot write {error.filename}: {error.strerror}", file=error.filename or ""
        ) from None
