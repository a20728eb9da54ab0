"""The entries of `[[encoder]]` and `[[decoder]]`: one model per layer type, made from the layer registry.

In: the registry of floor 1. Out: `ENTRIES`, by type name: the layer's own fields, plus what places it in the
graph, `name` and `from`. A layer type added to the registry appears here by itself; those of plugins appear
while a spec that names them is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    TypeAdapter,
    create_model,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from n2nspec.layers import LAYERS, LayerSpec
from n2nspec.layers.registry import Registry

__all__ = ["ENTRIES", "ByType", "Entries", "Entry", "Name", "NodeName"]

Name = Annotated[
    str, StringConstraints(strict=True, pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", min_length=1, max_length=100)
]
"""A name given by the author. No dots: they separate a block's name from the names inside it."""

NodeName = Annotated[
    str,
    StringConstraints(
        strict=True,
        pattern=r"^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$",
        min_length=1,
        max_length=200,
    ),
]
"""The name of a layer of the flat spec, where blocks and repetitions have become dots: `e1.conv1`."""


@dataclass(frozen=True, slots=True)
class ByType:
    """Annotation: the value's `type` says which of these models it is.

    Unlike a plain union, a mistake in one table is reported for its own model only, a model is looked up (and
    built) when a value of its type comes, and a registry of a single type works like any other.
    """

    models: Mapping[str, type[BaseModel]]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        no_such_type = core_schema.tagged_union_schema({}, discriminator="type")

        def choose(value: Any, refuse: Callable[[Any], Any]) -> Any:
            kind = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
            model = self.models.get(kind) if isinstance(kind, str) else None
            return refuse(value) if model is None else _adapter(model).validate_python(value)

        def dump(value: BaseModel, info: Any) -> Any:
            return value.model_dump(mode=info.mode, by_alias=info.by_alias, exclude_unset=info.exclude_unset)

        return core_schema.no_info_wrap_validator_function(
            choose,
            no_such_type,
            serialization=core_schema.plain_serializer_function_ser_schema(dump, info_arg=True),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(core_schema.any_schema())  # n2nspec.spec.schema writes the branches itself

    def __hash__(self) -> int:
        return id(self.models)


def _as_sources(value: Any) -> str | tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)):
        raise PydanticCustomError("sources_type", "Expected a name or a list of names")
    for index, name in enumerate(names):
        item = {"item": index} if names is value else {}
        if not isinstance(name, str):
            raise PydanticCustomError("source_type", "Expected a name", item)
        if not name:
            raise PydanticCustomError("source_range", "Expected a name that is not empty", item)
    if not names:
        raise PydanticCustomError("sources_range", "Expected at least one name")
    return value if isinstance(value, str) else tuple(names)


class Entry(LayerSpec):
    """What every entry has besides the fields of its layer."""

    name: NodeName | None = Field(
        None, description="Name of the node; when absent, the type in lower case and a number: relu1."
    )
    from_: Annotated[str | tuple[str, ...] | None, BeforeValidator(_as_sources)] = Field(
        None,
        alias="from",
        description="The node to read, or a list of nodes; the previous layer when absent.",
    )

    share: NodeName | None = Field(
        None, description="The layer whose weights this one uses, of the same type; its own when absent."
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


@cache  # one model a type, so that two readings of one spec are equal
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


@dataclass(frozen=True, slots=True)
class _Tagged:
    """Annotation: puts the type into the place of a mistake, as a union does."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        return core_schema.tagged_union_schema(dict.fromkeys(self.names, schema), discriminator="type")


@cache
def _adapter(model: type[BaseModel]) -> TypeAdapter[Any]:
    names = get_args(model.model_fields["type"].annotation)
    tagged: Any = Annotated[model, _Tagged(names)]
    return TypeAdapter(tagged)


_NONE: Mapping[str, type[Entry]] = MappingProxyType({})


class Entries(Mapping[str, type[Entry]]):
    """Entry models by type name: the built-in ones, and inside `extended` others besides."""

    def __init__(self, layers: Registry) -> None:
        self._built_in = layers
        self._added: ContextVar[Mapping[str, type[Entry]]] = ContextVar("added", default=_NONE)

    def __getitem__(self, name: str) -> type[Entry]:
        added = self._added.get()
        if name in added:
            return added[name]
        layer_type: type[LayerSpec] = self._built_in[name]
        return _entry(layer_type)

    def __iter__(self) -> Iterator[str]:
        yield from self._built_in
        yield from self._added.get()

    def __len__(self) -> int:
        return len(self._built_in) + len(self._added.get())

    def spelt(self, name: str) -> bool:
        """Whether a type has this name, in lower or upper case."""
        return self._built_in.spelt(name) or name.lower() in map(str.lower, self._added.get())

    @contextmanager
    def extended(self, layers: Mapping[str, type[LayerSpec]]) -> Iterator[None]:
        """Adds types for as long as the block runs, in this thread only; none may be there already."""
        added = {**self._added.get(), **{name: _entry(layer_type) for name, layer_type in layers.items()}}
        assert not any(name in self._built_in for name in added)
        token = self._added.set(added)
        try:
            yield
        finally:
            self._added.reset(token)


ENTRIES = Entries(LAYERS)
