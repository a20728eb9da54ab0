"""Fields that contradict each other in a table that has other mistakes besides.

pydantic asks the validators of a model only once every field is fine, and only until one refuses. Here each
is asked by itself, with the fields that are fine: one that reads another has nothing to say.

In: the places of the mistakes that pydantic found, and the document. Out: details as pydantic gives them,
those that it found itself among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError, PydanticKnownError

from n2nspec.diagnostics import closest
from n2nspec.spec.keys import SYNONYMS, field_names, model_at, union_at
from n2nspec.spec.merge import STAGES
from n2nspec.spec.text import Path
from n2nspec.spec.trace import is_unknown

__all__ = ["contradictions"]

PLACING = frozenset({"name", "from", "share"})
"""What a layer knows nothing of."""


def contradictions(wrong: Iterable[Path], document: Mapping[str, Any]) -> Iterator[ErrorDetails]:
    """What the validators of the tables around these places refuse."""
    known: dict[object, list[ErrorDetails]] = {}  # a block makes many tables that are alike
    for path, (table, keys) in _tables(wrong, document).items():
        model = model_at(path, document)
        if model is None or not _is_asked(model):
            continue
        chosen = union_at(path) is not None
        said = {key: value for key, value in table.items() if key not in PLACING} if chosen else table
        alike = (model, frozenset(keys - PLACING), repr(said)) if chosen else path
        if alike not in known:
            item = _partly(model, said, keys | _perhaps_meant(model, table))
            known[alike] = list(_refusals(item, table)) if item is not None else []
        place = (*path, table["type"]) if chosen else path
        for detail in known[alike]:
            here = detail.copy()
            here["loc"] = place
            yield here


def _tables(wrong: Iterable[Path], document: Mapping[str, Any]) -> dict[Path, tuple[Any, set[str]]]:
    """Each table around a mistake, with those of its keys that a mistake is at or below."""
    found: dict[Path, tuple[Any, set[str]]] = {}
    for path in wrong:
        value: Any = document
        for length in range(len(path) + 1):
            if isinstance(value, Mapping):
                keys = found.setdefault(path[:length], (value, set()))[1]
                keys.update(map(str, path[length : length + 1]))
            elif not isinstance(value, list):
                break
            try:
                value = value[path[length]] if length < len(path) else None
            except (KeyError, IndexError):  # it is missing
                break
    return found


def _is_asked(model: type[BaseModel]) -> bool:
    """Whether a model has validators, and none that may make other fields of what is written."""
    return {found.info.mode for found in model.__pydantic_decorators__.model_validators.values()} == {"after"}


def _perhaps_meant(model: type[BaseModel], table: Mapping[str, Any]) -> set[str]:
    """Keys that are not there, but which an unknown one may have been meant to be."""
    names = field_names(model)
    absent = [name for name in names if name not in table]
    found: set[str] = set()
    for key, value in table.items():
        if key not in names:
            found |= {closest(SYNONYMS.get(key, key), absent) or ""}
            if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
                found.update(STAGES)
    return found


def _partly(model: type[BaseModel], table: Mapping[str, Any], wrong: set[str]) -> BaseModel | None:
    """The model of a table without what is wrong; None when more is wrong than was said."""
    values: dict[str, Any] = {}
    missing: list[str] = []
    decorated = {
        name
        for found in model.__pydantic_decorators__.field_validators.values()
        for name in found.info.fields
    }
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key in wrong or is_unknown(table.get(key)) or not decorated.isdisjoint((name, "*")):
            missing.append(name)
        elif key in table:
            try:
                values[key] = _adapter(model, name).validate_python(table[key])
            except ValidationError:
                return None
    item = model.model_construct(**values)
    for name in missing:
        item.__dict__.pop(name, None)
    return item


@cache
def _adapter(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    field = model.model_fields[name]
    annotation: Any = field.annotation
    for data in field.metadata:
        annotation = Annotated[annotation, data]
    return TypeAdapter(annotation)


def _refusals(item: BaseModel, table: Mapping[str, Any]) -> Iterator[ErrorDetails]:
    """What the validators say, without the place."""
    for validator in type(item).__pydantic_decorators__.model_validators.values():
        check: Any = validator.func
        try:
            check(item)
        except (PydanticCustomError, PydanticKnownError) as error:
            yield {
                "type": error.type, "loc": (), "msg": error.message(), "input": table,
                "ctx": error.context or {},
            }  # fmt: skip
        except ValueError as error:
            yield {"type": "value_error", "loc": (), "msg": f"Value error, {error}", "input": table}
        except AssertionError as error:
            yield {"type": "assertion_error", "loc": (), "msg": f"Assertion failed, {error}", "input": table}
        except Exception:  # it reads a field that is missing
            continue
