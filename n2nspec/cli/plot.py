"""`n2nspec plot`: loss curves of several runs in one picture, as Figure 3 of the source report."""

from __future__ import annotations

from pathlib import Path

import click

from n2nspec.cli._options import PATH
from n2nspec.training import plot_losses

__all__ = ["command"]


@click.command("plot", help="Draw the loss of each RUN, a moving average over batches, into one picture.")
@click.argument("runs", nargs=-1, required=True, type=PATH, metavar="RUN...")
@click.option("-o", "--output", required=True, type=PATH, help="An .svg, .png or .pdf file.")
@click.option(
    "--window", type=click.IntRange(1), default=10, show_default=True, help="Batches to average over."
)
def command(runs: tuple[Path, ...], output: Path, window: int) -> None:
    plot_losses(runs, output, window=window)
    click.echo(output)
