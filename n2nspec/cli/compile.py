"""`n2nspec compile`: does this spec make a network, for which pictures, at what cost? Needs no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from n2nspec.cli._options import FORMAT, SIZE, spec_files
from n2nspec.cli._output import human, human_bytes, print_diagnostics, stdout
from n2nspec.cli._report import describe
from n2nspec.compiler import plan, plan_document
from n2nspec.diagnostics import DiagnosticError, fail, to_json
from n2nspec.geometry import Shape, render_shape
from n2nspec.graph import Cost, Reach, ShapedGraph, analyse, cost, receptive_field
from n2nspec.spec import load

__all__ = ["command"]

Size = tuple[int, int]


@click.command("compile", help="Check SPECs (every spec in ./specs when none is named), then plan them.")
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@click.option("--check", is_flag=True, help="Only check; do not plan.")
@click.option("--size", type=SIZE, default=None, help="Picture size for shapes, MACs and memory.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Pictures in a batch.")
@FORMAT
@click.option("-o", "--output", type=click.Path(dir_okay=False), default=None, help="Write the plan as JSON.")
def command(
    specs: tuple[str, ...], check: bool, size: Size | None, batch: int, form: str, output: str | None
) -> int:
    if output and (check or len(specs) != 1):
        raise click.UsageError("-o writes one plan: name one SPEC, and leave out --check")
    reports = []
    for file in spec_files(specs):
        try:
            graph = analyse(load(file))
            costs = cost(graph, size, batch) if size else None
            reports.append(describe(graph, costs))
            if form == "text":
                print_diagnostics(graph.warnings)
                _print(file, graph, costs, size, batch, check)
            if output:
                _write(output, plan_document(plan(graph, input_gradient=False)))
        except DiagnosticError as error:
            reports.append({"ok": False, "diagnostics": [to_json(d) for d in error.diagnostics]})
            if form == "text":
                print_diagnostics(error.diagnostics)
    if form == "json":
        click.echo(
            json.dumps(reports if not specs or len(specs) > 1 else reports[0], indent=2, ensure_ascii=False)
        )
    return 0 if all(report["ok"] for report in reports) else 1


def _print(
    file: str, graph: ShapedGraph, costs: Cost | None, size: Size | None, batch: int, check: bool
) -> None:
    console = stdout()
    contract = graph.size_contract
    if costs is None and contract:  # a table without MACs says little: take the size that it trains on
        patch = graph.spec.data.patch if graph.spec.data else None
        wanted = patch or (32, 32)
        near = [
            contract[axis].at_least(n) or contract[axis].smallest
            for axis, n in zip("HW", wanted, strict=True)
        ]
        if near[0] and near[1]:
            size = near[0], near[1]
            try:
                costs = cost(graph, size, batch)
            except DiagnosticError:  # height and width are one symbol, and the two numbers differ
                costs = None

    at = f"{batch} × " * (batch > 1) + f"{size[0]} × {size[1]}" if size else ""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    chain = all(
        node.inputs == (before,)
        for node, before in zip(graph.nodes, [graph.input_name, *(n.name for n in graph.nodes)], strict=False)
    )
    table.add_column("node", no_wrap=True)
    table.add_column("type", no_wrap=True)
    if not chain:
        table.add_column("from", no_wrap=True)
    table.add_column("output", no_wrap=True)
    if costs:
        table.add_column(f"at {at}", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    if costs:
        table.add_column("MACs", justify="right", no_wrap=True)

    def row(name: str, kind: str, inputs: str, shape: str, numbers: str, parameters: str, macs: str) -> None:
        cells = [name, kind, *([] if chain else [inputs]), shape, *([numbers] if costs else []), parameters]
        table.add_row(*cells, *([macs] if costs else []))

    inputs = (
        " × ".join(map(str, (*graph.input_shape[len(graph.input_shape) > 3 : -2], *size)))
        if costs and size
        else ""
    )
    row(graph.input_name, "input", "", _without_batch(graph.input_shape, graph), inputs, "", "")
    for node in graph.nodes:
        parameters = sum(parameter.size for parameter in node.parameters)
        found = costs.nodes[node.name] if costs else None
        row(
            node.name, node.layer.type, ", ".join(node.inputs), _without_batch(node.shape, graph),
            " × ".join(map(str, found.shape[len(graph.input_shape) > 3 :])) if found else "",
            human(parameters) if parameters else "", human(found.macs) if found and found.macs else "",
        )  # fmt: skip
    row("total", "", "", "", "", human(graph.parameter_count), human(costs.macs) if costs else "")

    console.print(f"[bold]{graph.spec.name}[/bold]  {file}", soft_wrap=True)
    console.print(table)
    field = receptive_field(graph)
    for axis, name in (("H", "height"), ("W", "width")):
        if contract:
            symbol = graph.input_shape[-2 if axis == "H" else -1]
            sizes = contract[axis].render(str(symbol) if not isinstance(symbol, int) else axis)
            console.print(f"{name}: {sizes}; an output pixel sees {_sees(field[axis], axis)}", soft_wrap=True)
    if costs:
        console.print(
            f"training step at {at}: {human_bytes(costs.saved_bytes)} saved for backward,"
            f" {human_bytes(costs.peak_bytes)} at the peak"
        )
    if not check:
        schedule = plan(graph, input_gradient=False)
        console.print(
            f"plan: engine reference, {len(schedule.forward)} forward steps in topological order,"
            f" {len(schedule.backward)} backward steps in reverse"
        )
    warnings = len(graph.warnings)
    console.print("ok" + (f", {warnings} warning{'s' * (warnings > 1)}" if warnings else ""), end="\n\n")


def _without_batch(shape: Shape, graph: ShapedGraph) -> str:
    """A picture's shape; the batch axis would stand in front of every line."""
    return render_shape(shape[len(graph.input_shape) > 3 :], graph.sizes)


def _sees(reach: Reach | str, axis: str) -> str:
    if isinstance(reach, str):
        return "the whole picture"
    widths = " or ".join(map(str, sorted(set(reach.extents))))
    before, after = ("up", "down") if axis == "H" else ("left", "right")
    return f"{widths} pixels (up to {reach.left} {before}, {reach.right} {after})"


def _write(path: str, document: dict[str, Any]) -> None:
    if Path(path).exists():
        raise fail("E403", "the file exists already", file=path, help="name another file, or remove it")
    try:
        Path(path).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise fail("E405", f"cannot write: {error.strerror}", file=path) from None
