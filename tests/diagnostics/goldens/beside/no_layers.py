"""A plugin that forgot its layer."""

from n2nspec.layers import LayerSpec

__all__ = ["LayerSpec"]
