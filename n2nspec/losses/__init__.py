"""Losses, one file each; importable and usable on their own, with torch.nn"s arguments."""

from pathlib import Path
from typing import Any

from n2nspec.layers.registry import Registry
from n2nspec.losses._base import Loss as Loss
from n2nspec.losses._base import LossSpec as LossSpec

LOSSES = Registry("n2nspec.losses", str(Path(__file__).parent), LossSpec)
"""Spec type by the name used in a spec: a new loss is one new file."""


def __getattr__(name: str) -> Any:
    return LOSSES.namespace(name, ["LOSSES", "Loss", "LossSpec"])
