"""What can be wrong with a training run, before it, in it, and after it.

In: a model, its data, and what was measured. Out: diagnostics that point at the spec. Nothing is written.
"""

from __future__ import annotations

from pathlib import Path

from n2nspec.data import TrainingData
from n2nspec.diagnostics import Diagnostic, DiagnosticError, fail, plural
from n2nspec.runtime import Model
from n2nspec.spec import Spec
from n2nspec.training.inference import Frame

__all__ = ["check_batches", "diverged", "worse"]

LEARNING_RATE = ("train", "optimizer", "lr")


def check_batches(model: Model, frame: Frame, data: TrainingData) -> None:
    """Finds out before the first step whether the network takes the batches and gives back their size.

    Raises:
        DiagnosticError: E304, by channels; E208, by size or by the number of pictures.
    """
    height, width = data.size
    if data.channels != frame.channels:
        raise fail(
            "E304",
            f"the network takes pictures of {plural(frame.channels, 'channel')}; the training pictures have"
            f" {data.channels}",
            file=model.spec.source_file,
            help=f"change the channels in [input] and of the last layer to {data.channels}, or the data",
        )
    if height not in frame.heights or width not in frame.widths:
        problem = _complaint(
            model.spec,
            ("data", "patch"),
            "E208",
            f"the network cannot train on pictures of {height} × {width} pixels",
            f"sizes that work: height {frame.heights.render('H')}; width {frame.widths.render('W')};"
            " data.patch cuts crops of any size",
        )
        raise DiagnosticError([problem])
    _check_values(model.spec, frame, data)
    batch = model.spec.train.batch_size
    if frame.batch and (frame.batch != batch or data.pairs_per_epoch % batch):
        raise fail(
            "E208",
            f"[input] fixes the batch at {frame.batch}, but an epoch's"
            f" {plural(data.pairs_per_epoch, 'pair')} come in batches of {batch} and a smaller last one",
            file=model.spec.source_file,
            help='write "N" instead of the number',
        )


def _check_values(spec: Spec, frame: Frame, data: TrainingData) -> None:
    """Raises E208 where a batch, which may be the smaller last one, leaves a layer a single value."""
    (height, width), batch, pairs = data.size, spec.train.batch_size, data.pairs_per_epoch
    smallest = pairs % batch or batch
    condition = frame.broken(smallest, height, width, training=True)
    if condition is None:
        return
    larger = frame.enlarged(smallest, height, width, training=True)
    helps = []
    if larger:
        rows, columns = larger
        helps.append(f"data.patch = {rows if rows == columns else f'[{rows}, {columns}]'} works")
    if frame.broken(batch, height, width, training=True) is None:
        helps.append(f"a train.batch_size that divides the {pairs} pairs of an epoch works")
    received = f"{plural(smallest, 'picture')} of {height} × {width} pixels in a batch"
    raise DiagnosticError([
        _complaint(
            spec, ("data", "patch"), "E208", f"the network cannot train on {received}: {condition}",
            "; ".join(helps) or "put the layer where the picture is larger, or leave it out",
        )
    ])  # fmt: skip


def diverged(spec: Spec, folder: Path, *, epoch: int, step: int, what: str) -> DiagnosticError:
    """E407: in `epoch`, whose weights are not kept, at training step `step` (both from 1)."""
    kept = f"the weights of epoch {epoch - 1}" if epoch > 1 else "the initial weights"
    message = f"training diverged in epoch {epoch}, step {step}: {what}; {folder} keeps {kept}"
    return DiagnosticError([_complaint(spec, LEARNING_RATE, "E407", message, _smaller(spec))])


def worse(spec: Spec, what: str, before: str, after: str) -> Diagnostic:
    """W306: training did harm; `what` was `before` and is `after`."""
    message = f"training made the network worse: {what} {before} before it, {after} after"
    return _complaint(spec, LEARNING_RATE, "W306", message, _smaller(spec))


def _smaller(spec: Spec) -> str:
    return f"use a smaller learning rate: --set train.optimizer.lr={spec.train.optimizer.lr / 10:g}"


def _complaint(spec: Spec, path: tuple[str, ...], code: str, message: str, help: str) -> Diagnostic:
    """A diagnostic at a place in the spec."""
    return Diagnostic(
        code=code,
        message=message,
        file=spec.source_file,
        span=spec.locate(path),
        path=".".join(path),
        help=help,
    )
