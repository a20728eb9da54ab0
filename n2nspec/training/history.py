"""`metrics.csv`: what a run measured, one row a training step.

In: the rows of one epoch after another. Out: CSV text that a spreadsheet reads, and back from it the curves.

| column | meaning |
| --- | --- |
| `step` | training steps taken, from 1; the row of step 0 is the untrained network |
| `epoch` | the epoch that the step belongs to, from 1 |
| `loss` | loss of the step's batch, before the step; empty in row 0 |
| `seconds` | time in training steps since the start, without reading data and measuring |
| `psnr` | dB on the held-out pictures after the step; filled in the last row of each epoch, and in row 0 |
| `oracle_loss`, `oracle_seconds`, `oracle_psnr` | the same for the torch.nn twin, with `--oracle` |

Floats are written in full, so a loss read back is the loss that was.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from n2nspec.diagnostics import fail

__all__ = ["METRICS_FILE", "Row", "epochs_axis", "read_rows", "write_rows"]

METRICS_FILE = "metrics.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of `metrics.csv`; None is an empty cell."""

    step: int
    epoch: int
    loss: float | None = None
    seconds: float | None = None
    psnr: float | None = None
    oracle_loss: float | None = None
    oracle_seconds: float | None = None
    oracle_psnr: float | None = None


COLUMNS = tuple(field.name for field in fields(Row))


def write_rows(rows: Iterable[Row], *, header: bool) -> bytes:
    """The rows as CSV in UTF-8; the column names in front with `header`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    for row in rows:
        values = [getattr(row, name) for name in COLUMNS]
        writer.writerow("" if value is None else repr(value) for value in values)
    return text.getvalue().encode()


def read_rows(folder: Path) -> list[Row]:
    """The rows of a run folder's `metrics.csv`.

    Raises:
        DiagnosticError: E401, there is no such file or it is not one of ours.
    """
    path = folder / METRICS_FILE
    help = "give a run folder, as n2nspec train makes them"
    if folder.is_file():
        raise fail("E401", f"{folder} is a file, not a run folder", file=folder, help=help)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise fail(
            "E401",
            f"cannot read {path}: {reason}",
            file=path,
            help=help,
        ) from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in ("step", "epoch", "loss") if name not in (reader.fieldnames or ())]
    if missing:
        raise fail("E401", f"{path} has no column {', '.join(missing)}", file=path)
    try:
        return [_row(record) for record in reader]
    except (ValueError, TypeError) as error:
        raise fail("E401", f"{path}, line {reader.line_num}: a cell is not a number", file=path) from error


def _row(record: dict[str, str]) -> Row:
    cells = {name: float(record[name]) for name in COLUMNS[2:] if record.get(name)}
    return Row(step=int(record["step"]), epoch=int(record["epoch"]), **cells)


def epochs_axis(rows: list[Row]) -> list[float]:
    """Where each row stands on an axis of epochs: 0.5 is halfway through the first.

    An epoch of which only some steps were taken is as long as the one before it.
    """
    counts: dict[int, int] = {}
    for row in rows:
        counts[row.epoch] = counts.get(row.epoch, 0) + 1
    full = max((count for epoch, count in counts.items() if epoch > 0), default=1)
    positions, seen = [], dict.fromkeys(counts, 0)
    for row in rows:
        seen[row.epoch] += 1
        positions.append(0.0 if row.epoch == 0 else row.epoch - 1 + seen[row.epoch] / full)
    return positions
