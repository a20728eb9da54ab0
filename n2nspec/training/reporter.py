"""What a training run tells whoever watches it. Nothing here prints.

In: nothing. Out: the values that the loop hands to a `Reporter`, and a reporter that keeps silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from n2nspec.diagnostics import Diagnostic
from n2nspec.spec import Spec

__all__ = ["EpochRecord", "Reporter", "Silent", "StartInfo", "Summary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartInfo:
    """What is about to be trained, once the spec fits, the data are open and the run folder exists.

    Attributes:
        path: the run folder.
        training: where the training pairs come from, in words.
        validation: the same for the held-out pictures; None without any.
        pairs: training pairs an epoch.
        size: height and width of the training batches.
        batches: batches an epoch.
        noisy_psnr: mean PSNR of the held-out pictures as they are, dB.
        psnr: the same after the untrained network.
        warnings: doubts about the spec and the data.
        precision: of the training steps, as `train.precision` has it.
        reason: why this engine, where the user left it open.
        memory: what a training step takes, in words, where it has a limit.
    """

    path: Path
    spec: Spec
    engine: str
    device: str
    dtype: str
    precision: str
    parameters: int
    training: str
    validation: str | None
    pairs: int
    size: tuple[int, int]
    batches: int
    epochs: int
    oracle: bool
    noisy_psnr: float | None
    psnr: float | None
    warnings: tuple[Diagnostic, ...]
    memory: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One finished epoch; its weights are on the disk.

    Attributes:
        epoch: from 1.
        loss: mean over the epoch's batches.
        psnr: mean over the held-out pictures, dB; None without any.
        seconds: in training steps, without reading data and measuring.
    """

    epoch: int
    epochs: int
    loss: float
    psnr: float | None
    noisy_psnr: float | None
    seconds: float
    oracle_loss: float | None = None
    oracle_psnr: float | None = None
    oracle_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A finished run: ours, and the torch.nn twin beside it where there was one.

    Attributes:
        seconds: all training steps, without reading data and measuring.
        total_seconds: from the first batch to the last file, everything included.
        files: what lies in the run folder.
        warnings: doubts about the result.
    """

    path: Path
    epochs: int
    steps: int
    loss: float | None
    psnr: float | None
    noisy_psnr: float | None
    seconds: float
    total_seconds: float
    oracle_loss: float | None = None
    oracle_psnr: float | None = None
    oracle_seconds: float | None = None
    files: tuple[str, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()


class Reporter(Protocol):
    """Watches a training run. An exception raised here stops the run, which keeps its finished epochs."""

    def on_start(self, info: StartInfo) -> None:
        """The run folder exists; training begins."""

    def on_batch(
        self,
        epoch: int,
        batch: int,
        batches: int,
        loss: float,
        pictures_per_second: float,
        seconds_left: float,
    ) -> None:
        """One step was taken. `epoch` and `batch` count from 1; the time left is an estimate."""

    def on_epoch(self, record: EpochRecord) -> None:
        """An epoch is finished and measured, its weights are on the disk."""

    def on_end(self, summary: Summary) -> None:
        """The run folder is complete."""


class Silent:
    """The reporter of someone who calls `train` from Python and wants the result."""

    def on_start(self, info: StartInfo) -> None:
        pass

    def on_batch(
        self,
        epoch: int,
        batch: int,
        batches: int,
        loss: float,
        pictures_per_second: float,
        seconds_left: float,
    ) -> None:
        pass

    def on_epoch(self, record: EpochRecord) -> None:
        pass

    def on_end(self, summary: Summary) -> None:
        pass
