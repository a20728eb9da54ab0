"""The stages between a source and the flat document that `Spec` validates.

    source ─extends─► merged ─overrides─► gathered ─vars─► ─blocks, repeat─► ─defaults─► flat document

In: a source and overrides. Out: a plain document without any of these, with the place of each value. Each
stage is a function of a document that makes a new one. Defaults come after blocks, since a parameter may be
what says a layer's type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from n2nspec.spec.blocks import read_blocks
from n2nspec.spec.defaults import put_in_defaults
from n2nspec.spec.definitions import Definitions
from n2nspec.spec.expand import expand
from n2nspec.spec.extends import follow
from n2nspec.spec.misspelt_entries import put_right
from n2nspec.spec.origins import Origins
from n2nspec.spec.overrides import apply_overrides
from n2nspec.spec.source import Source
from n2nspec.spec.trace import Problems, Traced, Where
from n2nspec.spec.variables import put_in_variables

__all__ = ["Flat", "Gathered", "flatten", "gather"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """All that the author said, in one document; and the files that it took."""

    document: Traced
    sources: tuple[Source, ...]
    removed: Mapping[str, Where]

    @property
    def origins(self) -> Origins:
        return Origins(where=self.document.where, sources=self.sources, removed=self.removed)


def gather(source: Source, overrides: Mapping[str, Any], problems: Problems) -> Gathered:
    """The source over what it extends, and the overrides over both."""
    merged = follow(source, problems)
    document = apply_overrides(merged.document, overrides, problems, file=source.file)
    return Gathered(document=document, sources=merged.sources, removed=merged.removed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """The document as `Spec` has it.

    Attributes:
        document: None when it would be too large, which is reported.
        wrong: the definitions, when there are mistakes in them.
    """

    document: Traced | None
    wrong: Definitions | None


def flatten(gathered: Gathered, problems: Problems) -> Flat:
    """The flat document."""
    document, scope = put_in_variables(put_right(gathered.document, problems), problems)
    blocks = read_blocks(document.get("blocks"), problems)
    definitions = Definitions(document=document, blocks=blocks, scope=scope, sources=gathered.sources)
    found = Problems(partial=problems.partial)
    wrong = bool(definitions.mistakes(found) or found)
    expanded = expand(document, blocks, scope, problems, wrong=wrong, origins=gathered.origins)
    flat = put_in_defaults(expanded, problems) if expanded is not None else None
    if flat is not None and problems.partial:
        from n2nspec.spec.partial import completed  # imported here: only a mistake needs it

        flat = completed(flat)
    return Flat(document=flat, wrong=definitions if wrong else None)
