"""Layers whose type is none, but nearly certain: `RELU`, `MaxPol2d`.

In: the name of a type, or what pydantic found in a document. Out: the type that was meant; and what is wrong
with the other fields of such layers, as details that pydantic gives. What may stand in `[defaults]` for that
type is not known here: nothing is missed, and fields are not held against each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from n2nspec.spec.entries import ENTRIES
from n2nspec.spec.nearest import is_slip
from n2nspec.spec.tame import tame
from n2nspec.spec.text import Path

__all__ = ["Meant", "near_type"]

_WORD = re.compile(r"\w{1,100}")


def near_type(name: object) -> str | None:
    """The type that a name which is none surely means: equal but for capitals, or the only one an edit away.

    Not one with another number: a `Conv3d` was meant to be one.
    """
    if not isinstance(name, str) or not _WORD.fullmatch(name):
        return None
    types = list(ENTRIES)
    for near in (
        [kind for kind in types if kind.lower() == name.lower()],
        [kind for kind in types if is_slip(kind, name) and _is_one_edit(kind, name)],
    ):
        if near:
            return near[0] if len(near) == 1 else None
    return None


def _is_one_edit(one: str, other: str) -> bool:
    """Whether a character was put in, left out or replaced."""
    shorter, longer = sorted((one, other), key=len)
    start = next((i for i, (a, b) in enumerate(zip(shorter, longer, strict=False)) if a != b), len(shorter))
    inserted = len(longer) - len(shorter)
    return inserted <= 1 and shorter[start + 1 - inserted :] == longer[start + 1 :]


class Meant:
    """The layers of a document whose type is nearly certain, by their places.

    Attributes:
        document: the same with the types that were meant.
    """

    def __init__(self, document: Mapping[str, Any], places: Iterable[Path]) -> None:
        known: dict[str, str | None] = {}
        self._places: list[Path] = []
        stages: dict[str, list[Any]] = {}
        for place in places:
            stage, index = place
            layer = document[str(stage)][index]
            kind = layer.get("type") if isinstance(layer, Mapping) else None
            if not isinstance(kind, str):
                continue
            if kind not in known:
                known[kind] = near_type(kind)
            if known[kind] is not None:
                layers = stages.setdefault(str(stage), list(document[str(stage)]))
                layers[int(index)] = {**layer, "type": known[kind]}
                self._places.append(place)
        self.document: Mapping[str, Any] = {**document, **stages} if stages else document

    def details(self) -> Iterator[ErrorDetails]:
        """What is wrong with their fields."""
        for place in self._places:
            layer = self.document[str(place[0])][place[1]]
            try:
                ENTRIES[layer["type"]].model_validate(tame(layer))
            except ValidationError as error:
                for detail in error.errors(include_url=False):
                    if _is_of_a_field(detail):
                        yield {**detail, "loc": (*place, layer["type"], *detail["loc"])}


def _is_of_a_field(detail: ErrorDetails) -> bool:
    location = detail["loc"]
    is_missing = detail["type"] == "missing" and isinstance(location[-1], str)
    return bool(location) and not is_missing and "field" not in (detail.get("ctx") or {})
