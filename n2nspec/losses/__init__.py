"""Losses, one file each; importable and usable on their own, with torch.nn's arguments."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from n2nspec.layers.registry import find_specs
from n2nspec.losses._base import Loss, LossSpec

LOSSES, _EXPORTS = find_specs("n2nspec.losses", Path(__file__).parent, LossSpec)
"""Spec type by the name used in a spec: a new loss is one new file."""
globals().update(_EXPORTS)

__all__ = ["LOSSES", "Loss", "LossSpec", *_EXPORTS]

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
