"""`[[encodr]]`, `[vasr]`, `extend = …`: what stands under a misspelt key at the top of a spec.

In: a document. Out: the same with what they hold where it was surely meant to be, layers between those of
the stage as they stand in the text, and all with the places where they were written. The key is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from n2nspec.diagnostics import closest, quote
from n2nspec.spec.blocks import KEYS
from n2nspec.spec.keys import LANGUAGE, SYNONYMS, field_names, unknown_key
from n2nspec.spec.merge import STAGES
from n2nspec.spec.models import Spec
from n2nspec.spec.trace import UNKNOWN, Problems, Traced

__all__ = ["hides_layers", "put_in_place"]

KNOWN = frozenset({*field_names(Spec), *LANGUAGE[Spec]})
MOST = 100
"""Unknown keys of which it is asked what they were meant to be; each one that is put right costs a copy."""
SINGLE = ("input", "output")
"""Tables of one entry: another one is not a part of them."""
NAMED = ("vars", "defaults", "blocks", "require", "train", "data")
PLAIN: Mapping[str, type] = {"extends": str, "remove": list}
"""What other stages read, besides the tables."""


def put_in_place(document: Traced, problems: Problems) -> Traced:
    """The document with every layer in a stage and all else under its key, as far as that is certain."""
    for key in [key for key in document.value if key not in KNOWN][:MOST]:
        meant = _meant(key, document)
        if meant is not None:
            _tell(document, key, problems)
            item = _over(document.get(meant), document.part(key))
            document = document.with_({meant: item}, without=(key,))
    return _with_layers(_with_stages(document, problems), problems)


def hides_layers(document: Traced) -> bool:
    """Whether there may be layers under a key of which it is not certain what was meant."""
    return any(key not in KNOWN and _are_layers(value) for key, value in document.value.items())


def _tell(document: Traced, key: str, problems: Problems) -> None:
    found = unknown_key((key,), document.value)
    problems.add(document.part(key).where, found.code, found.message, key=True, help=found.help)


def _meant(key: str, document: Traced) -> str | None:
    """The key that was meant, of those whose value is looked for; None when it may be something else."""
    value = document.value[key]
    near = closest(key, KNOWN) if key not in SYNONYMS else None
    if near is not None and (near in PLAIN or near in SINGLE):
        fits = isinstance(value, PLAIN.get(near, dict)) and not _are_layers(value)
        return near if fits and near not in document.value else None
    fits = isinstance(value, dict) and isinstance(document.value.get(near, {}), dict)
    return near if fits and near in NAMED else None


def _over(there: Traced | None, given: Traced) -> Traced:
    """What there is already, with what was meant to be there, too."""
    if there is None:
        return given
    if isinstance(there.value, dict) and isinstance(given.value, dict):
        return there.with_({key: _over(there.get(key), item) for key, item in given.items()})
    if _are_layers(there.value) and _are_layers(given.value):
        return _listed([there, given])
    return there


def _listed(parts: list[Traced]) -> Traced:
    """The entries of several lists, as they stand in the text."""
    entries = [entry for part in parts for entry in part.entries()]
    return Traced.listing(sorted(entries, key=_place), parts[0].where.origin)


def _with_layers(document: Traced, problems: Problems) -> Traced:
    """The document with `[[blocks.NAME.layrs]]` among the layers of the block, if it has others."""
    blocks = document.get("blocks")
    if blocks is None or not isinstance(blocks.value, dict):
        return document
    changes: dict[str, Traced] = {}
    for name, block in blocks.items():
        if not isinstance(block.value, dict) or not _are_layers(block.value.get("layers")):
            continue
        keys = [key for key, value in block.value.items() if key not in KEYS and _are_layers(value)]
        meant = tuple(key for key in keys if closest(key, KEYS) == "layers")
        for key in meant:
            problems.add(
                block.part(key).where, "E110", f"unknown key {quote(key)} in the block {quote(name)}",
                key=True, help='did you mean "layers"?',
            )  # fmt: skip
        if meant:
            layers = _listed([block.part(key) for key in ("layers", *meant)])
            changes[name] = block.with_({"layers": layers}, without=meant)
    return document.with_({"blocks": blocks.with_(changes)}) if changes else document


def _with_stages(document: Traced, problems: Problems) -> Traced:
    meant: dict[str, list[str]] = {}
    for key, value in document.value.items():
        stage = _stage(key) if key not in KNOWN and _are_layers(value) else None
        if stage is not None and isinstance(document.value.get(stage, []), list):
            meant.setdefault(stage, []).append(key)
            _tell(document, key, problems)
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


def _stage(key: str) -> str | None:
    """The stage that a key was meant to be; None when it may be something else."""
    word = SYNONYMS.get(key, key)
    near = closest(word, KNOWN)
    ratios = [SequenceMatcher(None, stage, word.lower()).ratio() for stage in STAGES]
    return near if near in STAGES and len({*ratios}) == len(STAGES) else None


def _place(layer: Traced) -> tuple[int, int]:
    """Where a layer stands in the text; all alike in a document without one."""
    span = layer.where.origin.span()
    return (span.line, span.column) if span is not None else (0, 0)
