"""`torch`, imported on first use.

Importing torch costs about two seconds; checking a spec needs none of it. Every module of the
package reaches torch through `from n2nspec._lazy import torch`, so that importing the module is free
and only running its mathematics pays.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["torch"]

if TYPE_CHECKING:
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

    torch = _LazyModule("torch")
