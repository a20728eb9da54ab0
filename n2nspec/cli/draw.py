"""`n2nspec draw`: a picture of a network. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import click

from n2nspec.cli._options import ALLOW_PLUGINS, PATH, SET, SIZE, WORDS, overrides
from n2nspec.cli._output import print_diagnostics
from n2nspec.diagnostics import fail
from n2nspec.graph import check, size_values
from n2nspec.graph.drawing import FORMATS, MARK, draw

__all__ = ["command"]


@click.command("draw", help="Draw the network of SPEC, with formulae for its sizes or with numbers.")
@click.argument("spec", type=WORDS)
@click.option(
    "-o", "--output", required=True, type=PATH,
    help="An .svg, .mmd (Mermaid) or .dot (Graphviz) file; an earlier drawing is replaced.",
)  # fmt: skip
@click.option("--size", type=SIZE, default=None, help="Picture size, for numbers instead of formulae.")
@SET
@ALLOW_PLUGINS
def command(
    spec: str, output: Path, size: tuple[int, int] | None, settings: tuple[str, ...], allow_plugins: bool
) -> None:
    suffix = output.suffix.lower()
    if suffix not in FORMATS:
        raise fail(
            "E105", f"cannot draw {f'a {suffix}' if suffix else 'a file without a suffix'}", file=output,
            help=f"the formats are {', '.join(FORMATS)}",
        )  # fmt: skip
    graph = check(spec, overrides(settings), allow_plugins=allow_plugins)
    text = draw(graph, suffix, size_values(graph, size, 1) if size else None)
    print_diagnostics(graph.warnings)
    if output.exists() and not _is_ours(output):
        help = "name another file, or remove it"
        raise fail("E403", "the file exists already, and is no drawing of a network", file=output, help=help)
    # here: what else comes with it, photographs among it, takes as long to import as a drawing to make
    from n2nspec.data.files import atomic_write

    with atomic_write(output) as stream:
        stream.write(text.encode())
    click.echo(output)


def _is_ours(file: Path) -> bool:
    """Whether a file is what this command writes."""
    try:
        with file.open("rb") as stream:
            return MARK.encode() in stream.read(2000)
    except OSError:
        return False
