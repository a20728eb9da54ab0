"""`torch` and `networkx`, imported on first use.

Importing torch costs about two seconds, networkx a sixth of one. Checking a spec needs no torch, and networkx
only where layers read later ones. Every module of the package reaches them through
`from n2nspec._lazy import torch`, so that importing the module is free and only what uses them pays.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["networkx", "torch"]

if TYPE_CHECKING:
    import networkx
    import torch
else:

    class _LazyModule:
        """Stands for a module until an attribute of it is asked for."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            value = getattr(importlib.import_module(self._name), attribute)
            setattr(self, attribute, value)  # next time without __getattr__
            return value

    networkx, torch = _LazyModule("networkx"), _LazyModule("torch")
