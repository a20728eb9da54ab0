"""From a `Spec` back to a document: what a run folder and a weights file keep.

In: a `Spec`. Out: a plain document, or TOML, that loads as the same spec.
"""

from __future__ import annotations

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
    """The same as TOML text."""
    return tomli_w.dumps(to_document(spec))


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
            if given and item is not None:
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
