"""`n2nspec explain`: what a code means, a wrong example, the right one. Plain text, terminal or not."""

from __future__ import annotations

import click

from n2nspec.diagnostics import CODES, did_you_mean, fail, quote
from n2nspec.diagnostics.explanations import explanation

__all__ = ["command"]


@click.command(
    "explain", help="Explain the CODE of an error or warning, such as E206; without one, list all."
)
@click.argument("code", required=False)
def command(code: str | None) -> None:
    if code is None:
        for known, title in CODES.items():
            click.echo(f"{known}  {title}")
        return
    page = explanation(code.strip().upper())
    if page is None:
        help = did_you_mean(code.strip(), CODES) or "`n2nspec explain` lists all codes"
        raise fail("E114", f"there is no code {quote(code)}", help=help)
    click.echo(page.text, nl=False)
