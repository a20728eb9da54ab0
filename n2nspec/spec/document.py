"""From a `Spec` back to a document: what a run folder and a weights file keep.

In: a `Spec`. Out: a plain document, or TOML, that loads as the same spec.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import tomli_w
from pydantic import BaseModel

from n2nspec.spec.models import Spec
from n2nspec.spec.templates import escape

__all__ = ["to_document", "to_toml"]


def to_document(spec: Spec) -> dict[str, Any]:
    """The values that the author gave, or that differ from their defaults."""
    document: dict[str, Any] = _written(spec, spec.model_dump(mode="json", by_alias=True))
    return document


def to_toml(spec: Spec) -> str:
    """The same as TOML text, written as people do: `[[encoder]]` above each layer, lists on one line."""
    document = to_document(spec)
    headed = {key: value for key, value in document.items() if isinstance(value, dict) or _is_stage(value)}
    parts = [_lines({key: value for key, value in document.items() if key not in headed})]
    for key, value in headed.items():
        if isinstance(value, dict):
            parts.append(f"[{_key(key)}]\n{_lines(value)}")
        else:
            parts += [f"[[{_key(key)}]]\n{_lines(layer)}" for layer in value]
    return "\n".join(parts)


def _is_stage(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _lines(table: dict[str, Any]) -> str:
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in table.items())


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
    return tomli_w.dumps({"v": value}).removeprefix("v = ").removesuffix("\n")


@cache
def _key(key: str) -> str:
    return tomli_w.dumps({key: 0}).removesuffix(" = 0\n")


def _written(value: Any, dumped: Any) -> Any:
    if isinstance(value, BaseModel):
        kept = {}
        for name, field in type(value).model_fields.items():
            item, key = getattr(value, name), field.alias or name
            given = (
                name in value.model_fields_set
                or name == "type"
                or item != field.get_default(call_default_factory=True)
            )
            if given and dumped[key] is not None:
                kept[key] = _written(item, dumped[key])
        return kept
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        return [_written(item, part) for item, part in zip(value, dumped, strict=True)]
    return _escaped(dumped)


def _escaped(value: Any) -> Any:
    """The same, spelt so that what looks like a variable is not taken for one."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list) else value
