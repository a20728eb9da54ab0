"""A spec whose base is not known: everything that its own text leaves out may stand there.

In: what there is of the flat document. Out: the same with unknown values in place of what is missing, so that
what is written is judged and what is not written is not missed.
"""

from __future__ import annotations

from n2nspec.spec.entries import ENTRIES
from n2nspec.spec.keys import field_names, union_at
from n2nspec.spec.merge import STAGES
from n2nspec.spec.models import TABLES, UNIONS
from n2nspec.spec.text import Path
from n2nspec.spec.trace import UNKNOWN, Traced, Where

__all__ = ["completed"]

CHOSEN: list[Path] = [path for path, models in UNIONS.items() if models is not ENTRIES]


def completed(document: Traced) -> Traced:
    """The document with all that a base may have said."""
    for stage in STAGES:
        layers = document.get(stage)
        if layers is not None and isinstance(layers.value, list):
            # a layer without a type is one that no base knows
            every = [_table(layer, (stage, 0)) if _type(layer) else layer for layer in layers.entries()]
            document = document.with_({stage: Traced.listing(every, layers.where.origin)})
    for path in sorted([*CHOSEN, *TABLES], key=len, reverse=True):
        document = _inside(document, path, path)
    return document


def _inside(document: Traced, path: Path, place: Path) -> Traced:
    """The document with the table at a path filled up, if there is one."""
    if not isinstance(document.value, dict):
        return document
    if not path:
        return _table(document, place)
    key = str(path[0])
    part = document.get(key)
    return document.with_({key: _inside(part, path[1:], place)}) if part is not None else document


def _table(table: Traced, place: Path) -> Traced:
    if not isinstance(table.value, dict):
        return table
    models = union_at(place)
    model = TABLES.get(place) if models is None else models.get(_type(table))
    keys = field_names(model) if model is not None else ["type"] if models is not None else []
    unknown = Traced(UNKNOWN, Where(table.where.origin))
    return table.with_({key: unknown for key in keys if key not in table.value})


def _type(table: Traced) -> str:
    kind = table.value.get("type") if isinstance(table.value, dict) else None
    return kind if isinstance(kind, str) else ""
