"""The layer types, found by reading this folder: a new layer is one new file.

Out: `LAYERS`, spec type by the name used in a spec (aliases included); `EXPORTS`, the classes and specs that
`n2nspec.layers` exports. Losses, optimisers and noise models are found in the same way.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from n2nspec.layers._base import LayerSpec

__all__ = ["EXPORTS", "LAYERS", "find_specs", "type_names"]


def find_specs(
    package: str, folder: Path, base: type[BaseModel]
) -> tuple[dict[str, type[Any]], dict[str, Any]]:
    """Spec classes of a package by type name, and every public name of its files.

    Files whose name begins with an underscore hold shared parts and are passed over; so are this file and the
    initialisations.
    """
    specs: dict[str, type[Any]] = {}
    exports: dict[str, Any] = {}
    for file in sorted(pkgutil.iter_modules([str(folder)]), key=lambda info: info.name):
        if file.name.startswith("_") or file.name in ("registry", "initialisation"):
            continue
        module = importlib.import_module(f"{package}.{file.name}")
        for name in module.__all__:
            value = getattr(module, name)
            exports[name] = value
            for type_name in type_names(value, base):
                assert type_name not in specs, f"{type_name} is defined twice"
                specs[type_name] = value
    return specs, exports


def type_names(value: object, base: type[BaseModel]) -> tuple[str, ...]:
    """The names by which a spec calls a class: what its own `type` may be, aliases after the first.

    Empty for what is no subclass of `base`, and for a class that names no type itself.
    """
    if not isinstance(value, type) or not issubclass(value, base) or "type" not in value.__annotations__:
        return ()
    return get_args(value.model_fields["type"].annotation)


LAYERS, EXPORTS = find_specs("n2nspec.layers", Path(__file__).parent, LayerSpec)
