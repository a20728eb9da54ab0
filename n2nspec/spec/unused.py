"""Variables, blocks and defaults that nothing uses: legal, but surely not meant.

In: the document before it is expanded. Out: warnings. Only about what the spec itself says: a base that many
specs extend may well offer more than each of them needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from n2nspec.diagnostics import Diagnostic, quote
from n2nspec.spec.entries import ENTRIES
from n2nspec.spec.merge import STAGES
from n2nspec.spec.templates import mentioned
from n2nspec.spec.text import Path
from n2nspec.spec.trace import Problems, Text, Traced

__all__ = ["unused"]


def unused(document: Traced, top: Text, flat: Traced) -> tuple[Diagnostic, ...]:
    """The warnings about a document that has no errors.

    Args:
        document: after `extends` and `--set`.
        top: the text whose author should hear of it.
        flat: the same document, expanded.
    """
    found = Problems()
    tables = {key: document.value.get(key) for key in ("vars", "blocks", "defaults")}
    if not any(tables.values()):
        return ()
    blocks = tables["blocks"] or {}
    named = set(mentioned({key: value for key, value in document.value.items() if key != "blocks"}))
    for block in blocks.values():
        named |= set(mentioned(block)) - _params(block).keys()
    for name in tables["vars"] or {}:
        where = document.where.part("vars").part(name)
        if name not in named and where.origin.source is top:
            message = f"nothing uses the variable {quote(name)}"
            found.add(where, "W210", message, key=True, help="remove it, or write ${" + name + "} somewhere")
    used = _used_blocks(document.value, blocks)
    spare = [name for name in blocks if name not in used]
    inner = {chosen for name in spare for chosen in _chosen(blocks[name]["layers"]) if chosen != name}
    for name, block in blocks.items():
        where = document.where.part("blocks").part(name)
        if where.origin.source is not top:
            continue
        if name in spare and (name not in inner or inner.issuperset(spare)):
            message = f"nothing uses the block {quote(name)}"
            found.add(where, "W211", message, key=True, help=f'use it, with block = "{name}", or remove it')
        for param, place in _params(block).items() if name in used else ():
            if param not in set(mentioned(block)):
                message = f"nothing in the block {quote(name)} uses its parameter {quote(param)}"
                help = "remove it, or write ${" + param + "}"
                found.add(where.part("params").at(place), "W210", message, help=help)
    types = {ENTRIES[layer["type"]].layer_type for stage in STAGES for layer in flat.value.get(stage, ())}
    for kind in tables["defaults"] or {}:
        where = document.where.part("defaults").part(kind)
        if ENTRIES[kind].layer_type not in types and where.origin.source is top:
            message = f"there is no {kind} for these defaults"
            found.add(where, "W212", message, key=True, help="remove them, or use the type")
    return tuple(diagnostic for diagnostic, _ in found.found)


def _params(block: Any) -> dict[str, Path]:
    """The parameters, and where under `params` each is declared."""
    params = block.get("params", [])
    if isinstance(params, dict):
        return {name: (name,) for name in params}
    declared: dict[str, Path] = {}
    for index, item in enumerate(params):
        declared |= {name: (index, name) for name in item} if isinstance(item, dict) else {item: (index,)}
    return declared


def _used_blocks(document: Any, blocks: Any) -> set[str]:
    """The blocks that layers use, by themselves or through others; every one that a parameter may choose."""
    waiting = [entry for stage in STAGES for entry in document.get(stage, ())]
    used: set[str] = set()
    for name in _chosen(waiting):
        if "${" in name:
            return set(blocks)
        used.add(name)
    pending = list(used)
    while pending:
        for name in _chosen(blocks[pending.pop()]["layers"]):
            if "${" in name:
                return set(blocks)
            if name not in used:
                used.add(name)
                pending.append(name)
    return used


def _chosen(entries: list[Any]) -> Iterator[str]:
    return (entry["block"] for entry in entries if "block" in entry)
