"""`n2nspec schema`: the JSON Schema of a spec, for editors. Needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

import click

from n2nspec.cli._options import ALLOW_PLUGINS, SPEC, Place
from n2nspec.cli._output import print_diagnostics
from n2nspec.diagnostics import fail
from n2nspec.spec.available import available_layers
from n2nspec.spec.schema import SCHEMA_FILE, TITLE, json_schema

__all__ = ["command"]


@click.command("schema", help="Write the JSON Schema of a spec, with which editors complete and check.")
@click.option(
    "-o", "--output", type=Place(dir_okay=False, path_type=Path), default=None,
    help=f"File to write, such as specs/{SCHEMA_FILE}; a schema written before is replaced.",
)  # fmt: skip
@SPEC
@ALLOW_PLUGINS
def command(output: Path | None, spec: str | None, allow_plugins: bool) -> None:
    with available_layers(spec, allow_plugins=allow_plugins) as faults:
        print_diagnostics(faults)
        text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    if output.exists() and not _is_ours(output):
        help = "name another file, or remove it"
        raise fail("E403", "the file exists already, and is no schema of a spec", file=output, help=help)
    try:
        output.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise fail("E405", f"cannot write: {error.strerror}", file=output) from None
    click.echo(output)


def _is_ours(file: Path) -> bool:
    """Whether a file is what this command writes."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("title") == TITLE
