"""Names of layers: those that are given twice, and those that layers without one are given."""

from __future__ import annotations

import re
from collections.abc import Collection

from n2nspec.diagnostics import quote
from n2nspec.spec.entries import ENTRIES
from n2nspec.spec.merge import STAGES
from n2nspec.spec.trace import Problems, Traced, Where, label

__all__ = ["is_automatic", "is_name", "is_numbered", "twice_named"]

LONGEST = 200
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")


def is_name(name: str) -> bool:
    """Whether a layer can be called so in a spec without blocks, where dots are a part of names."""
    return len(name) <= LONGEST and _NAME.fullmatch(name) is not None


def twice_named(document: Traced, problems: Problems) -> None:
    """Reports names that layers outside of blocks have in common."""
    first: dict[str, Where] = {}
    for stage in STAGES:
        entries = document.get(stage)
        if entries is None or not isinstance(entries.value, list):
            continue
        for index, entry in enumerate(entries.value):
            name = entry.get("name") if isinstance(entry, dict) else None
            if not isinstance(name, str):
                continue
            where = entries.where.part(index).part("name")
            if name in first:
                problems.add(
                    where, "E202", f"the name {quote(name)} is used twice",
                    help="give this layer another name", labels=label(first[name], "first used here"),
                )  # fmt: skip
            else:
                first[name] = where


def is_automatic(name: str, kinds: Collection[str]) -> bool:
    """Whether a name is one that layers without a name are given: a type, or one of these, and a number.

    With "" among `kinds` a number is enough.
    """
    stem = name.rstrip("0123456789")
    stems = (name[:end] for end in range(len(stem), len(name)))
    return any(
        "" in kinds or stem in kinds or (stem == stem.lower() and ENTRIES.spelt(stem)) for stem in stems
    )


def is_numbered(name: str, kinds: Collection[str]) -> bool:
    """Whether a name is one of these and a number; with "" among them a number is enough."""
    stem = name.rstrip("0123456789")
    return any("" in kinds or name[:end] in kinds for end in range(len(stem), len(name)))
