"""`naem = "conv1"`, `form = "x"`: misspelt keys that say what a layer is, how it is called and what it reads.

In: a document. Out: the same with these keys as they were surely meant, and with the places where they were
written: nobody misses the name, and what the layer reads is known. The key is reported.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from n2nspec.diagnostics import Label, closest, quote
from n2nspec.spec.blocks import RESERVED
from n2nspec.spec.entries import ENTRIES, Entry
from n2nspec.spec.keys import LANGUAGE, SYNONYMS, field_names, unknown_key
from n2nspec.spec.merge import STAGES
from n2nspec.spec.near_types import near_type
from n2nspec.spec.templates import mentioned
from n2nspec.spec.trace import Problems, Traced, label

__all__ = ["put_right"]

MEANT: Mapping[str, type | tuple[type, ...]] = {
    "type": str, "block": str, "name": str, "from": (str, list), "share": str, "repeat": int,
}  # fmt: skip
KINDS = ("type", "block")


def put_right(document: Traced, problems: Problems) -> Traced:
    """The document with the keys of its layers put right, in the stages and in blocks."""
    entries = _Entries(document, problems)
    changes = {stage: entries.all_of(document.get(stage)) for stage in STAGES}
    blocks = document.get("blocks")
    if blocks is not None and isinstance(blocks.value, dict):
        lists = {name: entries.all_of(block.get("layers")) for name, block in blocks.items()}
        new = {
            name: blocks.part(name).with_({"layers": layers})
            for name, layers in lists.items()
            if layers is not None
        }
        changes["blocks"] = blocks.with_(new) if new else None
    changed = {key: change for key, change in changes.items() if change is not None}
    return document.with_(changed) if changed else document


class _Entries:
    def __init__(self, document: Traced, problems: Problems) -> None:
        self._problems = problems
        self._blocks = document.get("blocks")
        self._keys: dict[str, frozenset[str]] = {}
        """By layer type; "" stands for all types."""
        self._kinds: dict[str, str | None] = {}

    def all_of(self, layers: Traced | None) -> Traced | None:
        """A list of layers with their keys put right; None when nothing is to be done."""
        if layers is None or not isinstance(layers.value, list):
            return None
        changes: dict[int, Traced] = {}
        for index, entry in enumerate(layers.value):
            known = self._known(entry) if isinstance(entry, dict) else None
            if known is not None and not entry.keys() <= known:
                changes[index] = self._entry(layers.part(index), known)
        if not changes:
            return None
        every = [changes.get(index) or layers.part(index) for index in range(len(layers.value))]
        return Traced.listing(every, layers.where.origin)

    def _entry(self, entry: Traced, known: Collection[str]) -> Traced:
        unknown = [key for key in entry.value if key not in known]
        if "block" in entry.value:  # a name that the block uses is a parameter that it does not declare
            assert self._blocks is not None
            used = set(mentioned(self._blocks.value[entry.value["block"]].get("layers")))
            unknown = [key for key in unknown if key not in used]
        meant = {key: closest(SYNONYMS.get(key, key), known) or "" for key in unknown}
        # what it is first: that tells which other keys it may have
        for key, near in sorted(meant.items(), key=lambda pair: pair[1] not in KINDS):
            value = entry.value[key]
            fits = isinstance(value, MEANT.get(near, ())) and not isinstance(value, bool)
            if fits and near not in entry.value and self._tell(entry, key, near):
                entry = entry.with_({near: entry.part(key)}, without=(key,))
                if near in KINDS:
                    keys = self._known(entry.value)
                    return self._entry(entry, keys) if keys is not None else entry
        return entry

    def _tell(self, entry: Traced, key: str, near: str) -> bool:
        """Reports a key; not one that is said to be something else."""
        help, code = f"did you mean {quote(near)}?", "E110"
        labels: tuple[Label, ...] = ()
        if "block" in entry.value:
            block = entry.value["block"]
            code, message = "E123", f"the block {quote(block)} has no parameter {quote(key)}"
            assert self._blocks is not None
            labels = label(self._blocks.part(block).where, "the block is defined here")
        elif "type" in entry.value:
            meant = {**entry.value, "type": self._kind(entry.value["type"])}
            found = unknown_key(("encoder", 0, key), {"encoder": [meant]})
            message = found.message
            if found.help != help:
                return False
        else:
            message = f"unknown key {quote(key)} in a layer"
        self._problems.add(entry.where.part(key), code, message, key=True, help=help, labels=labels)
        return True

    def _known(self, entry: Mapping[str, Any]) -> Collection[str] | None:
        """The keys that an entry may have; None when that is not known."""
        kind = entry.get("type", "")
        if "block" in entry:
            params = self._params(entry["block"])
            return None if params is None or "type" in entry else {*RESERVED, *params}
        kind = self._kind(kind) if kind != "" else ""
        if kind is None:
            return None
        if kind not in self._keys:
            models = [ENTRIES[kind]] if kind else ENTRIES.values()
            self._keys[kind] = frozenset({*LANGUAGE[Entry], *(key for m in models for key in field_names(m))})
        return self._keys[kind]

    def _kind(self, name: Any) -> str | None:
        """The type that a layer has, or is nearly certain to have been meant to have."""
        if not isinstance(name, str):
            return None
        if name not in self._kinds:
            self._kinds[name] = name if name in ENTRIES else near_type(name)
        return self._kinds[name]

    def _params(self, name: Any) -> Collection[str] | None:
        """The parameters of a block, as far as they are written as they should be."""
        blocks = self._blocks.value if self._blocks is not None else None
        block = blocks.get(name) if isinstance(blocks, dict) and isinstance(name, str) else None
        if not isinstance(block, dict) or "layers" not in block:
            return None
        params = block.get("params", [])
        if isinstance(params, dict):
            return params
        if not isinstance(params, list) or not all(isinstance(item, (str, dict)) for item in params):
            return None
        return [name for item in params for name in ([item] if isinstance(item, str) else item)]
