"""Denoising of picture files.

In: a run, and PNG or JPEG files or folders of them. Out: files of the same format, size, depth and
transparency. Nothing that exists is written over, and one bad picture does not stop the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from n2nspec._lazy import torch
from n2nspec.apply.denoise import Denoiser
from n2nspec.data import SUFFIXES, read_picture, write_picture
from n2nspec.diagnostics import Diagnostic, DiagnosticError, fail
from n2nspec.runtime import memory_fault
from n2nspec.training.run import Run

__all__ = ["DenoisedFile", "denoise_files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoisedFile:
    """One picture done. `size` is its height and width."""

    source: Path
    output: Path
    size: tuple[int, int]


def denoise_files(
    run: Run | Denoiser | str | os.PathLike[str],
    inputs: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    engine: str = "auto",
    device: str = "cpu",
    on_picture: Callable[[DenoisedFile], None] | None = None,
) -> tuple[DenoisedFile, ...]:
    """Denoises files, `n2nspec denoise RUN INPUT... -o OUT`.

    Args:
        run: a run, or the path of one or of its `model.safetensors`.
        inputs: PNG or JPEG files, and folders, of which every such file is taken.
        out: for one file as the only input, a new file with a picture's suffix. Else a folder, made if need
            be; the files keep their names there.
        engine, device: as in `n2nspec.compile`.
        on_picture: called after each picture that was written.

    Returns:
        what was written, in the order of the inputs.

    Raises:
        DiagnosticError: with one diagnostic for every picture that could not be read, denoised or written
            (E402, E304, E403 …); the others have been written by then. E401 or E404, no usable run: nothing
            has.
    """
    denoiser = run if isinstance(run, Denoiser) else Denoiser(run, engine=engine, device=device)
    problems: list[Diagnostic] = []
    jobs = _jobs([Path(path) for path in inputs], Path(out), problems)
    done: list[DenoisedFile] = []
    for source, output in jobs:
        try:
            done.append(_denoise_file(denoiser, source, output))
        except DiagnosticError as error:
            problems += error.diagnostics
            if problems[-1].code == "E405" and not os.access(output.parent, os.W_OK):
                break  # nor can the others be written there
        else:
            if on_picture is not None:
                on_picture(done[-1])
    if problems:
        raise DiagnosticError(problems)
    return tuple(done)


def _denoise_file(denoiser: Denoiser, source: Path, output: Path) -> DenoisedFile:
    picture = read_picture(source)
    x = torch.from_numpy(picture.unit()).to(denoiser.model.dtype)
    try:
        y = denoiser.batch(x.unsqueeze(0)).squeeze(0)
        result = picture.with_unit(y.cpu().numpy())
    except (MemoryError, RuntimeError) as error:
        fault = memory_fault(
            error, f"{source.name}, {picture.size[0]} × {picture.size[1]} pixels,", str(source)
        )
        if fault is None:
            raise
        raise DiagnosticError([fault]) from error
    except DiagnosticError as error:
        raise DiagnosticError(
            Diagnostic(code=d.code, message=f"{source.name}: {d.message}", file=str(source), help=d.help)
            for d in error.diagnostics
        ) from error
    if os.path.lexists(output):
        raise _exists(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise fail(
            "E405", f"cannot make the folder {output.parent}: {error.strerror}", file=output.parent
        ) from error
    write_picture(output, result)
    return DenoisedFile(source=source, output=output, size=picture.size)


def _jobs(inputs: Sequence[Path], out: Path, problems: list[Diagnostic]) -> list[tuple[Path, Path]]:
    """What to read and where to write it; what cannot be done at all goes to `problems`."""
    if not inputs:
        raise fail("E402", "there is no picture to denoise", help="name picture files, or folders of them")
    to_file = not out.is_dir() and out.suffix.lower() in SUFFIXES
    if to_file and (len(inputs) > 1 or inputs[0].is_dir()):
        raise fail(
            "E405",
            f"several pictures do not fit into one file, {out}",
            file=out,
            help="give a folder, without a suffix",
        )
    if not to_file and out.suffix and not out.is_dir() and len(inputs) == 1 and not inputs[0].is_dir():
        raise fail(
            "E405",
            f"cannot tell the format of {out} from its suffix",
            file=out,
            help=f"use one of {', '.join(SUFFIXES)}; a folder's name has no dot",
        )
    if not to_file and os.path.lexists(out) and not out.is_dir():
        raise _exists(out)
    jobs: list[tuple[Path, Path]] = []
    taken: dict[Path, Path] = {}
    for source in _files(inputs, problems):
        output = out if to_file else out / source.name
        if output in taken:
            message = f"{source} and {taken[output]} would both be written to {output}"
            problems.append(
                Diagnostic(code="E403", message=message, file=str(source), help="use a folder for each")
            )
        elif os.path.lexists(output):
            problems += _exists(output).diagnostics
        else:
            taken[output] = source
            jobs.append((source, output))
    return jobs


def _files(inputs: Sequence[Path], problems: list[Diagnostic]) -> list[Path]:
    found: list[Path] = []
    for path in inputs:
        if not path.is_dir():
            found.append(path)
            continue
        try:
            inside = sorted(
                file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()
            )
        except OSError as error:
            message = f"cannot look into {path}: {error.strerror}"
            problems.append(Diagnostic(code="E301", message=message, file=str(path)))
            continue
        if not inside:
            message = f"there is no PNG or JPEG picture in {path}"
            problems.append(Diagnostic(code="E402", message=message, file=str(path)))
        found += inside
    return found


def _exists(output: Path) -> DiagnosticError:
    return fail(
        "E403",
        f"{output} exists already and is not written over",
        file=output,
        help="choose another place with -o, or remove the file yourself",
    )
