"""`n2nspec compile`: does this spec make a network, for which pictures, at what cost? Needs no torch."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from n2nspec.cli._options import (
    ALLOW_PLUGINS,
    MEMORY_LIMIT,
    SET,
    SIZE,
    WORDS,
    Place,
    format_option,
    overrides,
    spec_files,
)
from n2nspec.cli._output import bold, human, human_bytes, print_diagnostics, refused
from n2nspec.cli._report import describe, sees
from n2nspec.cli._sizes import input_shape, usual_size
from n2nspec.cli._table import Table
from n2nspec.diagnostics import Diagnostic, DiagnosticError, fail, plural, to_github
from n2nspec.geometry import Shape, render_shape
from n2nspec.graph import (
    Cost,
    ShapedGraph,
    cost,
    receptive_field,
    size_values,
    warnings_at,
)
from n2nspec.graph import (
    check as check_spec,
)
from n2nspec.spec import load, to_document, to_toml

if TYPE_CHECKING:
    from n2nspec.compiler.passes import Change
    from n2nspec.runtime.optimized import Fitted

__all__ = ["command"]

Size = tuple[int, int]


@click.command("compile", help="Check SPECs (every spec in ./specs when none is named), then plan them.")
@click.argument("specs", nargs=-1, type=WORDS, metavar="[SPEC]...")
@click.option("--check", is_flag=True, help="Only check; do not plan.")
@click.option("--size", type=SIZE, default=None, help="Picture size for shapes, MACs and memory.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Pictures in a batch.")
@format_option("text", "json", "github")
@click.option("--show-passes", is_flag=True, help="Say what each pass of the compiler changes and saves.")
@click.option("-o", "--output", type=Place(dir_okay=False), default=None, help="Write the plan as JSON.")
@MEMORY_LIMIT
@SET
@click.option("--expand", is_flag=True, help="Print SPEC without extends, vars, defaults and blocks.")
@ALLOW_PLUGINS
def command(
    specs: tuple[str, ...],
    check: bool,
    size: Size | None,
    batch: int,
    form: str,
    show_passes: bool,
    output: str | None,
    memory_limit: int | None,
    settings: tuple[str, ...],
    expand: bool,
    allow_plugins: bool,
) -> int:
    if expand:
        if output or check or show_passes or form == "json" or len(specs) != 1:
            raise click.UsageError(
                "--expand prints one spec: name one SPEC, and leave out --check, --show-passes, -o and"
                " --format json"
            )
        return _expand(specs[0], settings, form, allow_plugins)
    if output and (check or len(specs) != 1):
        raise click.UsageError("-o writes one plan: name one SPEC, and leave out --check")
    if memory_limit and check:
        raise click.UsageError("--memory-limit is part of a plan: leave out --check")
    reports = []
    try:
        files = spec_files(specs)
    except DiagnosticError as error:
        files = []
        reports.append(refused(error))
        _show(error.diagnostics, form)
    for file in files:
        try:
            graph = check_spec(file, overrides(settings), allow_plugins=allow_plugins)
            costs = cost(graph, size, batch) if size else None
            if size:
                values = size_values(graph, size, batch)
                graph = replace(graph, warnings=warnings_at(graph, values))
            fitted = None
            if memory_limit:  # before anything says that all is well
                fitted = _lazy("_plan").fit(graph, input_shape(graph, size, batch), memory_limit)
            memory = {"memory": _lazy("_plan").memory(fitted)} if fitted else {}
            if output:
                _write(output, _lazy("_plan").document(graph, input_shape(graph, size, batch), fitted))
            changes = _lazy("_passes").changes(graph, input_shape(graph, size, batch)) if show_passes else []
            passes = {"passes": _lazy("_passes").document(changes)} if show_passes else {}
            reports.append({**describe(graph, costs), **passes, **memory})
            _show(graph.warnings, form)
            if form == "text":
                _print(file, graph, costs, size, batch, check, changes, fitted)
        except DiagnosticError as error:
            reports.append(refused(error, file))
            _show(error.diagnostics, form)
    if form == "json":
        click.echo(
            json.dumps(reports if not specs or len(specs) > 1 else reports[0], indent=2, ensure_ascii=False)
        )
    return 0 if all(report["ok"] for report in reports) else 1


def _expand(file: str, settings: tuple[str, ...], form: str, allow_plugins: bool) -> int:
    """Prints the flat spec, in the language of its file. A graph that is wrong can be looked at so, too."""
    try:
        spec = load(file, overrides(settings), allow_plugins=allow_plugins)
    except DiagnosticError as error:
        _show(error.diagnostics, form)
        return 1
    _show(spec.warnings, form)
    if file.lower().endswith(".json"):
        click.echo(json.dumps(to_document(spec), indent=2, ensure_ascii=False))
    else:
        click.echo(to_toml(spec), nl=False)
    return 0


def _show(diagnostics: Sequence[Diagnostic], form: str) -> None:
    """For people on stderr; for GitHub besides, as annotations on stdout. JSON has them in its report."""
    if form == "github":
        for diagnostic in diagnostics:
            click.echo(to_github(diagnostic))
    if form != "json":
        print_diagnostics(diagnostics)


def _print(
    file: str, graph: ShapedGraph, costs: Cost | None, size: Size | None, batch: int, check: bool,
    changes: list[Change], fitted: Fitted | None,
) -> None:  # fmt: skip
    contract = graph.size_contract
    if costs is None and contract:  # a table without MACs says little: take the size that it trains on
        size = usual_size(graph, batch)
        costs = cost(graph, size, batch) if size else None

    at = f"{batch} × " * (batch > 1) + f"{size[0]} × {size[1]}" if size else ""
    chain = all(
        node.inputs == (before,)
        for node, before in zip(graph.nodes, [graph.input_name, *(n.name for n in graph.nodes)], strict=False)
    )

    def cells(
        name: str, kind: str, inputs: str, shape: str, numbers: str, parameters: str, macs: str
    ) -> list[str]:
        found = [name, kind, *([] if chain else [inputs]), shape, *([numbers] if costs else []), parameters]
        return [*found, *([macs] if costs else [])]

    header = cells("node", "type", "from", "output", f"at {at}", "parameters", "MACs")
    numeric = frozenset(index for index, title in enumerate(header) if title in ("parameters", "MACs"))
    table = Table(header=header, right=numeric)

    inputs = (
        " × ".join(map(str, (*graph.input_shape[len(graph.input_shape) > 3 : -2], *size)))
        if costs and size
        else ""
    )
    table.rows.append(
        cells(graph.input_name, "input", "", _without_batch(graph.input_shape, graph), inputs, "", "")
    )
    for node in graph.nodes:
        parameters = sum(parameter.size for parameter in node.parameters)
        found = costs.nodes[node.name] if costs else None
        row = cells(
            node.name, node.layer.type, ", ".join(node.inputs), _without_batch(node.shape, graph),
            " × ".join(map(str, found.shape[len(graph.input_shape) > 3 :])) if found else "",
            human(parameters) if parameters else "", human(found.macs) if found and found.macs else "",
        )  # fmt: skip
        table.rows.append(row)
    total = human(graph.parameter_count), human(costs.macs) if costs else ""
    table.rows.append(cells("total", "", "", "", "", *total))

    click.echo(f"{bold(graph.spec.name)}  {file}")
    first, *lines = table.lines()
    click.echo("\n".join([bold(first), *lines]))
    field = receptive_field(graph)
    for axis, name in (("H", "height"), ("W", "width")):
        if contract:
            symbol = graph.input_shape[-2 if axis == "H" else -1]
            sizes = contract[axis].render(str(symbol) if not isinstance(symbol, int) else axis)
            click.echo(f"{name}: {sizes}; an output pixel sees {sees(field[axis], axis)}")
            joins = [narrowing for narrowing in graph.narrowings if narrowing.axis == name]
            if joins:
                clearest = min(joins, key=lambda narrowing: narrowing.example)
                click.echo(f"  others fail: {clearest}; CropLike cuts the larger one")
    for condition in graph.conditions:
        click.echo(f"{condition}")
    if costs:
        click.echo(
            f"training step at {at}: {human_bytes(costs.saved_bytes)} saved for backward,"
            f" {human_bytes(costs.peak_bytes)} at the peak; inference {human_bytes(costs.inference_bytes)}"
        )
    if changes:
        click.echo("\n".join(_lazy("_passes").lines(changes)))
    if not check and (size or not contract):
        click.echo(_lazy("_plan").summary(graph, input_shape(graph, size, batch), fitted))
    warnings = len(graph.warnings)
    click.echo("ok" + (f", {plural(warnings, 'warning')}" if warnings else "") + "\n")


def _lazy(name: str) -> ModuleType:
    """A part of this command that is imported when it is used: a check needs no engine and no compiler."""
    return importlib.import_module(f"n2nspec.cli.{name}")


def _without_batch(shape: Shape, graph: ShapedGraph) -> str:
    """A picture's shape; the batch axis would stand in front of every line."""
    return render_shape(shape[len(graph.input_shape) > 3 :], graph.sizes)


def _write(path: str, document: dict[str, Any]) -> None:
    if Path(path).exists():
        raise fail("E403", "the file exists already", file=path, help="name another file, or remove it")
    try:
        Path(path).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise fail("E405", f"cannot write: {error.strerror}", file=path) from None
