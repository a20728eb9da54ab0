"""`n2nspec eval`: PSNR of a trained denoiser on held-out pictures."""

from __future__ import annotations

import json
from pathlib import Path

import click

from n2nspec.apply import evaluate
from n2nspec.cli._options import ALLOW_PLUGINS, DEVICE, FORMAT
from n2nspec.cli._output import finite, print_diagnostics
from n2nspec.training import open_run

__all__ = ["command"]


@click.command("eval", help="Measure the denoiser of RUN (a run folder or a model.safetensors).")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", default=None, help="Pairs to measure on, instead of the spec's `val`.")
@FORMAT
@DEVICE
@ALLOW_PLUGINS
def command(run: Path, data: str | None, form: str, device: str, allow_plugins: bool) -> None:
    found = evaluate(open_run(run, allow_plugins=allow_plugins), data, device=device)
    print_diagnostics(found.warnings)
    if form == "json":
        click.echo(
            json.dumps(
                {
                    "psnr": finite(found.psnr),
                    "noisy_psnr": finite(found.noisy_psnr),
                    "pictures": found.pictures,
                },
                indent=2,
            )
        )
        return
    plural = "s" * (found.pictures != 1)
    click.echo(
        f"{found.pictures} picture{plural}: PSNR {found.psnr:.2f} dB denoised,"
        f" {found.noisy_psnr:.2f} dB noisy"
    )
