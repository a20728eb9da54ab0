"""The fields of a pydantic model as JSON Schema, in the words of draft-07.

In: a model. Out: the schema of each key, as the key is written. Pydantic writes draft 2020-12 and describes
what Python takes; here tuples are spelt as draft-07 does, nothing may be null (a spec leaves out what it does
not say), and a pair's default is the one number that people write.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter

__all__ = ["Schema", "field_schemas", "required_keys"]

Schema = dict[str, Any]


def field_schemas(model: type[BaseModel]) -> dict[str, Schema]:
    """The schema of each key of a model, without keys whose value is a table of its own."""
    # mode "validation": what is read, not what is written
    whole = model.model_json_schema(by_alias=True, mode="validation")
    defaults = _defaults(model)
    return {
        key: _tidy(_without_null(schema)) | ({"default": defaults[key]} if key in defaults else {})
        for key, schema in whole["properties"].items()
    }


def required_keys(model: type[BaseModel]) -> list[str]:
    """The keys without a default, in order."""
    return [info.alias or name for name, info in model.model_fields.items() if info.is_required()]


def _defaults(model: type[BaseModel]) -> dict[str, Any]:
    """The default of each key that has one worth showing, as a spec would spell it."""
    found: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        default = info.get_default(call_default_factory=True) if not info.is_required() else None
        if name != "type" and default not in (None, "", ()):
            kind: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
            found[info.alias or name] = TypeAdapter(kind).dump_python(default, mode="json")
    return found


def _without_null(schema: Schema) -> Schema:
    """An optional value: it is left out, never null."""
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default", "title")}
    if len(choices) == 1:
        return {**choices[0], **rest}
    return {**rest, "anyOf": choices} if choices else rest


def _tidy(schema: Schema) -> Schema:
    """Draft-07 spelling, at every depth; choices between plain types become one."""
    tidy: Schema = {}
    for key, value in schema.items():
        if key == "prefixItems":
            tidy["items"] = [_tidy(item) for item in value]
            tidy["additionalItems"] = False
        elif key in ("items", "propertyNames"):
            tidy[key] = _tidy(value)
        elif key in ("patternProperties", "properties"):
            tidy[key] = {name: _tidy(item) for name, item in value.items()}
        elif key == "anyOf":
            tidy[key] = [_tidy(item) for item in value]
        elif key in ("maximum", "minimum") and isinstance(value, float) and value.is_integer():
            tidy[key] = int(value)
        elif key != "title":
            tidy[key] = value
    return tidy
