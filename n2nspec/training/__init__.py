"""Training: the loop, what it measures, and the run folder it leaves. Floor 6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from n2nspec.training.metrics import moving_average, psnr
from n2nspec.training.reporter import EpochRecord, Reporter, StartInfo, Summary
from n2nspec.training.run import Run, open_run

if TYPE_CHECKING:
    from n2nspec.training.loop import train
    from n2nspec.training.plots import plot_losses

__all__ = [
    "EpochRecord",
    "Reporter",
    "Run",
    "StartInfo",
    "Summary",
    "moving_average",
    "open_run",
    "plot_losses",
    "psnr",
    "train",
]


def __getattr__(name: str) -> Any:
    # these two need matplotlib, half a second that opening a run to denoise should not pay for
    if name == "train":
        from n2nspec.training.loop import train

        return train
    if name == "plot_losses":
        from n2nspec.training.plots import plot_losses

        return plot_losses
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
