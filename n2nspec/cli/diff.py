"""`n2nspec diff`: what is different between two networks, as graphs? Needs no torch.

Exit code 0 when they are equal, 1 when they differ or when a spec is at fault. A spec at fault leaves stdout
empty and has its diagnostics on stderr; in JSON, `ok` is false and `equal` null.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from n2nspec.cli._faults import as_diagnostics
from n2nspec.cli._options import ALLOW_PLUGINS, FORMAT, SIZE, WORDS
from n2nspec.cli._output import bold, human, human_bytes, painted
from n2nspec.cli._report import describe, sees
from n2nspec.cli._table import Table
from n2nspec.diagnostics import Diagnostic, DiagnosticError, fail, plural, to_json
from n2nspec.geometry import SizeLimitError, render_dim, render_shape
from n2nspec.graph import Cost, ShapedGraph, ShapedNode, check, cost, receptive_field
from n2nspec.graph.diff import GraphDiff, NodeDiff
from n2nspec.graph.diff import diff as compare

__all__ = ["command"]

Size = tuple[int, int]
MARKS = {
    "added": ("+", 32),
    "removed": ("-", 31),
    "changed": ("~", 33),
    "moved": (">", 36),
    "renamed": ("=", 0),
}
"""For each change its mark and colour."""
WEIGHTS = {
    "fit": "those of one load into the other",
    "fit when renamed": "those of one load into the other under the other names",
    "do not fit": "those of one do not load into the other",
}
SHOWN = 12
"""Nodes that only follow the others, as far as they are listed."""


@click.command(
    "diff",
    help="Compare the networks of specs A and B (or of run folders) as graphs."
    " Exit code 0 when they are equal, 1 when they differ or a spec is at fault.",
)
@click.argument("first", type=WORDS, metavar="A")
@click.argument("second", type=WORDS, metavar="B")
@click.option("--size", type=SIZE, default=None, help="Picture size for MACs and memory.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Pictures in a batch.")
@FORMAT
@ALLOW_PLUGINS
def command(first: str, second: str, size: Size | None, batch: int, form: str, allow_plugins: bool) -> int:
    graphs: list[ShapedGraph] = []
    problems: dict[Diagnostic, None] = {}
    for place in (first, second):
        try:
            with as_diagnostics():
                graphs.append(check(_spec_file(place), allow_plugins=allow_plugins))
        except DiagnosticError as error:
            problems |= dict.fromkeys(error.diagnostics)
    try:
        if problems:
            raise DiagnosticError(problems)
        found = compare(*graphs)
        size, costs = _costs(found, size, batch)
        if form == "text":
            _print(found, (first, second), size, batch, costs)
        else:
            click.echo(json.dumps(_document(found, size, batch, costs), indent=2, ensure_ascii=False))
    except DiagnosticError as error:
        if form == "text":
            raise
        problem = {"ok": False, "equal": None, "diagnostics": [to_json(d) for d in error.diagnostics]}
        click.echo(json.dumps(problem, indent=2, ensure_ascii=False))
        return 1
    return 0 if found.equal else 1


def _spec_file(place: str) -> str:
    """A spec, or the spec of a run folder.

    Raises:
        DiagnosticError: E401, a folder without one.
    """
    if not Path(place).is_dir():
        return place
    file = Path(place, "spec.toml")
    if not file.is_file():
        raise fail("E401", f"{place} is not a run: there is no spec.toml in it", file=place,
                   help="name a spec, or a run folder as n2nspec train makes them")  # fmt: skip
    return str(file)


def _costs(found: GraphDiff, size: Size | None, batch: int) -> tuple[Size | None, tuple[Cost, ...]]:
    """Both costs, at the size wanted or at the training's; none where no size suits both.

    Raises:
        DiagnosticError: a network does not take the size that was asked for.
    """
    graphs = found.before, found.after
    if size:
        return size, tuple(cost(graph, size, batch) for graph in graphs)
    if not all(graph.size_contract for graph in graphs):
        return None, ()
    patches = [graph.spec.data.patch for graph in graphs if graph.spec.data and graph.spec.data.patch]
    wanted = patches[0] if patches else (32, 32)
    near = []
    try:
        for axis, number in zip("HW", wanted, strict=True):
            both = graphs[0].size_contract[axis] & graphs[1].size_contract[axis]
            near.append(both.at_least(number) or both.smallest)
        if not near[0] or not near[1]:
            return None, ()
        size = near[0], near[1]
        return size, tuple(cost(graph, size, batch) for graph in graphs)
    except (SizeLimitError, DiagnosticError):  # two symbols are one, and the numbers differ
        return None, ()


def _document(found: GraphDiff, size: Size | None, batch: int, costs: tuple[Cost, ...]) -> dict[str, Any]:
    graphs = found.before, found.after
    reports = [describe(graph, costs[index] if costs else None) for index, graph in enumerate(graphs)]
    shapes = [[render_dim(dim) for dim in graph.input_shape] for graph in graphs]
    return {
        "ok": True,
        "equal": found.equal,
        "diagnostics": [],
        "files": [report["file"] for report in reports],
        "names": [report["name"] for report in reports],
        "nodes": [_node_document(node, graphs) for node in found.nodes],
        "affected": [
            {
                "before": old.name,
                "after": new.name,
                "shape": _shapes((old, new), graphs),
                "params": [_parameters(old), _parameters(new)],
            }
            for old, new in found.affected
        ],
        "input": {"name": [graph.input_name for graph in graphs], "shape": shapes},
        "output": [graph.output for graph in graphs],
        "size": list(size) if size else None,
        "batch": batch,
        "totals": {name: [report["totals"][name] for report in reports] for name in reports[0]["totals"]},
        "size_contract": [report["size_contract"] for report in reports],
        "receptive_field": [report["receptive_field"] for report in reports],
        "weights": found.weights,
        "warnings": _notes(found, costs),
    }


def _node_document(node: NodeDiff, graphs: tuple[ShapedGraph, ShapedGraph]) -> dict[str, Any]:
    sides = node.before, node.after
    one = node.after or node.before
    assert one is not None
    fields = {name: _values(node, name) for name in node.fields}
    if not node.before or not node.after:  # all there is to say of a node that only one graph has
        fields = {name: _values(node, name) for name in type(one.layer).model_fields if name != "type"}
        if one.share:
            fields["share"] = [side and side.share for side in sides]
    return {
        "change": list(node.change),
        "before": node.before and node.before.name,
        "after": node.after and node.after.name,
        "type": one.layer.type,
        "fields": fields,
        "inputs": [side and list(side.inputs) for side in sides],
        "shape": _shapes(sides, graphs),
        "params": [side and _parameters(side) for side in sides],
    }


def _values(node: NodeDiff, name: str) -> list[Any]:
    """A field before and after, as a spec writes it."""
    if name in ("type", "share"):
        return list(node.fields[name])
    return [
        side.layer.model_dump(mode="json", include={name}).get(name) if side else None
        for side in (node.before, node.after)
    ]


def _shapes(
    sides: tuple[ShapedNode | None, ShapedNode | None], graphs: tuple[ShapedGraph, ShapedGraph]
) -> list[list[str | int] | None]:
    return [
        [render_dim(dim, graph.sizes) for dim in side.shape] if side else None
        for side, graph in zip(sides, graphs, strict=True)
    ]


def _parameters(node: ShapedNode) -> int:
    return sum(parameter.size for parameter in node.parameters)


def _notes(found: GraphDiff, costs: tuple[Cost, ...]) -> list[str]:
    """What the numbers do not say."""
    notes = []
    specs = found.before.spec, found.after.spec
    if found.equal and found.written_out:
        names = ", ".join(found.written_out[:SHOWN]) + ", …" * (len(found.written_out) > SHOWN)
        notes.append(f"defaults that only one spec writes out are no difference: {names}")
    tables = [f"[{name}]" for name in ("train", "data") if getattr(specs[0], name) != getattr(specs[1], name)]
    if tables:
        notes.append(f"different, too, but no part of the graph: {' and '.join(tables)}")
    if {file.content for file in specs[0].plugin_files} != {file.content for file in specs[1].plugin_files}:
        notes.append("the plugins are different files: layers of one type may compute different things")
    if not costs and found.before.size_contract and found.after.size_contract:
        notes.append("MACs and memory are not compared: no picture size was found that suits both")
    return notes


def _print(
    found: GraphDiff, files: tuple[str, str], size: Size | None, batch: int, costs: tuple[Cost, ...]
) -> None:
    graphs = found.before, found.after
    rows, unchanged = _totals(found, size, batch, costs)  # may fail, and then nothing is printed
    click.echo(bold(" → ".join(f"{g.spec.name}  {file}" for g, file in zip(graphs, files, strict=True))))
    table = Table(header=("", "node", "type", "what", "output", "parameters"), right=frozenset((5,)))
    for node in found.nodes:
        table.rows.append(_row(node, graphs))
    if found.nodes:
        first, *lines = table.lines()
        click.echo(bold(first))
        for node, line in zip(found.nodes, lines, strict=True):
            click.echo(painted(line, MARKS[node.change[0]][1]))
    if found.affected:
        _print_affected(found)
    if found.nodes or found.affected:
        click.echo()

    if rows:
        totals = Table(header=("", "before", "after", ""), right=frozenset((3,)))
        totals.rows.extend(rows)
        click.echo("\n".join(totals.lines()))
    click.echo(f"unchanged: {', '.join(unchanged)}")
    click.echo(f"weights: {WEIGHTS[found.weights]}")
    for note in _notes(found, costs):
        click.echo(f"note: {note}")
    counts = Counter[str](change for node in found.nodes for change in node.change)
    said = ", ".join(f"{counts[change]} {change}" for change in MARKS if counts[change])
    nodes = plural(len(found.after.nodes), "node")
    if found.equal:
        click.echo(f"equal: {nodes}" + (f", {said}" if said else ""))
    else:
        click.echo(f"different: {said or 'no node'}")


def _row(node: NodeDiff, graphs: tuple[ShapedGraph, ShapedGraph]) -> list[str]:
    sides = [side for side in (node.before, node.after) if side]
    one = sides[-1]
    values = {name: _values(node, name) for name in node.fields if name != "type"}
    what = [f"{name} {_arrow(*map(_text, pair))}" for name, pair in values.items() if pair[0] != pair[1]]
    if "moved" in node.change:
        what.append("from " + _arrow(*(", ".join(side.inputs) for side in sides)))
    elif len(sides) == 1:
        written = one.layer.model_dump(mode="json", include=one.layer.model_fields_set - {"type"})
        what += [f"{name} {_text(value)}" for name, value in written.items()]
        what += [f"share {one.share}"] if one.share else []
        what.append(f"from {', '.join(one.inputs)}")
    shapes = [
        render_shape(side.shape[len(graph.input_shape) > 3 :], graph.sizes)
        for side, graph in zip((node.before, node.after), graphs, strict=True)
        if side
    ]
    counts = [_parameters(side) for side in sides]
    return [
        "".join(MARKS[change][0] for change in node.change),
        _arrow(*(side.name for side in sides)),
        _arrow(*node.fields.get("type", (one.layer.type,))),
        ", ".join(what),
        _arrow(*shapes),
        _arrow(*map(human, counts)) if any(counts) else "",
    ]


def _print_affected(found: GraphDiff) -> None:
    """The nodes that follow: their shapes and parameters."""
    graphs = found.before, found.after
    number = len(found.affected)
    click.echo(f"\nas a result, {plural(number, 'more node')} with another output or other parameters:")
    table = Table(header=("", "node", "type", "output", "parameters"), right=frozenset((4,)))
    for old, new in found.affected[:SHOWN]:
        node = NodeDiff(change=(), before=old, after=new, fields={})
        row = _row(node, graphs)
        table.rows.append([*row[:3], *row[4:]])
    click.echo("\n".join(table.lines()[1:]))
    if number > SHOWN:
        click.echo(f"   … and {number - SHOWN:,} more; --format json has them all")


def _totals(
    found: GraphDiff, size: Size | None, batch: int, costs: tuple[Cost, ...]
) -> tuple[list[list[str]], list[str]]:
    """Rows of what is different as a whole, and the names of what is not."""
    graphs = found.before, found.after
    at = f" at {f'{batch} × ' * (batch > 1)}{size[0]} × {size[1]}" if size else ""
    rows: list[list[str]] = []
    unchanged: list[str] = []

    def say(what: str, before: str, after: str, growth: str = "") -> None:
        if before == after and not growth:
            unchanged.append(what)
        else:
            rows.append([what, before, after, growth])

    def count(
        what: str, before: int, after: int, *, text: Callable[[int], str] = human, unit: str = ""
    ) -> None:
        """Numbers, which may differ where their texts do not."""
        say(what, text(before), text(after), f"{after - before:+,}{unit}" if before != after else "")

    inputs = [f"{graph.input_name}: {render_shape(graph.input_shape)}" for graph in graphs]
    say("input", *inputs)
    if not found.output_equal:
        say("output", found.before.output, found.after.output)
    count("parameters", *(graph.parameter_count for graph in graphs))
    if costs:
        count(f"MACs{at}", *(found.macs for found in costs))
        for what, name in (
            ("saved for backward", "saved_bytes"),
            ("peak of a training step", "peak_bytes"),
            ("inference", "inference_bytes"),
        ):
            before, after = (getattr(found, name) for found in costs)
            count(what, before, after, text=human_bytes, unit=" B")
    fields = [receptive_field(graph) for graph in graphs]
    for offset, axis, name in ((-2, "H", "height"), (-1, "W", "width")):
        if all(fields):
            sizes = [
                graph.size_contract[axis].render(getattr(graph.input_shape[offset], "symbol", axis))
                for graph in graphs
            ]
            say(f"picture {name}", *sizes)
            say(f"receptive field, {name}", *(sees(field[axis], axis) for field in fields))
    return rows, unchanged


def _arrow(before: str, after: str | None = None) -> str:
    """`1 → 2`, or what both are."""
    return before if after in (None, before) else f"{before} → {after}"


def _text(value: Any) -> str:
    """As JSON and, mostly, TOML write it."""
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)
