"""The entries of `[[encoder]]` and `[[decoder]]`: one model per layer type, made from the layer registry.

In: the registry of floor 1. Out: `ENTRIES`, by type name: the layer's own fields, plus what places it in the
graph, `name` and `from`. A layer type added to the registry appears here by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, Field, GetCoreSchemaHandler, StringConstraints, create_model
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from n2nspec.layers import LAYERS, LayerSpec

__all__ = ["ENTRIES", "ByType", "Entry", "Name"]

Name = Annotated[
    str, StringConstraints(strict=True, pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", min_length=1, max_length=100)
]
"""A name given by the author. No dots: they separate a block's name from the names inside it."""


@dataclass(frozen=True, slots=True)
class ByType:
    """Annotation: the value's `type` says which of these models it is.

    Unlike a plain union, a mistake in one table is reported for its own model only, and a registry of a
    single type works like any other.
    """

    models: Mapping[str, type[BaseModel]]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(model) for name, model in self.models.items()}
        return core_schema.tagged_union_schema(choices, discriminator="type")

    def __hash__(self) -> int:
        return id(self.models)


def _as_sources(value: Any) -> str | tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise PydanticCustomError("sources_type", "Expected a name or a list of names")
    if not names or not all(names):
        raise PydanticCustomError("sources_range", "Expected at least one name, and none of them empty")
    return value if isinstance(value, str) else tuple(names)


class Entry(LayerSpec):
    """What every entry has besides the fields of its layer."""

    name: Name | None = Field(
        None, description="Name of the node; when absent, the type in lower case and a number: relu1."
    )
    from_: Annotated[str | tuple[str, ...] | None, BeforeValidator(_as_sources)] = Field(
        None,
        alias="from",
        description="The node to read, or a list of nodes; the previous layer when absent.",
    )

    layer_type: ClassVar[type[LayerSpec]]

    @property
    def layer(self) -> LayerSpec:
        """The layer alone, without its place in the graph."""
        fields = self.layer_type.model_fields
        return self.layer_type.model_construct(
            _fields_set=self.model_fields_set & set(fields), **{name: getattr(self, name) for name in fields}
        )

    @property
    def sources(self) -> tuple[str, ...] | None:
        """The names given as `from`; None when the layer follows the one before it."""
        return (self.from_,) if isinstance(self.from_, str) else self.from_


def _entry(layer_type: type[LayerSpec]) -> type[Entry]:
    # typed loosely: the two bases are one only when put together here
    make: Any = create_model
    model: type[Entry] = make(
        f"{layer_type.__name__.removesuffix('Spec')}Entry",
        __base__=(layer_type, Entry),
        __module__=__name__,
        __doc__=layer_type.__doc__,
    )
    model.layer_type = layer_type
    return model


def _entries() -> dict[str, type[Entry]]:
    made = {layer_type: _entry(layer_type) for layer_type in dict.fromkeys(LAYERS.values())}
    return {name: made[layer_type] for name, layer_type in LAYERS.items()}


ENTRIES: Mapping[str, type[Entry]] = _entries()
