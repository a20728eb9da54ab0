"""`n2nspec layers`: what a spec can choose from, as the files of the types say it. Needs no torch."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from n2nspec.cli._options import ALLOW_PLUGINS, FORMAT, SPEC
from n2nspec.cli._output import print_diagnostics, stdout
from n2nspec.diagnostics import did_you_mean, fail, quote
from n2nspec.spec.available import available_layers
from n2nspec.spec.catalogue import KINDS, Page, pages

__all__ = ["command"]

TITLES = dict(zip(KINDS, ("layers", "losses", "optimizers", "noise models"), strict=True))


@click.command(
    "layers", help="List layer types, losses, optimizers and noise models, or show one TYPE in full."
)
@click.argument("type", required=False, metavar="[TYPE]")
@FORMAT
@SPEC
@ALLOW_PLUGINS
def command(type: str | None, form: str, spec: str | None, allow_plugins: bool) -> None:
    with available_layers(spec, allow_plugins=allow_plugins) as faults:
        print_diagnostics(faults)
        known = list(pages())
    chosen = [page for page in known if type in page.names]
    if type is not None and not chosen:
        names = [name for page in known for name in page.names]
        raise fail(
            "E116",
            f"unknown type {quote(type)}",
            help=did_you_mean(type, names) or "n2nspec layers lists them",
        )
    if form == "json":
        click.echo(json.dumps(_document(known, chosen), indent=2, ensure_ascii=False))
    elif chosen:
        for page in chosen:
            _print(page)
    else:
        _print_list(known)


def _document(known: list[Page], chosen: list[Page]) -> dict[str, Any]:
    if chosen:
        return dataclasses.asdict(chosen[0])
    return {
        TITLES[kind].replace(" ", "_"): [
            {"names": page.names, "summary": page.summary, "twin": page.twin}
            for page in known
            if page.kind == kind
        ]
        for kind in KINDS
    }


def _print_list(known: list[Page]) -> None:
    console = stdout()
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for kind in KINDS:
        table.add_row(f"[bold]{TITLES[kind]}[/bold]", "")
        for page in known:
            if page.kind == kind:
                table.add_row("  " + escape(", ".join(page.names)), escape(page.summary))
        table.add_row("", "")
    console.print(table)
    console.print("n2nspec layers TYPE shows one in full", markup=False)


def _print(page: Page) -> None:
    console = stdout()

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    also = f" (also {', '.join(page.names[1:])})" if page.names[1:] else ""
    console.print(
        f"[bold]{escape(page.names[0])}[/bold]{escape(also)}  {escape(page.summary)}\n", soft_wrap=True
    )
    say(page.documentation + "\n")
    if page.fields:
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column in ("field", "value", "default"):
            table.add_column(column, no_wrap=True)
        table.add_column("")
        for field in page.fields:
            default = "required" if field.required else field.default
            table.add_row(*(escape(cell) for cell in (field.name, field.type, default, field.description)))
        console.print(table)
        say("")
    if page.inferred:
        say(f"inferred: {', '.join(page.inferred)}")
    if page.twin.startswith("torch."):
        say(f"as in torch: {page.twin}")
    say(f"\n{page.snippet}\n")
