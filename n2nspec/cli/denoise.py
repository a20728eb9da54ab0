"""`n2nspec denoise`: noisy pictures in, denoised pictures out."""

from __future__ import annotations

from pathlib import Path

import click

from n2nspec.apply import denoise_files
from n2nspec.cli._options import ALLOW_PLUGINS, DEVICE
from n2nspec.training import open_run

__all__ = ["command"]


@click.command("denoise", help="Denoise INPUTs (PNG or JPEG files, or folders) with the denoiser of RUN.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="INPUT...")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path),
    help="A file for one picture; a folder for several.",
)  # fmt: skip
@DEVICE
@ALLOW_PLUGINS
def command(run: Path, inputs: tuple[Path, ...], output: Path, device: str, allow_plugins: bool) -> None:
    opened = open_run(run, allow_plugins=allow_plugins)
    # each as it is done: one bad picture among many must not hide the others
    denoise_files(opened, inputs, output, device=device, on_picture=lambda done: click.echo(done.output))
