"""`n2nspec time`: where the time of a training step goes, kernel by kernel."""

from __future__ import annotations

import json
from typing import Any

import click

from n2nspec._lazy import torch
from n2nspec.cli._options import (
    ALLOW_PLUGINS,
    DETERMINISTIC,
    DEVICE,
    FORMAT,
    MEMORY_LIMIT,
    SET,
    SIZE,
    WORDS,
    overrides,
)
from n2nspec.cli._output import bold, human
from n2nspec.cli._sizes import in_groups, input_shape, render_size
from n2nspec.cli._table import Table
from n2nspec.diagnostics import plural
from n2nspec.graph import check
from n2nspec.runtime import compile
from n2nspec.runtime.timing import PassTime, StepTimes, time_step

__all__ = ["command"]

Size = tuple[int, int]


@click.command("time", help="Time each kernel of a training step of SPEC, forward and backward.")
@click.argument("spec", type=WORDS)
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Pictures in a batch.")
@click.option(
    "--size", type=SIZE, default=None, help="Picture size; what the spec trains on, or 32x32, by default."
)
@click.option(
    "--engine", type=click.Choice(["optimized", "reference"]), default="optimized", show_default=True,
    help="The planned kernels, or the layers as written.",
)  # fmt: skip
@FORMAT
@click.option(
    "--seconds", type=click.FloatRange(0, 1e6), default=3.0, show_default=True, help="How long to measure."
)
@click.option("--threads", type=click.IntRange(1, 4096), default=None, help="For torch's operators.")
@DEVICE
@MEMORY_LIMIT
@DETERMINISTIC
@SET
@ALLOW_PLUGINS
def command(
    spec: str,
    batch: int,
    size: Size | None,
    engine: str,
    form: str,
    seconds: float,
    threads: int | None,
    device: str,
    memory_limit: int | None,
    deterministic: bool,
    settings: tuple[str, ...],
    allow_plugins: bool,
) -> None:
    graph = check(spec, overrides(settings), allow_plugins=allow_plugins)
    shape = input_shape(graph, size, batch)
    model = compile(
        graph.spec, engine=engine, device=device, memory_limit=memory_limit, deterministic=deterministic
    )
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads or before)
        times = time_step(model, shape, seconds=seconds, passes=engine == "optimized")
    finally:
        torch.set_num_threads(before)
    about = {
        "file": spec, "name": graph.spec.name, "engine": engine, "input_shape": list(shape),
        "dtype": graph.spec.train.dtype, "device": str(model.device), "threads": threads or before,
    }  # fmt: skip
    if form == "json":
        click.echo(json.dumps({"ok": True, **about, **_document(times)}, indent=2, ensure_ascii=False))
        return
    click.echo(
        f"{bold(graph.spec.name)}  {spec}  a training step at {render_size(shape)}, engine {engine},"
        f" {about['dtype']} on {model.device}, {plural(threads or before, 'thread')}"
        f"{in_groups(times.groups)}, medians of {plural(times.steps, 'step')}"
    )
    first, *lines = _table(times).lines()
    click.echo("\n".join([bold(first), *lines]))


def _document(times: StepTimes) -> dict[str, Any]:
    """Times in seconds; shares of the sum of all medians."""
    return {
        "steps": times.steps,
        "groups": list(times.groups),
        "seconds": times.seconds,
        "rows": [
            {
                "name": row.name, "kind": row.kind, "covers": list(row.covers), "seconds": row.seconds,
                "share": row.seconds / times.seconds, "forward": _pass(row.forward),
                "backward": _pass(row.backward),
            }
            for row in times.rows
        ],
    }  # fmt: skip


def _pass(found: PassTime | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {
        "median": found.median,
        "q1": found.q1,
        "q3": found.q3,
        "macs": found.macs,
        "gflops": found.gflops,
    }


def _table(times: StepTimes) -> Table:
    header = (
        "kernel", "kind", "forward (ms)", "MACs", "GFLOP/s", "backward (ms)", "MACs", "GFLOP/s", "share",
        "covers",
    )  # fmt: skip
    table = Table(header=header, right=frozenset(range(2, 9)))
    for row in times.rows:
        table.rows.append(
            (
                row.name, row.kind, *_cells(row.forward), *_cells(row.backward),
                f"{row.seconds / times.seconds:.1%}",
                "" if row.covers == (row.name,) else ", ".join(row.covers),
            )
        )  # fmt: skip
    forward = _sum([row.forward for row in times.rows if row.name not in ("loss", "optimizer")])
    backward = _sum([row.backward for row in times.rows])
    table.rows.append(
        (f"total {1e3 * times.seconds:.3f} ms", "", *_cells(forward), *_cells(backward), "100.0%", "")
    )
    return table


def _sum(passes: list[PassTime | None]) -> PassTime:
    found = [entry for entry in passes if entry]
    seconds = sum(entry.median for entry in found)
    return PassTime(median=seconds, q1=seconds, q3=seconds, macs=sum(entry.macs for entry in found))


def _cells(found: PassTime | None) -> tuple[str, str, str]:
    if found is None:
        return "", "", ""
    gflops = found.gflops
    macs = human(found.macs) if found.macs else ""
    return f"{1e3 * found.median:.3f}", macs, f"{gflops:.1f}" if gflops else ""
