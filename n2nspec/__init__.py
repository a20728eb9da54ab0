"""n2nspec: networks written as data, trained on noisy pairs by hand-written gradients.

The way of data, one call an arrow:

    spec text ─load─► Spec ─graph.build─► Graph ─graph.shape─► ShapedGraph ─compiler.plan─► Plan
              ─compile─► Model ─train─► Run ─denoise─► pictures

Names are loaded on first use, so that `import n2nspec` and checking a spec cost no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from n2nspec._version import __version__

if TYPE_CHECKING:
    from n2nspec.apply import denoise, evaluate
    from n2nspec.diagnostics import DiagnosticError
    from n2nspec.oracle import verify
    from n2nspec.runtime import Model, compile
    from n2nspec.spec import Spec, load
    from n2nspec.training import Run, train

__all__ = [
    "DiagnosticError",
    "Model",
    "Run",
    "Spec",
    "__version__",
    "compile",
    "denoise",
    "evaluate",
    "load",
    "train",
    "verify",
]

_HOMES = {
    "DiagnosticError": "diagnostics",
    "Model": "runtime",
    "Run": "training",
    "Spec": "spec",
    "compile": "runtime",
    "denoise": "apply",
    "evaluate": "apply",
    "load": "spec",
    "train": "training",
    "verify": "oracle",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'n2nspec' has no attribute {name!r}")
    return getattr(importlib.import_module(f"n2nspec.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
