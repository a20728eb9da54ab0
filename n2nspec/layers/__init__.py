"""Layers, one file each; importable and usable on their own, with torch.nn's constructor arguments."""

from typing import TYPE_CHECKING, Any

from n2nspec.layers._base import LayerSpec
from n2nspec.layers._module import Layer, Module
from n2nspec.layers.registry import EXPORTS, LAYERS

globals().update(EXPORTS)

__all__ = ["LAYERS", "Layer", "LayerSpec", "Module", *EXPORTS]

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
