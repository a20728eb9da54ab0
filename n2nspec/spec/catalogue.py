"""What a spec can choose from, described: layers, losses, optimisers and noise models.

In: the registries. Out: a `Page` for each type, all of it read from the type's own file: its fields, and the
formulae in the file's docstring, which has, indented,

    forward    y = …
    backward   gx = …
    sizes      H_out = …

A line that goes on is indented further.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any

import tomli_w
from pydantic import BaseModel

from n2nspec.layers import LayerSpec
from n2nspec.losses import LOSSES
from n2nspec.noise import NOISES
from n2nspec.optim import OPTIMIZERS
from n2nspec.spec.entries import ENTRIES
from n2nspec.spec.schema import by_first_name, summary
from n2nspec.spec.schema_fields import Schema, field_schemas, required_keys

__all__ = ["KINDS", "FieldLine", "Page", "pages"]

KINDS = ("layer", "loss", "optimizer", "noise")


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldLine:
    """One field. `type` and `default` are in words; a required field's default is empty."""

    name: str
    type: str
    default: str
    required: bool
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One type.

    Attributes:
        kind: one of `KINDS`.
        names: what a spec may call it; the first is its own.
        documentation: the docstring of its file.
        forward, backward, sizes: the formulae in it; empty where it has none.
        inferred: arguments of its torch counterpart that follow from the layer before.
        twin: dotted name of that counterpart; empty without one.
        snippet: TOML to paste.
    """

    kind: str
    names: tuple[str, ...]
    summary: str
    documentation: str
    forward: str
    backward: str
    sizes: str
    fields: tuple[FieldLine, ...]
    inferred: tuple[str, ...]
    twin: str
    snippet: str


def pages() -> Iterator[Page]:
    """Every type, kind by kind: of layers those in `ENTRIES`, inside `ENTRIES.extended` others besides."""
    layers = {name: entry.layer_type for name, entry in ENTRIES.items()}
    registries: Mapping[str, Mapping[str, type[BaseModel]]] = dict(
        zip(KINDS, (layers, LOSSES, OPTIMIZERS, NOISES), strict=True)
    )
    for kind, models in registries.items():
        for name, names in by_first_name(models).items():
            yield _page(kind, tuple(names), models[name])


def _page(kind: str, names: tuple[str, ...], model: type[BaseModel]) -> Page:
    documentation = cleandoc(sys.modules[model.__module__].__doc__ or "")
    required = required_keys(model)
    fields = tuple(
        FieldLine(
            name=key,
            type=_words(schema),
            default=""
            if key in required
            else _toml(schema["default"])
            if "default" in schema
            else "left out",
            required=key in required,
            description=schema.get("description", ""),
        )
        for key, schema in field_schemas(model).items()
        if key != "type"
    )
    return Page(
        kind=kind,
        names=names,
        summary=summary(model),
        documentation=documentation,
        forward=_formula(documentation, "forward"),
        backward=_formula(documentation, "backward"),
        sizes=_formula(documentation, "sizes"),
        fields=fields,
        inferred=getattr(model, "inferred", ()),
        twin=getattr(model, "twin", ""),
        snippet=_snippet(kind, names[0], model),
    )


def _formula(documentation: str, name: str) -> str:
    """The formula after `name`, with the lines that go on."""
    found = re.search(rf"^    {name} +(.+(?:\n {{8,}}.+)*)", documentation, re.MULTILINE)
    return " ".join(found[1].split("\n")) if found else ""


def _words(schema: Schema) -> str:
    """What a value may be: `integer from 1 to 65,535, or two`."""
    if "anyOf" in schema:
        choices = [choice for choice in schema["anyOf"] if choice.get("type") != "array"]
        words = " or ".join(_words(choice) for choice in choices)
        if len(choices) == len(schema["anyOf"]):
            return words
        lengths = {choice.get("maxItems") for choice in schema["anyOf"]}
        return f"{words}, or " + ("two" if 2 in lengths else "four" if 4 in lengths else "a list")
    options = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if options:
        return ", ".join(_toml(option) for option in options)
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items")
        return f"list of {len(items)}: {_words(items[0])}" if isinstance(items, list) else "list"
    return {"boolean": "true or false", "string": "text"}.get(str(kind), str(kind)) + _bounds(schema)


def _bounds(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    ends = (least if least is not None else above, most if most is not None else below)
    match ends:
        case None, None:
            return ""
        case low, None:
            return f", {low:,} or more" if above is None else f", more than {low:,}"
        case None, high:
            return f", {high:,} or less" if below is None else f", less than {high:,}"
        case low, high:
            return (
                f" from {'above ' * (above is not None)}{low:,} to {'below ' * (below is not None)}{high:,}"
            )
    raise AssertionError(ends)


def _snippet(kind: str, name: str, model: type[BaseModel]) -> str:
    """A table to paste: of a layer the fields of its first test case, else what has to be given."""
    if issubclass(model, LayerSpec):
        case = model.CASES[0]
        given = {key: value for key, value in case.fields.items() if key not in model.inferred}
        fields = model(type=name, **given).model_dump(mode="json", exclude_unset=True)
        sources = (
            {"from": [f"input{i}" for i in range(1, len(case.inputs) + 1)]} if len(case.inputs) > 1 else {}
        )
        return "[[encoder]]\n" + tomli_w.dumps({"type": name, **sources, **fields}).strip()
    needed = {
        key: info.examples[0]
        for key, info in model.model_fields.items()
        if info.is_required() and info.examples
    }
    if kind == "optimizer":
        needed["lr"] = model.model_fields["lr"].default
    table, key = ("data", "noise") if kind == "noise" else ("train", kind)
    return f"[{table}]\n{key} = {_toml({'type': name, **needed})}"


def _toml(value: Any) -> str:
    """A value in TOML, on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return tomli_w.dumps({"x": value}).strip().removeprefix("x = ")
