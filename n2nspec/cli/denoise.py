"""`n2nspec denoise`: noisy pictures in, denoised pictures out."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from n2nspec.apply import DenoisedFile, denoise_files
from n2nspec.cli._options import ALLOW_PLUGINS, DEVICE, PATH
from n2nspec.cli._output import interrupted
from n2nspec.diagnostics import plural
from n2nspec.training import open_run

__all__ = ["command"]


@click.command("denoise", help="Denoise INPUTs (PNG or JPEG files, or folders) with the denoiser of RUN.")
@click.argument("run", type=PATH)
@click.argument("inputs", nargs=-1, required=True, type=PATH, metavar="INPUT...")
@click.option(
    "-o", "--output", required=True, type=PATH, help="A file for one picture; a folder for several."
)
@DEVICE
@ALLOW_PLUGINS
def command(run: Path, inputs: tuple[Path, ...], output: Path, device: str, allow_plugins: bool) -> int:
    written: list[DenoisedFile] = []

    def tell(done: DenoisedFile) -> None:  # each as it is done: one bad picture must not hide the others
        written.append(done)
        with suppress(BrokenPipeError):  # whoever read the names (`| head`) still wants the pictures
            click.echo(done.output)

    try:
        denoise_files(
            open_run(run, allow_plugins=allow_plugins), inputs, output, device=device, on_picture=tell
        )
    except KeyboardInterrupt:
        return interrupted(_left(written))
    return 0


def _left(written: list[DenoisedFile]) -> str:
    if not written:
        return ": no picture was written"
    return (
        f" after {plural(len(written), 'picture')}, the last one {written[-1].output}; they are whole\n"
        "the same command does the others, and refuses to write these again"
    )
