"""Figures of the losses: SVG for a report, PNG for a slide.

In: run folders. Out: one picture of the losses, as moving averages, against epochs (the source report's
Figure 3). Equal runs give equal bytes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from n2nspec.diagnostics import fail
from n2nspec.training.files import write_files
from n2nspec.training.history import Row, epochs_axis, read_rows
from n2nspec.training.metrics import moving_average
from n2nspec.training.run import Run

__all__ = ["FORMATS", "curve", "draw_losses", "plot_losses"]

FORMATS = (".svg", ".png", ".pdf")
WINDOW = 10
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""The palette of Okabe and Ito, which people who confuse red and green can tell apart."""
STYLE: Any = {  # matplotlib types its keys as one Literal of hundreds
    "svg.hashsalt": "n2nspec",  # else every SVG gets identifiers of its own
    "svg.fonttype": "none",  # letters stay letters: smaller, searchable, readable for a screen reader
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "savefig.facecolor": "white",
}
Curve = tuple[list[float], list[float]]


def curve(rows: Sequence[Row], *, window: int = WINDOW, oracle: bool = False) -> Curve:
    """Epochs and losses of one line: each point averages the losses of `window` steps that end there."""
    steps = [row for row in rows if (row.oracle_loss if oracle else row.loss) is not None]
    losses = [float((row.oracle_loss if oracle else row.loss) or 0.0) for row in steps]
    averages = moving_average(losses, window)
    return epochs_axis(steps)[len(steps) - len(averages) :], averages


def draw_losses(
    histories: Iterable[tuple[str, Sequence[Row]]], *, format: str, window: int = WINDOW
) -> bytes:
    """The figure of named histories, as the content of an svg, png or pdf file.

    A run beside its torch.nn twin shows both, the twin dashed.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        named = list(histories)
        for index, (name, rows) in enumerate(named):
            colour = COLOURS[index % len(COLOURS)]
            epochs, losses = curve(rows, window=window)
            # a line of one point is invisible
            marker = "o" if len(losses) == 1 else ""
            axes.plot(epochs, losses, color=colour, linewidth=1.5, marker=marker, label=name)
            if any(row.oracle_loss is not None for row in rows):
                epochs, losses = curve(rows, window=window, oracle=True)
                axes.plot(
                    epochs,
                    losses,
                    # the twin's line lies on ours, so it has a colour of its own where one is to spare
                    color="black" if len(named) == 1 else colour,
                    linewidth=1.0,
                    linestyle=(0, (4, 3)),
                    label=f"{name}, torch.nn",
                )
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss" if window == 1 else f"loss, mean of {window} batches")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if axes.lines:
            axes.legend(frameon=False)
        content = io.BytesIO()
        # a date would make equal runs differ; PNG writes none
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(format, {})
        figure.savefig(content, format=format, dpi=150, metadata=metadata)
        return content.getvalue()


def plot_losses(
    runs: Sequence[Run | str | os.PathLike[str]], path: str | os.PathLike[str], window: int = WINDOW
) -> Path:
    """Draws the losses of several runs into one figure, `n2nspec plot RUN... -o FILE`.

    Args:
        runs: run folders; unfinished ones show their finished epochs.
        path: a new .svg, .png or .pdf file.
        window: steps in a moving average.

    Returns:
        the file.

    Raises:
        DiagnosticError: E105, a format that is not drawn; E401, not a run folder; E403, the file exists;
            E405, it cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise fail(
            "E105",
            f"cannot draw a {path.suffix or 'file without a suffix'}",
            file=path,
            help=f"the formats are {', '.join(FORMATS)}",
        )
    folders = [run.path if isinstance(run, Run) else Path(run) for run in runs]
    if not folders:
        raise fail("E401", "there is no run to draw", help="name one run folder or several")
    histories = list(zip(_names(folders), [_history(folder) for folder in folders], strict=True))
    if os.path.lexists(path):
        raise fail(
            "E403", f"{path} exists already", file=path, help="choose another name, or remove it yourself"
        )
    format = path.suffix.lower().removeprefix(".")
    write_files(path.parent, {path.name: draw_losses(histories, format=format, window=window)})
    return path


def _history(folder: Path) -> list[Row]:
    rows = read_rows(folder)
    if all(row.loss is None for row in rows):
        raise fail("E401", f"{folder} has no training steps to draw", file=folder, help="train it first")
    return rows


def _names(folders: Sequence[Path]) -> list[str]:
    """Folder names; where two are the same, as much of the path as tells them apart."""
    parts = [folder.resolve().parts for folder in folders]
    names = []
    for own in parts:
        depth = 1
        while depth < len(own) and sum(other[-depth:] == own[-depth:] for other in set(parts)) > 1:
            depth += 1
        names.append("/".join(own[-depth:]))
    return names
