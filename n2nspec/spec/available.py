"""Every layer type that there is to choose from, whether or not a spec uses it.

In: perhaps a spec. Out: inside the context, `ENTRIES` with the built-in types, those of installed packages
and those of the spec's plugins.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath

from n2nspec.diagnostics import Diagnostic, DiagnosticError
from n2nspec.spec.entries import ENTRIES
from n2nspec.spec.flatten import gather
from n2nspec.spec.plugins import installed_layers, open_plugins
from n2nspec.spec.source import read
from n2nspec.spec.trace import Problems

__all__ = ["available_layers"]


@contextmanager
def available_layers(
    file: str | None = None, *, allow_plugins: bool = False
) -> Iterator[tuple[Diagnostic, ...]]:
    """Extends `ENTRIES` for as long as the block runs, which gets what is wrong with installed packages.

    Args:
        file: a spec, whose plugins are taken too; the rest of it may be unfinished.
        allow_plugins: as for `load`.

    Raises:
        DiagnosticError: the spec cannot be read, or its plugins may not run or cannot.
    """
    packages, faults = installed_layers()
    layers = {name: offered.layer for name, offered in packages.items()}
    if file is not None:
        problems = Problems()
        spec = gather(read(FilePath(file)), {}, problems)
        if problems.partial:
            raise DiagnosticError(diagnostic for diagnostic, _ in problems.found)
        plugins = open_plugins(spec.document.value, spec.origins, allowed=allow_plugins)
        if plugins.problems:
            raise DiagnosticError(plugins.problems)
        layers |= plugins.layers
    with ENTRIES.extended(layers):
        yield tuple(faults)
