"""From a source to a `Spec`: the one place where the stages of this floor come together.

In: a path or a dict, and overrides. Out: a `Spec` that knows where each value was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from n2nspec.diagnostics import Diagnostic, DiagnosticError, in_source_order
from n2nspec.spec.entries import ENTRIES
from n2nspec.spec.flatten import flatten, gather
from n2nspec.spec.models import Spec
from n2nspec.spec.names import twice_named
from n2nspec.spec.origins import Origins
from n2nspec.spec.parts import Part, sound_part
from n2nspec.spec.plugins import open_plugins
from n2nspec.spec.problems import problems, wrong_places
from n2nspec.spec.source import read, wrap
from n2nspec.spec.tame import tame
from n2nspec.spec.trace import Problems
from n2nspec.spec.unused import unused

__all__ = ["Examined", "examine", "load"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A spec as far as it is one: its sound part, if there is any, and every mistake, in source order."""

    part: Part | None
    problems: tuple[Diagnostic, ...] = ()


def load(
    source: str | FilePath | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    allow_plugins: bool = False,
    folder: str | FilePath | None = None,
) -> Spec:
    """Reads and validates a spec.

    Args:
        source: path of a TOML or JSON file, or the document as a dict.
        overrides: values to put over those of the source, by dotted key: `{"train.optimizer.lr": 1.0}`.
            A layer is addressed by its index or its name: `encoder.0.out_channels`.
        allow_plugins: run the Python files that the spec names under `plugins`. Say so only for a spec that
            you trust as you would trust a program.
        folder: where those files are, for a spec given as a dict; the current folder when absent.

    Raises:
        DiagnosticError: every mistake found, in source order.
    """
    found = examine(source, overrides, allow_plugins=allow_plugins, folder=folder)
    if found.problems:
        raise DiagnosticError(found.problems)
    assert found.part is not None
    return found.part.spec


def examine(
    source: str | FilePath | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    allow_plugins: bool = False,
    folder: str | FilePath | None = None,
) -> Examined:
    """What `load` does, without stopping at mistakes that leave something to be judged.

    Raises:
        DiagnosticError: there is no document: the file cannot be read.
    """
    written = wrap(source) if isinstance(source, Mapping) else read(FilePath(source))
    earlier = Problems()
    gathered = gather(written, {} if overrides is None else overrides, earlier)
    plugins = open_plugins(
        gathered.document.value,
        gathered.origins,
        allowed=allow_plugins,
        folder=FilePath(folder) if folder is not None else None,
    )
    spec, error = None, None
    with ENTRIES.extended(plugins.layers):
        flat = flatten(gathered, earlier)
        if flat.document is None:
            found = plugins.beside(_together([], {}, gathered.origins, earlier))
            return Examined(part=None, problems=tuple(found))
        document = flat.document.value
        origins = replace(gathered.origins, where=flat.document.where)
        try:
            spec = Spec.model_validate(tame(document))
        except ValidationError as caught:
            error = caught
        placed = problems(error, document, origins, earlier)
        if flat.wrong is not None:
            placed += flat.wrong.mistakes(earlier)
        found = plugins.beside(_together(placed, document, origins, earlier))
        if spec is None or found:
            wrong = wrong_places(error, document)
            part = sound_part(document, wrong, origins) if not earlier.partial else None
            if part is None and not earlier.partial:  # then there will be no graph, which looks for them
                twice_named(gathered.document, earlier)
                found = _together(found, document, origins, earlier)
            return Examined(part=part, problems=tuple(found))
        warnings = unused(gathered.document, written, flat.document)
    # as they are called from here: the flat spec stands by itself, beside the one that was asked for
    names = tuple(dict.fromkeys(file.name for file in plugins.files))
    spec = spec.model_copy(update={"plugins": names}) if names else spec
    spec._origins = origins
    spec._warnings = warnings
    spec._plugin_files = plugins.files
    return Examined(part=Part(spec=spec))


def _together(
    found: list[Diagnostic], document: Mapping[str, Any], origins: Origins, earlier: Problems
) -> list[Diagnostic]:
    """These and what stages found, in source order, each once."""
    tables = tuple(map(str, document))
    every = dict.fromkeys([*earlier.told(files=origins.files, tables=tables), *found])
    return list(in_source_order(every, files=origins.files, tables=tables))
