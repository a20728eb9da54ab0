"""A plugin whose layer lacks most of what a layer has."""

from n2nspec.layers import LayerSpec

__all__ = ["SoftsignSpec"]


class SoftsignSpec(LayerSpec):
    name: str = "soft"
