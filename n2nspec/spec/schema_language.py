"""What a spec may say beyond its flat form, as JSON Schema: `"${…}"`, variables, defaults, blocks, `extends`.

In: the schemas of fields and of layer types. Out: the same for a spec as people write it.

Since a field may come from `[defaults]` or from the base of `extends`, no table asks for its keys by itself;
`complete` asks for them where nothing else can give them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from n2nspec.spec.blocks import PLACING, SIMPLE_NAME
from n2nspec.spec.limits import MOST_LAYERS
from n2nspec.spec.merge import STAGES
from n2nspec.spec.schema_fields import Schema
from n2nspec.spec.templates import NAME

__all__ = ["CHANGE", "CHECK", "complete", "entry_forms", "language", "ref", "required_at", "written"]

TEMPLATE: Schema = {"type": "string", "pattern": r"\$\{"}
"""A text with an expression in it, which may become any value."""
CONDITION: Schema = {"type": "string", "pattern": r"^\$\{[^{}]*\}$"}
COUNT: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_LAYERS, "default": 1}
OPEN: Schema = {"additionalProperties": True}
"""Beside a rule that names only some keys; Tombi takes a rule without this for a whole table."""
ANNOTATIONS = ("description", "default", "title")


def written(schema: Schema, *, in_block: bool = False) -> Schema:
    """The schema of a value that may be given as `"${…}"` too, and so may the items of a list.

    Args:
        in_block: the value may stand in a block, whose params are more than integers.
    """
    said = {key: schema[key] for key in ANNOTATIONS if key in schema}
    bare = {key: value for key, value in schema.items() if key not in ANNOTATIONS}
    kind = bare.get("type")
    if kind in ("integer", "number", "boolean") and "const" not in bare:
        # bounds speak of numbers only, and the pattern of strings only
        return {**said, **bare, "type": [kind, "string"], "pattern": TEMPLATE["pattern"]}
    if kind == ["integer", "string"]:
        return {**said, **bare, "pattern": f"{bare['pattern']}|{TEMPLATE['pattern']}"}
    if kind == "object":
        patterns = {key: written(item) for key, item in bare["patternProperties"].items()}
        return {**said, **bare, "patternProperties": patterns}
    if kind == "string" and "pattern" in bare:  # one pattern, so that a mistake is told once
        bare.pop("maxLength", None)  # of what the text becomes
        return {**said, **bare, "pattern": f"{bare['pattern']}|{TEMPLATE['pattern']}"}
    choices = [_with_written_items(choice, in_block) for choice in bare.get("anyOf", [bare])]
    if not any(_takes_any_text(choice) for choice in choices) and (in_block or kind != "array"):
        choices.append(TEMPLATE)
    return {**said, **(choices[0] if len(choices) == 1 else {"anyOf": choices})}


def _with_written_items(schema: Schema, in_block: bool) -> Schema:
    items = schema.get("items")
    if isinstance(items, list):
        return {**schema, "items": [written(item, in_block=in_block) for item in items]}
    return schema if items is None else {**schema, "items": written(items, in_block=in_block)}


def _takes_any_text(schema: Schema) -> bool:
    limits = {"pattern", "maxLength", "enum", "const"}
    return schema.get("type") == "string" and not schema.keys() & limits


def placing(properties: Mapping[str, Schema]) -> dict[str, Schema]:
    """The keys of an entry that are no fields of its layer: `name` and `from`, and what leads to others."""
    return {
        "name": properties["name"],
        "from": properties["from"],
        "repeat": written({"description": "How many of it, each reading the one before.", **COUNT}),
        "before": {"description": "With `extends`: put it before this layer of the base.", "type": "string"},
        "after": {"description": "With `extends`: put it after this layer of the base.", "type": "string"},
    }


def entry_forms(layers: Mapping[str, str], definitions: dict[str, Schema]) -> None:
    """Puts the definition "layer" beside those of the layer types: any entry of `[[encoder]]`.

    Args:
        layers: the key of each type's definition, by type.
        definitions: of the schema; the layer types get the keys that every entry may have.
    """
    keys: dict[str, Schema] = {}
    for key in layers.values():
        properties = definitions[key]["properties"]
        keys = placing(properties)
        fields = {name: field for name, field in properties.items() if name not in keys and name != "type"}
        definitions[key]["properties"] = {"type": properties["type"], **keys, **fields}
    definitions["layer-block"] = {
        "title": "block",
        "description": "A block in place of a layer; further keys are values for its params.",
        "type": "object",
        "required": ["block"],
        "properties": {
            "block": {"description": "Name of one of the [blocks].", "type": "string", "minLength": 1},
            **keys,
        },
        **OPEN,
        "not": {"required": ["type"], **OPEN},
    }
    definitions["layer-change"] = {
        "title": "change",
        "description": "With `extends`: other fields for the layer of the base that has this name.",
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"description": "Name of a layer of the base.", "type": "string"}},
        **OPEN,
        "not": {"anyOf": [{"required": ["type"], **OPEN}, {"required": ["block"], **OPEN}]},
    }
    definitions["layer-computed"] = {
        "title": "computed type",
        "description": "Inside a block: a layer whose type is a parameter.",
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"description": "A type, by a param of the block.", **TEMPLATE}, **keys},
        **OPEN,
    }
    forms = [*layers.values(), "layer-block", "layer-change", "layer-computed"]
    definitions["layer"] = {"oneOf": [ref(key) for key in forms]}


def language(layers: Mapping[str, str], definitions: Mapping[str, Schema]) -> dict[str, Schema]:
    """The keys at the top of a spec that its flat form has not.

    Args:
        layers: the key of each type's definition, by the names of types, aliases included.
        definitions: those of the schema.
    """
    defaults = {}
    for name, key in layers.items():
        fields = definitions[key]["properties"].keys() - {*PLACING, "before", "after", "type"}
        ordered = [field for field in definitions[key]["properties"] if field in fields]
        defaults[name] = {
            "description": f"Fields that every {name} has unless it says otherwise.",
            "type": "object",
            "additionalProperties": False,
            "properties": {field: ref(f"{key}/properties/{field}") for field in ordered},
        }
    block: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "description": {"description": "What the block is for."},
            "params": {
                "description": 'What a use gives, such as ["ch", { k = 3 }]: ch must be given, k need not.',
                "anyOf": [
                    {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object", **OPEN}]}},
                    {"type": "object", **OPEN},
                ],
            },
            "layers": {
                "description": 'Layers, in order; "${ch}" is the value of a param.',
                "type": "array",
                "minItems": 1,
                "items": ref("layer"),
            },
            "output": {"description": "The block's result; its last layer when absent.", "type": "string"},
        },
    }
    return {
        "$schema": {"description": "For editors of JSON: where this schema is.", "type": "string"},
        "extends": {
            "description": "Another spec, of which this one says only the differences.",
            "type": "string",
            "minLength": 1,
        },
        "remove": {
            "description": "With `extends`: names of layers of the base to leave out.",
            "type": "array",
            "items": {"type": "string"},
        },
        "vars": {
            "description": 'Integers by name, for use as "${2*width}".',
            "type": "object",
            "propertyNames": {"pattern": f"^{NAME.pattern}$"},
            "additionalProperties": written({"type": "integer"}),
        },
        "defaults": {
            "description": "Fields that every layer of a type has unless it says otherwise.",
            "type": "object",
            "additionalProperties": False,
            "properties": defaults,
        },
        "blocks": {
            "description": "Layers that are said once and used many times, by name.",
            "type": "object",
            "propertyNames": {"pattern": f"^{SIMPLE_NAME.pattern}$"},
            "additionalProperties": block,
        },
    }


CHECK: Schema = {
    "description": 'Conditions on the variables, such as "${width % 4 == 0}".',
    "type": "array",
    "items": CONDITION,
}
"""Of `[require]`."""


CHANGE: Schema = {
    "title": "change",
    "description": "With `extends`: other values for what the base has.",
    "type": "object",
    "not": {"required": ["type"], **OPEN},
    **OPEN,
}
"""Beside the choices of a table by `type`."""


def required_at(path: tuple[str, ...], keys: list[str], *, of_type: list[str] | None = None) -> Schema:
    """The rule that a table at a path, where there is one, has these keys; or only if it is of a type."""
    rule: Schema = {"required": keys, **OPEN}
    if of_type is not None:
        rule = {"if": _is_type(of_type), "then": rule, **OPEN}
    for key in reversed(path):
        rule = {"properties": {key: rule}, **OPEN}
    return rule


def _is_type(names: list[str]) -> Schema:
    return {"properties": {"type": {"enum": names}}, "required": ["type"], **OPEN}


def complete(rules: list[Schema], layers: Mapping[str, list[str]], fields: Mapping[str, list[str]]) -> Schema:
    """`if` and `then` for the whole spec: what it needs unless it extends another.

    Args:
        rules: of its tables.
        layers: all names of each layer type, by the first.
        fields: what each of them needs, by the same name.
    """
    kinds = [{"required": ["type"], **OPEN}, {"required": ["block"], **OPEN}]
    everywhere: list[Schema] = [*rules, _every_layer({"anyOf": kinds, **OPEN})]
    for name, required in fields.items():
        for key in required:
            given = [
                {"properties": {alias: {"required": [key], **OPEN}}, "required": [alias], **OPEN}
                for alias in layers[name]
            ]
            has_default = {"properties": {"defaults": {"anyOf": given}}, "required": ["defaults"], **OPEN}
            entry = {
                "if": _is_type(layers[name]),
                "then": {"required": [key], **OPEN},
                **OPEN,
            }
            everywhere.append({"if": {"not": has_default, **OPEN}, "then": _every_layer(entry), **OPEN})
    return {
        "if": {"not": {"required": ["extends"], **OPEN}, **OPEN},
        "then": {
            **OPEN,
            "anyOf": [{"required": [stage], **OPEN} for stage in STAGES],
            "allOf": everywhere,
        },
    }


def _every_layer(entry: Schema) -> Schema:
    """A rule for each layer, wherever one may stand."""
    stages: dict[str, Any] = {stage: {"items": entry} for stage in STAGES}
    block = {"required": ["layers"], "properties": {"layers": {"items": entry}}, **OPEN}
    return {"properties": {**stages, "blocks": {"additionalProperties": block}}, **OPEN}


def ref(key: str) -> Schema:
    """A reference to a definition."""
    return {"$ref": f"#/definitions/{key}"}
