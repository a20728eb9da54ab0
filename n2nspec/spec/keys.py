"""The keys of a spec's tables: which there are, and what is said of one that is unknown, missing or no type.

In: the place of a key in a document. Out: a `Found`, which `problems` gives its place in the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from n2nspec.diagnostics import closest, did_you_mean, quote, render_path
from n2nspec.spec.entries import ENTRIES, Entry
from n2nspec.spec.models import TABLES, UNIONS, Require, Spec
from n2nspec.spec.sentences import sentence
from n2nspec.spec.text import Path
from n2nspec.spec.trace import UNKNOWN, is_unknown

__all__ = [
    "LANGUAGE",
    "SYNONYMS",
    "Found",
    "field_names",
    "missing_key",
    "model_at",
    "table_name",
    "type_problem",
    "union_at",
    "unknown_key",
]

LANGUAGE: Mapping[type[BaseModel], tuple[str, ...]] = {
    Spec: ("extends", "remove", "vars", "defaults", "blocks"),
    Require: ("check",),
    Entry: ("block", "repeat", "before", "after"),
}
"""Keys that the stages before take out: an author may have meant one of them."""

SYNONYMS = {
    "filters": "out_channels",
    "layers": "encoder",
    "learning_rate": "lr",
    "network": "encoder",
    "units": "out_features",
}
"""What other tools call a key, where its spelling does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A mistake before it is given its place. `path` leads to the value, or with `key` to the key."""

    code: str
    message: str
    path: Path
    key: bool = False
    help: str = ""


def union_at(path: Path) -> Mapping[str, type[BaseModel]] | None:
    """The models that `type` chooses from at a path, if it does."""
    return UNIONS.get(_pattern(path))


def _pattern(path: Path) -> tuple[str, ...]:
    return tuple("*" if isinstance(part, int) else part for part in path)


def model_at(path: Path, document: Any) -> type[BaseModel] | None:
    """The model of the table at a path."""
    models = union_at(path)
    if models is None:
        return TABLES.get(path)
    table = _value(path, document)
    name = table.get("type") if isinstance(table, Mapping) else None
    return models.get(name) if isinstance(name, str) else None


def _value(path: Path, document: Any) -> Any:
    for part in path:
        document = document[part]
    return document


def field_names(model: type[BaseModel]) -> dict[str, str]:
    """Description by key, as it is written in a spec."""
    return {field.alias or name: field.description or "" for name, field in model.model_fields.items()}


def table_name(path: Path, document: Any) -> str:
    if not path:
        return "the spec"
    model = model_at(path, document)
    if union_at(path) is not None and model is not None:
        return str(_value(path, document)["type"])
    return f"[{render_path(path)}]"


def unknown_key(path: Path, document: Any) -> Found:
    parent, key = path[:-1], str(path[-1])
    model = model_at(parent, document)
    known = list(field_names(model)) if model else []
    written = [*known, *LANGUAGE.get(model if model in TABLES.values() else Entry, ())] if model else []
    word = SYNONYMS.get(key, key)
    near, home = closest(word, written), _home(word, parent)
    if model is not None and issubclass(model, Entry) and key in model.inferred:
        help = f"leave {key} out: it follows from the layer before"
    elif near == key:  # a word of the language that has no meaning here
        help = f"{key} means something only in a spec that `extends` another"
    elif home and near != word:
        help = f"{word} belongs to {home}"
    elif near is not None:
        help = f"did you mean {quote(near)}?"
    else:
        there = _value(parent, document)
        help = did_you_mean("", [name for name in known if is_unknown(there.get(name, UNKNOWN))])
    table = table_name(parent, document)
    return Found(code="E110", message=f"unknown key {quote(key)} in {table}", path=path, key=True, help=help)


def _home(key: str, parent: Path) -> str:
    """Another table that has a key; empty when none has."""
    for table in sorted(TABLES, key=len, reverse=True):
        if key in field_names(TABLES[table]) and table != parent:
            return f"[{render_path(table)}]" if table else "the top of the spec"
    here = union_at(parent)
    for place, models in UNIONS.items():
        if key != "type" and models is not here and any(key in field_names(m) for m in models.values()):
            return "a layer" if models is ENTRIES else f"[{'.'.join(place)}]"
    return ""


def missing_key(path: Path, document: Any) -> Found:
    parent, key = path[:-1], str(path[-1])
    model = model_at(parent, document)
    description = field_names(model).get(key, "") if model else ""
    table = table_name(parent, document)
    return Found(
        code="E111",
        message=f"{table} needs {quote(key)}",
        path=path,
        help="add spec_version = 1" if key == "spec_version" else f"add {key} = …{_aside(description)}",
    )


def _aside(description: str) -> str:
    """A description inside a sentence."""
    inside = description.removesuffix(".")
    inside = inside if inside[1:2].isupper() else inside[:1].lower() + inside[1:]
    return f" ({inside})" if inside else ""


def type_problem(path: Path, detail: Mapping[str, Any], document: Any) -> Found:
    """A table whose `type` is absent, misspelt or no name at all."""
    models = union_at(path)
    assert models is not None
    table = _value(path, document)
    what = "layer" if models is ENTRIES else str(path[-1])
    article = "an" if what[0] in "aeiou" else "a"
    if "type" not in table:
        known = {name for model in models.values() for name in field_names(model)}
        kinds = ["type", *(("block",) if models is ENTRIES else ())]
        near = next((key for key in table if key not in known and closest(key, kinds)), None)
        if near is not None:
            message = f"unknown key {quote(near)} in {article} {what}"
            help = did_you_mean(near, kinds)
            return Found(code="E110", message=message, path=(*path, near), key=True, help=help)
        return Found(code="E111", message=f'{article} {what} needs "type"', path=(*path, "type"),
                     help=f"add type = …; {_choose(models)}")  # fmt: skip
    name = table["type"]
    if not isinstance(name, str):
        code, text = sentence({**detail, "type": "string_type", "input": name})
        return Found(code=code, message=f"type: {text}", path=(*path, "type"), help=_choose(models))
    return Found(
        code="E116" if models is ENTRIES else "E114",
        message=f"unknown {what} type {quote(name)}",
        path=(*path, "type"),
        help=_choose(models, name),
    )


def _choose(models: Mapping[str, Any], word: str = "") -> str:
    """What `type` may be; layers are too many to be listed in a line."""
    name = word.removeprefix("torch.nn.").removeprefix("nn.")
    if models is ENTRIES and closest(name, models) is None:
        return "`n2nspec layers` lists the types"
    return did_you_mean(name, models)
