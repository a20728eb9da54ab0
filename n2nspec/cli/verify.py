"""`n2nspec verify`: are the hand-written gradients right? Exit code 1 when one is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from n2nspec.cli._faults import as_diagnostics
from n2nspec.cli._options import ALLOW_PLUGINS, FORMAT, SET, WORDS, overrides, spec_files
from n2nspec.cli._output import finite, print_diagnostics, refused, stderr, stdout
from n2nspec.diagnostics import DiagnosticError, plural
from n2nspec.graph import check
from n2nspec.oracle import VerifyReport, verify

__all__ = ["command"]


@click.command("verify", help="Check the gradients of SPECs (every spec in ./specs when none is named).")
@click.argument("specs", nargs=-1, type=WORDS, metavar="[SPEC]...")
@FORMAT
@SET
@ALLOW_PLUGINS
def command(specs: tuple[str, ...], form: str, settings: tuple[str, ...], allow_plugins: bool) -> int:
    reports = []
    try:
        files = spec_files(specs)
    except DiagnosticError as error:
        files = []
        reports.append(refused(error))
        if form == "text":
            print_diagnostics(error.diagnostics)
    for file in files:
        try:
            with as_diagnostics(), _progress(file) as say:
                report = verify(check(file, overrides(settings), allow_plugins=allow_plugins).spec, say=say)
        except DiagnosticError as error:
            reports.append(refused(error, file))
            if form == "text":
                print_diagnostics(error.diagnostics)
            continue
        reports.append({"file": file, "diagnostics": [], **_document(report)})
        if form == "text":
            _print(file, report)
    if form == "json":
        click.echo(json.dumps(reports if len(specs) != 1 else reports[0], indent=2, ensure_ascii=False))
    return 0 if all(report["ok"] for report in reports) else 1


@contextmanager
def _progress(file: str) -> Iterator[Callable[[str], None]]:
    """Shows on a terminal what is being compared, for as long as it lasts."""
    console = stderr()
    if not console.is_terminal:
        yield lambda part: None
        return
    with console.status(escape(file)) as status:
        yield lambda part: status.update(escape(f"{file}: {part}"))


def _document(report: VerifyReport) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "name": report.spec,
        "input_shape": list(report.input_shape),
        "seed": report.seed,
        "notes": list(report.notes),
        "rows": [
            {
                "name": row.name, "type": row.type, "what": row.what, "method": row.method,
                "absolute": finite(row.absolute), "relative": finite(row.relative),
                "tolerance": row.tolerance, "ok": row.ok, "note": row.note,
            }
            for row in report.rows
        ],
    }  # fmt: skip


def _print(file: str, report: VerifyReport) -> None:
    console = stdout()
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("node", "type", "what", "against"):
        table.add_column(column, no_wrap=True)
    for column in ("difference", "tolerance"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    before = ""
    for row in report.rows:
        verdict = row.verdict if row.ok else f"[red]{row.verdict}[/red] {escape(row.note)}"
        name, kind = ("", "") if row.name == before else (row.name, row.type)
        table.add_row(
            name, kind, row.what, row.method, f"{row.relative:.1e}", f"{row.tolerance:.0e}", verdict
        )
        before = row.name
    console.print(f"[bold]{escape(report.spec)}[/bold]  {escape(file)}", soft_wrap=True)
    console.print(table)
    for note in report.notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)
    shape = " × ".join(map(str, report.input_shape))
    outcome = f"{len(report.failures)} FAIL" if report.failures else "all within tolerance"
    console.print(f"{plural(len(report.rows), 'comparison')} in float64 on {shape}: {outcome}\n")
