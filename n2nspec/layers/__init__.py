"""Layers, one file each; importable and usable on their own, with torch.nn's constructor arguments.

What a layer file is made of is here too, for those who write one of their own.
"""

from typing import TYPE_CHECKING, Any

from n2nspec.layers._base import BadCase, Case, LayerSpec, Needs, ParameterSpec, Saved
from n2nspec.layers._composite import CompositeSpec
from n2nspec.layers._fields import Count, NonNegativePair, Padding, PositivePair, Switch
from n2nspec.layers._module import Layer, Module
from n2nspec.layers.registry import EXPORTS, LAYERS

globals().update(EXPORTS)

__all__ = [
    "LAYERS",
    "BadCase",
    "Case",
    "CompositeSpec",
    "Count",
    "Layer",
    "LayerSpec",
    "Module",
    "Needs",
    "NonNegativePair",
    "Padding",
    "ParameterSpec",
    "PositivePair",
    "Saved",
    "Switch",
    *EXPORTS,
]

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
