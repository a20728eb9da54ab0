"""The JSON Schema of a spec: what an editor completes, explains and underlines.

In: the layer types. Out: one schema for the TOML and the JSON spelling, made from the models that `load`
validates with, so that it knows what they know; and besides, the language around them: `"${…}"`, variables,
defaults, blocks, `extends`. What it refuses `load` refuses too; `load` knows more: whether names exist,
whether shapes fit, whether fields contradict each other.

Draft-07, on which the editors agree: taplo validates with it and finds `definitions`, Tombi and VS Code's
JSON support read all of it, and newer drafts are only partly known to each of them. A layer is `oneOf` its
types, each with a `const` under `type`, rather than a chain of `if`/`then`: taplo completes and explains only
what `properties`, `items` and the three `…Of` lead to, and VS Code takes the branch whose `const` fits. What
depends on the whole file is left to `if`/`then` at the top, where nothing is completed.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import getdoc

from pydantic import BaseModel

from n2nspec.spec.entries import ENTRIES
from n2nspec.spec.models import TABLES, UNIONS
from n2nspec.spec.schema_fields import Schema, field_schemas, required_keys
from n2nspec.spec.schema_language import (
    CHANGE,
    CHECK,
    complete,
    entry_forms,
    language,
    ref,
    required_at,
    written,
)

__all__ = ["SCHEMA_FILE", "TITLE", "by_first_name", "json_schema", "summary"]

SCHEMA_FILE = "n2nspec.schema.json"
"""What the file beside the specs is called; no spec is called so."""
TITLE = "n2nspec spec"


def json_schema() -> Schema:
    """The schema of a spec with the layer types that there are: inside `ENTRIES.extended`, others besides."""
    definitions: dict[str, Schema] = {}
    names = by_first_name(ENTRIES)
    for name in names:
        definitions[f"layer-{name}"] = _choice_of(ENTRIES[name], names[name])
    entry_forms({name: f"layer-{name}" for name in names}, definitions)
    rules: list[Schema] = []
    root = _table((), definitions, rules)
    every_name = {alias: f"layer-{name}" for name, aliases in names.items() for alias in aliases}
    root["properties"] |= language(every_name, definitions)
    root["properties"]["require"]["properties"]["check"] = CHECK
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": TITLE,
        **root,
        **complete(rules, names, {name: required_keys(ENTRIES[name]) for name in names}),
        "definitions": definitions,
    }


def by_first_name(models: Mapping[str, type[BaseModel]]) -> dict[str, list[str]]:
    """Every name of each model, by its first."""
    names: dict[type[BaseModel], list[str]] = {}
    for name, model in models.items():
        names.setdefault(model, []).append(name)
    return {aliases[0]: aliases for aliases in names.values()}


def _table(path: tuple[str, ...], definitions: dict[str, Schema], rules: list[Schema]) -> Schema:
    """The table at a path and everything below it; choices become definitions.

    What has to be in it becomes one of the rules for a spec that extends no other.
    """
    model = TABLES[path]
    if needed := required_keys(model):
        rules.append(required_at(path, needed))
    properties = field_schemas(model)
    for key, plain in properties.items():
        inner = (*path, key)
        said = {"description": plain["description"]} if "description" in plain else {}
        if inner in TABLES:
            properties[key] = {**_table(inner, definitions, rules), **said}
        elif inner in UNIONS:
            models = UNIONS[inner]
            names = by_first_name(models)
            for name, aliases in names.items():
                definitions[f"{key}-{name}"] = _choice_of(models[name], aliases)
                if needed := required_keys(models[name]):
                    rules.append(required_at(inner, needed, of_type=aliases))
            rules.append(required_at(inner, ["type"]))
            properties[key] = {**said, "oneOf": [*(ref(f"{key}-{name}") for name in names), CHANGE]}
        elif (*inner, "*") in UNIONS:
            properties[key] = {**said, "type": "array", "items": ref("layer")}
        else:
            properties[key] = written(plain)
    return {
        "description": summary(model),
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _choice_of(model: type[BaseModel], names: list[str]) -> Schema:
    """One branch of a choice by `type`, which is all that it asks for: its fields may come from elsewhere."""
    is_layer = model in ENTRIES.values()
    fields = {
        key: written(field, in_block=is_layer) for key, field in field_schemas(model).items() if key != "type"
    }
    spelt = {"const": names[0]} if len(names) == 1 else {"enum": names}
    return {
        "title": names[0],
        "description": summary(model),
        "type": "object",
        "additionalProperties": False,
        "required": ["type"],
        "properties": {"type": {"description": summary(model), **spelt}, **fields},
    }


def summary(model: type[BaseModel]) -> str:
    """The first line of a docstring."""
    return (getdoc(model) or "").partition("\n")[0]
