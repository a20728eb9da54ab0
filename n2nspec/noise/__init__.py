"""Noise models, one file each: pairs of noisy pictures from a clean one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from n2nspec.layers.registry import find_specs
from n2nspec.noise._base import NoiseSpec

NOISES, _EXPORTS = find_specs("n2nspec.noise", Path(__file__).parent, NoiseSpec)
"""Spec type by the name used in a spec: a new noise is one new file."""
globals().update(_EXPORTS)

__all__ = ["NOISES", "NoiseSpec", *_EXPORTS]

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
