"""The layer types, found by reading this folder: a new layer is one new file.

Out: `LAYERS`, spec type by the name used in a spec (aliases included), and `Registry`, by which losses,
optimisers and noise models are found in the same way. A file is imported when a type of it is asked for: a
spec of five layer types pays for five.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from n2nspec.layers._base import LayerSpec

__all__ = ["LAYERS", "Registry", "type_names"]

ALIASES = {"convtranspose2d": "transpose_conv2d"}
"""Files of types that have a second name, by that name in lower case; the file lists it in its `type`."""


class Registry(Mapping[str, type[Any]]):
    """Spec classes of a package by type name, in the order of its files.

    A file is called as its type is, in lower case, with underscores where its author likes: `max_pool2d.py`
    holds `MaxPool2d`. It may hold aliases and other public names besides. Files whose name begins with an
    underscore hold shared parts and are passed over; so are this file and the initialisations.

    Args:
        package: dotted name of the package; `folder` is where it lies.
        base: what every spec class of it is a subclass of.
    """

    def __init__(self, package: str, folder: str, base: type[BaseModel]) -> None:
        self._package, self._base = package, base
        names = sorted(file.name for file in pkgutil.iter_modules([folder]))
        self._files = {
            name.replace("_", ""): name
            for name in names
            if not name.startswith("_") and name not in ("registry", "initialisation")
        }
        self._found: dict[str, dict[str, type[Any]]] = {}
        """The types of each file that was asked for: a spec of many layers asks as often."""
        self._homes = {**self._files, **{name: file for name, file in ALIASES.items() if file in names}}

    def __getitem__(self, name: str) -> type[Any]:
        return self._types(self._homes[name.lower()])[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def spelt(self, name: str) -> bool:
        """Whether a type has this name, in lower or upper case."""
        home = self._homes.get(name.lower())
        return home is not None and name.lower() in map(str.lower, self._types(home))

    def namespace(self, name: str, beside: Sequence[str]) -> Any:
        """What the `__getattr__` of the package answers: the public names of its files.

        Args:
            beside: the names that the package itself holds, which `__all__` lists too.

        Raises:
            AttributeError: no file has this name.
        """
        if name == "__all__":
            return [*beside, *(name for file in self._files.values() for name in self._module(file).__all__)]
        likely = self._homes.get(name.removesuffix("Spec").lower())
        hidden = name.startswith("_") or name in self._files.values()
        for file in () if hidden else (*([likely] if likely else []), *self._files.values()):
            module = self._module(file)
            if name in module.__all__:
                return getattr(module, name)
        raise AttributeError(f"module {self._package!r} has no attribute {name!r}")

    def _module(self, file: str) -> Any:
        return importlib.import_module(f"{self._package}.{file}")

    def _types(self, file: str) -> dict[str, type[Any]]:
        if file not in self._found:
            module = self._module(file)
            values = (getattr(module, name) for name in module.__all__)
            self._found[file] = {name: value for value in values for name in type_names(value, self._base)}
        return self._found[file]

    def _all(self) -> dict[str, type[Any]]:
        found: dict[str, type[Any]] = {}
        for file in self._files.values():
            types = self._types(file)
            assert not types.keys() & found.keys(), f"{self._package}.{file} defines a type again"
            found |= types
        return found


def type_names(value: object, base: type[BaseModel]) -> tuple[str, ...]:
    """The names by which a spec calls a class: what its own `type` may be, aliases after the first.

    Empty for what is no subclass of `base`, and for a class that names no type itself.
    """
    if not isinstance(value, type) or not issubclass(value, base) or "type" not in value.__annotations__:
        return ()
    return get_args(value.model_fields["type"].annotation)


LAYERS = Registry("n2nspec.layers", str(Path(__file__).parent), LayerSpec)
