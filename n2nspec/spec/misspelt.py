"""`[[encodr]]`: layers under a misspelt stage.

In: a document. Out: the same with these layers in the stage that was surely meant, between its own as they
stand in the text, and with the places where they were written. The key is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any

from n2nspec.diagnostics import closest
from n2nspec.spec.keys import LANGUAGE, SYNONYMS, field_names, unknown_key
from n2nspec.spec.merge import STAGES
from n2nspec.spec.models import Spec
from n2nspec.spec.trace import UNKNOWN, Problems, Traced

__all__ = ["put_in_stages"]


def put_in_stages(document: Traced, problems: Problems) -> Traced:
    """The document with every layer in a stage, as far as it is certain in which."""
    known = {*field_names(Spec), *LANGUAGE[Spec]}
    meant: dict[str, list[str]] = {}
    for key, value in document.value.items():
        stage = _stage(key, known) if key not in known and _are_layers(value) else None
        if stage is not None and isinstance(document.value.get(stage, []), list):
            meant.setdefault(stage, []).append(key)
            found = unknown_key((key,), document.value)
            problems.add(document.part(key).where, found.code, found.message, key=True, help=found.help)
    changes: dict[str, Traced] = {}
    for stage, keys in meant.items():
        parts = [document.part(key) for key in document.value if key == stage or key in keys]
        layers = [layer for part in parts for layer in _layers(part, alone=len(parts) == 1)]
        changes[stage] = Traced.listing(sorted(layers, key=_place), parts[0].where.origin)
    return document.with_(changes, without=tuple(key for keys in meant.values() for key in keys))


def _layers(part: Traced, *, alone: bool) -> Iterator[Traced]:
    """The layers of one list; what its first reads is not known where lists cannot alternate, as in JSON."""
    for index, layer in enumerate(part.entries()):
        apart = index == 0 and not alone and not part.where.origin.source.file.lower().endswith(".toml")
        if apart and isinstance(layer.value, dict) and "from" not in layer.value:
            yield layer.with_({"from": Traced(UNKNOWN, layer.where)})
        else:
            yield layer


def _are_layers(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _stage(key: str, known: set[str]) -> str | None:
    """The stage that a key was meant to be; None when it may be something else."""
    word = SYNONYMS.get(key, key)
    near = closest(word, known)
    ratios = [SequenceMatcher(None, stage, word.lower()).ratio() for stage in STAGES]
    return near if near in STAGES and len({*ratios}) == len(STAGES) else None


def _place(layer: Traced) -> tuple[int, int]:
    """Where a layer stands in the text; all alike in a document without one."""
    span = layer.where.origin.span()
    return (span.line, span.column) if span is not None else (0, 0)
