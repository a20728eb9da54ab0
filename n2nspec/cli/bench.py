"""`n2nspec bench`: who is faster, ours or torch, at what cost, and how far from what the machine could do?"""

from __future__ import annotations

import json
from typing import Any

import click

from n2nspec.cli._options import (
    ALLOW_PLUGINS,
    DETERMINISTIC,
    DEVICE,
    FORMAT,
    MEMORY_LIMIT,
    PROCESSES,
    SET,
    SIZE,
    WORDS,
    overrides,
)
from n2nspec.cli._output import bold, finite, human, human_bytes, interrupted, stderr
from n2nspec.cli._sizes import input_shape, render_size
from n2nspec.cli._table import Table
from n2nspec.diagnostics import plural
from n2nspec.graph import check
from n2nspec.oracle import CONTESTANTS, BenchReport, BenchRow, Limit, bench

__all__ = ["command"]

Size = tuple[int, int]


@click.command(
    "bench",
    help="Time training steps of SPEC (forward, loss, backward, optimiser) with every engine of ours and of"
    " torch's, taking turns in one process.",
)
@click.argument("spec", type=WORDS)
@click.option(
    "--batch", type=click.IntRange(1), default=None, help="Pictures in a batch; 32, or 1 with --inference."
)
@click.option(
    "--size", type=SIZE, default=None, help="Picture size; what the spec trains on, or 32x32, by default."
)
@FORMAT
@click.option(
    "--engine", "engines", type=click.Choice(CONTESTANTS), multiple=True,
    help="Only this one, and torch to compare with; again for several.",
)  # fmt: skip
@click.option(
    "--seconds", type=click.FloatRange(0, 1e6), default=10.0, show_default=True, help="How long to measure."
)
@click.option("--threads", type=click.IntRange(1, 4096), default=None, help="For torch's operators.")
@click.option("--inference", is_flag=True, help="Forward passes in evaluation mode instead.")
@DEVICE
@MEMORY_LIMIT
@PROCESSES
@DETERMINISTIC
@SET
@ALLOW_PLUGINS
def command(
    spec: str,
    batch: int | None,
    size: Size | None,
    form: str,
    engines: tuple[str, ...],
    seconds: float,
    threads: int | None,
    inference: bool,
    device: str,
    memory_limit: int | None,
    processes: int | None,
    deterministic: bool,
    settings: tuple[str, ...],
    allow_plugins: bool,
) -> int:
    graph = check(spec, overrides(settings), allow_plugins=allow_plugins)
    shape = input_shape(graph, size, batch or (1 if inference else 32))
    if memory_limit and (inference or "optimized" not in (engines or CONTESTANTS)):
        raise click.UsageError("--memory-limit is for training steps of the optimized engine")
    console = stderr()
    report = bench(
        graph, shape, engines=engines or CONTESTANTS, seconds=seconds, threads=threads, inference=inference,
        device=device, memory_limit=memory_limit, processes=processes, deterministic=deterministic,
        say=lambda text: console.print(text, soft_wrap=True, markup=False),
    )  # fmt: skip
    if form == "json":
        click.echo(json.dumps({"file": spec, **_document(report)}, indent=2, ensure_ascii=False))
    else:
        _print(spec, report)
    return interrupted(": what was measured by then stands above") if report.interrupted else 0


def _document(report: BenchReport) -> dict[str, Any]:
    """Times in seconds. `speed` is how many times as fast as torch."""
    return {
        "ok": True,
        "name": report.spec,
        "mode": "inference" if report.inference else "training",
        "input_shape": list(report.input_shape),
        "dtype": report.dtype,
        "precision": report.precision,
        "device": report.device,
        "threads": report.threads,
        "rounds": report.rounds,
        "interrupted": report.interrupted,
        "environment": report.environment,
        "engines": [_row(row, report) for row in report.rows],
        "limit": _limit(report.limit) if report.limit else None,
        "verdict": _verdict(report),
    }


def _row(row: BenchRow, report: BenchReport) -> dict[str, Any]:
    q1, median, q3 = row.quartiles or (None, None, None)
    return {
        "name": row.name, "about": row.about, "ours": row.ours, "steps": len(row.seconds), "median": median,
        "q1": q1, "q3": q3, "minimum": min(row.seconds, default=None), "first_step": row.first,
        "speed": report.baseline / median if report.baseline and median else None,
        "of_limit": report.limit.arithmetic / median if report.limit and median else None,
        "peak_bytes": row.peak_bytes, "value": None if row.value is None else finite(row.value),
        "reason": row.reason,
    }  # fmt: skip


def _limit(limit: Limit) -> dict[str, Any]:
    return {
        "macs": limit.macs,
        "flops_per_second": limit.flops_per_second,
        "arithmetic_seconds": limit.arithmetic,
        "bytes": limit.bytes,
        "bytes_per_second": limit.bytes_per_second,
        "traffic_seconds": limit.traffic,
    }


def _print(file: str, report: BenchReport) -> None:
    what = "forward pass" if report.inference else "training step"
    value = "mean output" if report.inference else "loss"
    table = Table(
        header=("engine", f"ms a {what}", "quartiles", "speed", "first (ms)", "memory", value, "what it is"),
        right=frozenset({1, 2, 3, 4, 5, 6}),
    )
    baseline = report.baseline
    for row in report.rows:
        if not row.quartiles:
            table.rows.append((row.name, "–", "", "", "", "", "", f"{row.about}: {row.reason}"))
            continue
        q1, median, q3 = row.quartiles
        table.rows.append(
            (
                row.name, _ms(median), f"{_ms(q1)} – {_ms(q3)}", _speed(baseline, median), _ms(row.first),
                "–" if row.peak_bytes is None else human_bytes(row.peak_bytes),
                "–" if row.value is None else f"{row.value:.5g}", row.about,
            )
        )  # fmt: skip
    limit = report.limit
    if limit:
        table.rows.append(
            (
                "limit", _ms(limit.arithmetic), "", _speed(baseline, limit.arithmetic), "", "", "",
                f"{human(limit.macs)} MACs at {limit.flops_per_second / 1e9:.0f} GFLOP/s, as a large product",
            )
        )  # fmt: skip
    environment = report.environment
    kind = report.dtype if report.precision == "full" else f"{report.dtype}, {report.precision}"
    click.echo(
        f"{bold(report.spec)}  {file}  {what}{'es' if report.inference else 's'} at"
        f" {render_size(report.input_shape)}, {kind} on"
        f" {environment.get('gpu', report.device)}, {plural(report.threads, 'thread')}"
    )
    first, *lines = table.lines()
    click.echo("\n".join([bold(first), *lines]))
    click.echo(
        "speed: how many times as fast as torch; first: the first step, with what compilers kept from earlier"
        " runs;\nmemory: the most at once during a step, weights left out, as torch's allocator gives it;"
        " limit: the optimised\nprogram's products alone"
    )
    click.echo(_verdict(report))
    click.echo(
        f"{environment['cpu']}, {environment['cores']} cores, torch {environment['torch']}, Python"
        f" {environment['python']}; {plural(report.rounds, 'round')}"
    )


def _verdict(report: BenchReport) -> str:
    """Who wins, and by how much."""
    ours = [row for row in report.ranking if row.ours]
    theirs = [row for row in report.ranking if not row.ours]
    if not ours or not theirs:
        return (
            f"nobody to compare {report.ranking[0].name} with" if report.ranking else "nothing was measured"
        )
    winner, loser = sorted((ours[0], theirs[0]), key=lambda row: row.median or 0.0)
    assert winner.median
    assert loser.median
    whose = ("ours", "torch's best") if winner.ours else ("torch's", "our best")
    text = (
        f"{winner.name}, {whose[0]}, is the fastest: {whose[1]}, {loser.name}, takes"
        f" {loser.median / winner.median:.2f} times as long"
    )
    apart = winner.quartiles and loser.quartiles and winner.quartiles[2] < loser.quartiles[0]
    return text if apart else f"{text}; their quartiles overlap, so this may be chance"


def _ms(seconds: float | None) -> str:
    """Milliseconds with three digits that count."""
    if seconds is None:
        return "–"
    value = 1e3 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _speed(baseline: float | None, seconds: float) -> str:
    return f"{baseline / seconds:.2f}" if baseline and seconds else "–"
