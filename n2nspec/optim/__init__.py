"""Optimisers, one file each; importable and usable on their own."""

from pathlib import Path
from typing import Any

from n2nspec.layers.registry import Registry
from n2nspec.optim._base import Optimizer as Optimizer
from n2nspec.optim._base import OptimizerSpec as OptimizerSpec

OPTIMIZERS = Registry("n2nspec.optim", str(Path(__file__).parent), OptimizerSpec)
"""Spec type by the name used in a spec: a new optimiser is one new file."""


def __getattr__(name: str) -> Any:
    return OPTIMIZERS.namespace(name, ["OPTIMIZERS", "Optimizer", "OptimizerSpec"])
