"""Noise models, one file each: pairs of noisy pictures from a clean one."""

from pathlib import Path
from typing import Any

from n2nspec.layers.registry import Registry
from n2nspec.noise._base import NoiseSpec as NoiseSpec

NOISES = Registry("n2nspec.noise", str(Path(__file__).parent), NoiseSpec)
"""Spec type by the name used in a spec: a new noise is one new file."""


def __getattr__(name: str) -> Any:
    return NOISES.namespace(name, ["NOISES", "NoiseSpec"])
