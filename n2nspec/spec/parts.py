"""The sound part of a spec that has mistakes: what the later stages can still judge.

In: a document, and the places that are wrong in it. Out: a `Part`: a spec in which each layer that did not
validate is an `Unsound` one, of which only name and sources are known. So a typo under `[train]` does not
hide an impossible shape, and a wrong layer is not blamed again for what follows it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import ValidationError

from n2nspec.diagnostics import closest
from n2nspec.layers import LayerSpec
from n2nspec.spec.entries import ENTRIES, Entry
from n2nspec.spec.models import Spec
from n2nspec.spec.names import is_automatic, is_name
from n2nspec.spec.nearest import Nearest, is_slip
from n2nspec.spec.origins import Origins
from n2nspec.spec.text import Path

__all__ = ["Part", "Unsound", "sound_part"]

STAGES = ("encoder", "decoder")


class Unsound(LayerSpec):
    """Stands for a layer whose table is wrong. Takes any inputs; nobody asks for its shape."""

    arity: ClassVar[int] = 0
    most_inputs: ClassVar[int | None] = None


class _UnsoundEntry(Entry):
    layer_type = Unsound


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is known of a spec.

    Attributes:
        spec: a whole spec, with stand-ins for what is wrong.
        doubtful: tables that are such stand-ins: "input", "output", "require".
        words: texts in wrong tables; one of them may be the name of the layer it is meant to be.
        nameless: something is there whose name cannot even be guessed.
        uncounted: so is a layer without a name, whose type is unknown: relu2 may be relu1.
        refused: the name of a layer is none: what it was meant to be is not known.
        named: the names that are given and can be.
    """

    spec: Spec
    doubtful: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    nameless: bool = False
    uncounted: bool = False
    refused: bool = False
    named: tuple[str, ...] = ()
    _nearest: Nearest = field(default_factory=Nearest, compare=False, repr=False)

    def may_name(self, name: str) -> bool:
        """Whether a name may be that of a layer whose table is wrong; an error about it would be an echo."""
        if self.nameless or name in self.words or self.may_count(name):
            return True
        return self.refused and not is_slip(name, self._nearest(name, lambda: self.named))

    def may_count(self, name: str) -> bool:
        """Whether a name may be one that layers without a name are given, while their numbers are unknown."""
        return self.uncounted and is_automatic(name, {kind.lower() for kind in {*ENTRIES, *self.words}})


def sound_part(document: Mapping[str, Any], wrong: Collection[Path], origins: Origins) -> Part | None:
    """The sound part of a document; None when too little of it is.

    Args:
        document: as it was validated.
        wrong: paths of the values that did not validate, and of keys that are missing or unknown.
        origins: where the document's values were written.
    """
    doubtful: set[str] = set()
    unsound: set[tuple[str, int]] = set()
    misnamed: set[tuple[str, int]] = set()
    for path in wrong:
        match path:
            case (str(stage), int(index), "name") if stage in STAGES:
                misnamed.add((stage, index))
            case (str(stage), int(index), *_) if stage in STAGES:
                unsound.add((stage, index))
            case (str(table), *_) if table not in STAGES:
                if table not in Spec.model_fields and _is_stage(table, document.get(table)):
                    return None
                doubtful.add(table)
                if table not in Spec.model_fields:  # it may be what was meant to be one of these
                    doubtful |= {closest(table, ("output", "require")) or table}
            case _:
                return None
    if "input" not in document:
        doubtful.add("input")
    kept = {key: value for key, value in document.items() if key not in doubtful}
    stand_ins = {"spec_version": 1, "name": "unsound", "input": {_input_name(document): [1]}}
    for stage in {stage for stage, _ in unsound | misnamed}:
        kept[stage] = list(document[stage])
    for stage, index in misnamed:  # it costs nothing but the name
        kept[stage][index] = {key: item for key, item in document[stage][index].items() if key != "name"}
    for stage, index in unsound:
        kept[stage][index] = {"type": "Identity"}
    try:
        spec = Spec.model_validate({**stand_ins, **kept})
    except ValidationError:
        if misnamed <= unsound:
            return None
        return sound_part(document, [*wrong, *misnamed], origins)  # more than the name of one is wrong
    tables = {place: document[place[0]][place[1]] for place in unsound | misnamed}
    entries = {
        stage: tuple(
            _stand_in(tables[stage, index], f"{stage}[{index}]")
            if (stage, index) in unsound
            else entry.model_copy(update={"name": _name(tables[stage, index], f"{stage}[{index}]")})
            if (stage, index) in misnamed
            else entry
            for index, entry in enumerate(getattr(spec, stage))
        )
        for stage in STAGES
    }
    spec = spec.model_copy(update=entries)
    spec._origins = origins
    given = [entry.name for stage in STAGES for entry in getattr(spec, stage) if entry.name is not None]
    words = {word for table in tables.values() for word in _texts(_without_sources(table))}
    if "input" in doubtful:
        words.update(_texts(document.get("input")))
    return Part(
        spec=spec,
        doubtful=frozenset(doubtful),
        words=frozenset(words),
        nameless=not _input_names(document) or not all(_is_readable(table) for table in tables.values()),
        uncounted=any(
            isinstance(table, Mapping) and "name" not in table and not _kind(table)
            for table in tables.values()
        ),
        refused=bool(misnamed),
        named=tuple(name for name in (*spec.input, *given) if is_name(name)),
    )


def _without_sources(table: Any) -> Any:
    """A wrong layer's table without what it reads: that is never its own name."""
    if not isinstance(table, Mapping):
        return table
    return {key: value for key, value in table.items() if key not in ("from", "share")}


def _is_stage(key: str, value: Any) -> bool:
    """Whether an unknown key may stand for a whole stage, with names that are then unknown."""
    tables = isinstance(value, list) and any(isinstance(item, Mapping) for item in value)
    return tables or closest(key, STAGES) is not None


def _input_names(document: Mapping[str, Any]) -> list[str]:
    tables = document.get("input")
    return list(tables) if isinstance(tables, Mapping) else []


def _input_name(document: Mapping[str, Any]) -> str:
    known = next(iter(_input_names(document)), "")
    return known if known.isidentifier() and known.isascii() and len(known) <= 100 else "input"


def _is_readable(table: Any) -> bool:
    """Whether a layer's name, if it has one, can be read."""
    return isinstance(table, Mapping) and isinstance(table.get("name", ""), str)


def _kind(table: Mapping[str, Any]) -> str:
    """The type that the table names, or probably means."""
    kind = table.get("type")
    return kind if isinstance(kind, str) and kind in ENTRIES else closest(kind, ENTRIES) or ""


def _stand_in(table: Any, place: str) -> Entry:
    given: Mapping[str, Any] = table if isinstance(table, Mapping) else {}
    source = given.get("from")
    sources: str | tuple[str, ...] | None = ()
    if isinstance(source, list) and all(isinstance(item, str) and item for item in source):
        sources = tuple(source)
    elif (isinstance(source, str) and source) or "from" not in given:  # without one, the layer before
        sources = source
    return _UnsoundEntry.model_construct(type=_kind(given), name=_name(given, place), from_=sources)


def _name(table: Mapping[str, Any], place: str) -> str | None:
    """The name that a table gives, even one that cannot be one; one of no other layer when it is no text."""
    name = table.get("name")
    return name if isinstance(name, str) or "name" not in table else f"unnamed {place}"


def _texts(value: Any) -> Iterator[str]:
    """The texts of a table: keys, values and the items of its lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
