"""`[defaults.TYPE]`: fields that every layer of a type has unless it says otherwise.

In: the flat document and its `[defaults]`. Out: the document without them, each layer complete. Aliases of a
type share their defaults; where both spellings have some, those of the layer's own spelling come first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from n2nspec.diagnostics import closest, did_you_mean, quote
from n2nspec.layers import LayerSpec
from n2nspec.spec.entries import ENTRIES, Entry
from n2nspec.spec.keys import SYNONYMS
from n2nspec.spec.limits import Budget, TooLargeError, measure
from n2nspec.spec.merge import STAGES
from n2nspec.spec.trace import UNKNOWN, Origin, Problems, Step, Traced, Where

__all__ = ["put_in_defaults"]


def put_in_defaults(document: Traced, problems: Problems) -> Traced | None:
    """The document with each layer's defaults put in; None when it would be too large, which is reported."""
    table = document.get("defaults")
    if table is None:
        return document
    document = document.with_({}, without=("defaults",))
    used = _types_in(document)
    defaults = _read(table, used, problems)
    by_type = {kind: _of_type(kind, defaults) for kind in used}
    budget = Budget(problems)
    sizes = {id(item): measure(item.value) for fields in by_type.values() for item in fields.values()}
    changes = {}
    try:
        for stage in STAGES:
            layers = document.get(stage)
            if layers is not None and isinstance(layers.value, list):
                completed = [_complete(layer, by_type, sizes, budget) for layer in layers.entries()]
                changes[stage] = Traced.listing(completed, layers.where.origin)
    except TooLargeError:
        return None
    return document.with_(changes)


def _read(table: Traced, used: frozenset[str], problems: Problems) -> dict[str, dict[str, Traced]]:
    """The fields by type; UNKNOWN those that a mistake may have been meant to give."""
    if not isinstance(table.value, dict):
        problems.wrong_type(table, "defaults", "a table of layer types", help="write [defaults.TYPE]")
        return {kind: _unknown(kind, table.where) for kind in used}
    defaults: dict[str, dict[str, Traced]] = {}
    missed: list[tuple[str, dict[str, Traced]]] = []
    for kind, item in table.items():
        if kind not in ENTRIES:
            near = closest(kind, ENTRIES)
            if near is not None or not problems.partial:  # a plugin of the base may have it
                problems.add(
                    item.where, "E116", f"unknown layer type {quote(kind)}", key=True,
                    help=did_you_mean(kind, ENTRIES),
                )  # fmt: skip
            if near is not None:
                fields = _unknown(near, item.where)
                given = item.value if isinstance(item.value, dict) else fields
                missed.append((near, {key: fields[key] for key in fields if key in given}))
        elif isinstance(item.value, dict):
            defaults[kind] = dict(_fields(kind, ENTRIES[kind], item, problems))
        else:
            problems.wrong_type(item, f"defaults.{kind}", "a table", help="write [defaults.TYPE]")
            defaults[kind] = _unknown(kind, item.where)
    for kind, fields in missed:
        defaults[kind] = {**fields, **defaults.get(kind, {})}
    return defaults


def _unknown(kind: str, where: Where) -> dict[str, Traced]:
    return {key: Traced(UNKNOWN, where) for key in _keys(ENTRIES[kind].layer_type)}


def _keys(layer: type[LayerSpec]) -> list[str]:
    return [field.alias or name for name, field in layer.model_fields.items() if name != "type"]


def _fields(kind: str, entry: type[Entry], table: Traced, problems: Problems) -> Iterator[tuple[str, Traced]]:
    layer = entry.layer_type
    known = _keys(layer)
    for key, item in table.items():
        if key in known:
            yield key, item
            continue
        near = closest(SYNONYMS.get(key, key), known)
        if near is not None and near not in table.value:
            yield near, Traced(UNKNOWN, item.where)
        if key in layer.inferred:
            help = f"leave {key} out: it follows from the layer before"
        elif key in ("name", "from", "share", "type"):
            help = f"each layer has its own {key}"
        else:
            help = f"did you mean {quote(near)}?" if near else did_you_mean("", known)
        message = f"unknown key {quote(key)} in the defaults of {kind}"
        problems.add(item.where, "E110", message, key=True, help=help)


def _types_in(document: Traced) -> frozenset[str]:
    """The layer types that the document uses."""
    stages = (document.value.get(stage) for stage in STAGES)
    layers = (layer for stage in stages if isinstance(stage, list) for layer in stage)
    kinds = (layer.get("type") for layer in layers if isinstance(layer, dict))
    return frozenset(kind for kind in kinds if isinstance(kind, str) and kind in ENTRIES)


def _of_type(kind: str, defaults: Mapping[str, Mapping[str, Traced]]) -> Mapping[str, Traced]:
    """The defaults for layers that are spelt `kind`."""
    same = [other for other in defaults if ENTRIES[other].layer_type is ENTRIES[kind].layer_type]
    found: dict[str, Traced] = {}
    for other in sorted(same, key=lambda other: other != kind):
        for key, item in defaults[other].items():
            found.setdefault(key, item)
    return found


def _complete(
    layer: Traced, by_type: Mapping[str, Mapping[str, Traced]], sizes: Mapping[int, int], budget: Budget
) -> Traced:
    kind = layer.value.get("type") if isinstance(layer.value, dict) else None
    fields = by_type.get(kind) if isinstance(kind, str) else None
    missing = [key for key in fields if key not in layer.value] if fields else []
    if not fields or not missing:
        return layer
    # written out, as this runs once a layer and field
    step = Step("for this layer", layer.where.origin)
    value, parts = dict(layer.value), dict(layer.where.parts)
    budget.entry = layer.where
    for key in missing:
        budget.values(sizes[id(fields[key])])
        value[key] = fields[key].value
        parts[key] = _used(fields[key].where, step)
    return Traced(value, Where(layer.where.origin, parts))


def _used(where: Where, step: Step) -> Where:
    origin = where.origin
    reached = Origin(origin.source, origin.path, (*origin.via, step), origin.value_of)
    return Where(reached, {key: _used(part, step) for key, part in where.parts.items()})
