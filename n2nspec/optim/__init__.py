"""Optimisers, one file each; importable and usable on their own."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from n2nspec.layers.registry import find_specs
from n2nspec.optim._base import Optimizer, OptimizerSpec

OPTIMIZERS, _EXPORTS = find_specs("n2nspec.optim", Path(__file__).parent, OptimizerSpec)
"""Spec type by the name used in a spec: a new optimiser is one new file."""
globals().update(_EXPORTS)

__all__ = ["OPTIMIZERS", "Optimizer", "OptimizerSpec", *_EXPORTS]

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
