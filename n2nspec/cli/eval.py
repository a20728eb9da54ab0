"""`n2nspec eval`: PSNR of a trained denoiser on held-out pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from n2nspec.apply import evaluate
from n2nspec.cli._faults import as_diagnostics
from n2nspec.cli._options import ALLOW_PLUGINS, DEVICE, FORMAT, PATH, WORDS
from n2nspec.cli._output import finite, print_diagnostics, refused
from n2nspec.diagnostics import DiagnosticError, plural, to_json
from n2nspec.training import open_run

__all__ = ["command"]


@click.command("eval", help="Measure the denoiser of RUN (a run folder or a model.safetensors).")
@click.argument("run", type=PATH)
@click.option("--data", type=WORDS, default=None, help="Pairs to measure on, instead of the spec's `val`.")
@FORMAT
@DEVICE
@ALLOW_PLUGINS
def command(run: Path, data: str | None, form: str, device: str, allow_plugins: bool) -> int:
    try:
        with as_diagnostics():
            found = evaluate(open_run(run, allow_plugins=allow_plugins), data, device=device)
    except DiagnosticError as error:
        if form == "text":
            raise
        _print_json(refused(error))
        return 1
    if form == "json":
        _print_json(
            {
                "ok": True,
                "psnr": finite(found.psnr),
                "noisy_psnr": finite(found.noisy_psnr),
                "pictures": found.pictures,
                "diagnostics": [to_json(warning) for warning in found.warnings],
            }
        )
        return 0
    print_diagnostics(found.warnings)
    click.echo(
        f"{plural(found.pictures, 'picture')}: PSNR {found.psnr:.2f} dB denoised,"
        f" {found.noisy_psnr:.2f} dB noisy"
    )
    return 0


def _print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
