"""Layers, one file each; importable and usable on their own, with torch.nn's constructor arguments.

What a layer file is made of is here too, for those who write one of their own.
"""

from typing import Any

from n2nspec.layers._base import BadCase as BadCase
from n2nspec.layers._base import Case as Case
from n2nspec.layers._base import LayerSpec as LayerSpec
from n2nspec.layers._base import Needs as Needs
from n2nspec.layers._base import ParameterSpec as ParameterSpec
from n2nspec.layers._base import Saved as Saved
from n2nspec.layers._composite import CompositeSpec as CompositeSpec
from n2nspec.layers._fields import Count as Count
from n2nspec.layers._fields import NonNegativePair as NonNegativePair
from n2nspec.layers._fields import Padding as Padding
from n2nspec.layers._fields import PositivePair as PositivePair
from n2nspec.layers._fields import Switch as Switch
from n2nspec.layers._module import Layer as Layer
from n2nspec.layers._module import Module as Module
from n2nspec.layers.registry import LAYERS as LAYERS

_HERE = [name for name in globals() if name[0].isupper() and name != "Any"]


def __getattr__(name: str) -> Any:
    return LAYERS.namespace(name, _HERE)
