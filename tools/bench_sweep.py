"""How the cost of a training step grows with batch and picture size: `n2nspec bench` at many points.

    python tools/bench_sweep.py --out sweep [SPEC] [--batches 1 32 1024] [--sizes 32 64 128 256]

Each point is a process of its own, so that none inherits what another has compiled or allocated, and leaves
FOLDER/points/BATCH_SIZE.json. A sweep that was ended takes up where it was; a point that failed is tried
again. After each point sweep.csv, sweep.svg and sweep.png are written anew. On a GPU where there is one.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from n2nspec.training.files import write_files
from n2nspec.training.plots import COLOURS, STYLE

SPEC = Path(__file__).parents[1] / "specs" / "n2n.toml"
COLUMNS = (
    "spec", "device", "dtype", "threads", "batch", "height", "width", "engine", "median", "q1", "q3",
    "minimum", "first_step", "speed", "peak_bytes", "of_arithmetic", "of_traffic", "reason",
)  # fmt: skip
"""Times in seconds; `of_…` is the fraction of what the machine's products or its memory could do."""
MOST = {"cpu": 2**21, "cuda": 2**26}
"""Pixels in a batch: 32 pictures of 256 × 256, and 1024."""
Point = dict[str, Any]


def measure(spec: str, batch: int, size: int, options: argparse.Namespace) -> Point | None:
    """The report of one point; None, told on stderr, when there is none."""
    command = [
        sys.executable, "-m", "n2nspec", "bench", spec, "--format", "json", "--batch", str(batch),
        "--size", f"{size}x{size}", "--device", options.device, "--seconds", str(options.seconds),
    ]  # fmt: skip
    command += [word for name in options.engines for word in ("--engine", name)]
    command += ["--threads", str(options.threads)] if options.threads else []
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=options.timeout, check=False)
    except subprocess.TimeoutExpired:
        print(f"{batch} × {size}: longer than {options.timeout} s", file=sys.stderr)
        return None
    if done.returncode:
        print(f"{batch} × {size}: exit code {done.returncode}", file=sys.stderr)
        return None
    report: Point = json.loads(done.stdout)
    return report


def rows(point: Point) -> list[dict[str, Any]]:
    """A line of the CSV for each engine."""
    batch, _, height, width = point["input_shape"]
    limit = point["limit"]

    def fraction(key: str, median: float | None) -> float | None:
        return limit[key] / median if limit and median else None

    return [
        {
            "spec": point["name"], "batch": batch, "height": height, "width": width, "engine": row["name"],
            **{key: point[key] for key in ("device", "dtype", "threads")},
            **{key: row[key] for key in COLUMNS if key in row},
            "of_arithmetic": fraction("arithmetic_seconds", row["median"]),
            "of_traffic": fraction("traffic_seconds", row["median"]),
        }
        for row in point["engines"]
    ]  # fmt: skip


def table(points: Sequence[Point]) -> bytes:
    """The CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for point in points for row in rows(point))
    return text.getvalue().encode()


def draw(points: Sequence[Point], form: str) -> bytes:
    """A panel for each batch size: milliseconds a step against the pictures' side, a line an engine."""
    batches = sorted({point["input_shape"][0] for point in points})
    names = list(dict.fromkeys(row["name"] for point in points for row in point["engines"]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8 * len(batches), 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(batches), squeeze=False, sharey=True)[0]
        for axes, batch in zip(panels, batches, strict=True):
            here = sorted(
                (point for point in points if point["input_shape"][0] == batch),
                key=lambda point: int(point["input_shape"][-1]),
            )
            sides = [point["input_shape"][-1] for point in here]
            for index, name in enumerate(names):
                found = [
                    (side, row)
                    for side, point in zip(sides, here, strict=True)
                    for row in point["engines"]
                    if row["name"] == name and row["median"]
                ]
                axes.errorbar(
                    [side for side, _ in found],
                    [1e3 * row["median"] for _, row in found],
                    yerr=[
                        [1e3 * (row["median"] - row["q1"]) for _, row in found],
                        [1e3 * (row["q3"] - row["median"]) for _, row in found],
                    ],
                    color=COLOURS[index % len(COLOURS)], marker="o", markersize=3, linewidth=1.5, label=name,
                )  # fmt: skip
            for key, label, style in (
                ("arithmetic_seconds", "limit of products", "--"),
                ("traffic_seconds", "limit of memory", ":"),
            ):
                limits = [1e3 * point["limit"][key] for point in here]
                axes.plot(sides, limits, color="black", linewidth=1.0, linestyle=style, label=label)
            axes.set_xscale("log", base=2)
            axes.set_xticks(sides, [str(side) for side in sides])
            axes.set_yscale("log")
            axes.set_xlabel("side of a picture (pixels)")
            axes.set_title(f"batch {batch}")
        panels[0].set_ylabel("ms a training step, quartiles")
        panels[0].legend(frameon=False, fontsize=8)
        content = io.BytesIO()
        figure.savefig(content, format=form, dpi=150, metadata={"Date": None} if form == "svg" else {})
        return content.getvalue()


def publish(folder: Path, points: Sequence[Point]) -> None:
    """The CSV and the figures of what there is."""
    figures = {f"sweep.{form}": draw(points, form) for form in ("svg", "png")}
    write_files(folder, {"sweep.csv": table(points), **figures})


def sweep(options: argparse.Namespace) -> int:
    """Measures what is missing; returns how many points failed."""
    folder = Path(options.out)
    (folder / "points").mkdir(parents=True, exist_ok=True)
    most = options.most or MOST.get(options.device.partition(":")[0], MOST["cpu"])
    points: list[Point] = []
    failed = 0
    for batch in options.batches:
        for size in options.sizes:
            file = folder / "points" / f"{batch}_{size}.json"
            if file.exists():
                points.append(json.loads(file.read_text(encoding="utf-8")))
                continue
            if batch * size * size > most:
                print(f"{batch} × {size}: left out, more than --most {most} pixels", file=sys.stderr)
                continue
            print(f"{batch} × {size}", file=sys.stderr)
            point = measure(options.spec, batch, size, options)
            if point is None:
                failed += 1
                continue
            write_files(file.parent, {file.name: json.dumps(point, indent=2).encode()})
            points.append(point)
            publish(folder, points)
    if points:  # those that were there already may come after the last new one
        publish(folder, points)
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("spec", nargs="?", default=str(SPEC))
    parser.add_argument("--out", required=True, help="folder")
    parser.add_argument("--batches", type=int, nargs="+", help="default: 1 8 32; on a GPU 32 1024")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument(
        "--engines", nargs="+", default=[], help="as for n2nspec bench --engine; all by default"
    )
    parser.add_argument("--device", default=device, help=f"default here: {device}")
    parser.add_argument("--seconds", type=float, default=10.0, help="of measuring a point")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument(
        "--most", type=int, default=None, help="pixels in a batch; larger points are left out"
    )
    parser.add_argument(
        "--timeout", type=float, default=3600.0, help="seconds after which a point is given up"
    )
    options = parser.parse_args(arguments)
    options.batches = options.batches or ([32, 1024] if options.device.startswith("cuda") else [1, 8, 32])
    try:
        return 1 if sweep(options) else 0
    except KeyboardInterrupt:
        print(f"\ninterrupted: the same command goes on from what is in {options.out}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
