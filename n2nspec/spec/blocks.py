"""`[blocks.NAME]`: layers that are said once and used many times.

In: the table of blocks. Out: `Block`s, checked as far as they can be without being used.

    [blocks.double]
    params = ["ch", { k = 3 }]          # ch must be given, k need not; or a table when all have defaults
    output = "relu2"                    # the block's result, when that is not its last layer

    [[blocks.double.layers]]
    type = "Conv2d"
    out_channels = "${ch}"
    kernel_size = "${k}"
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from n2nspec.diagnostics import closest, did_you_mean, quote
from n2nspec.spec.entries import ENTRIES, Entry
from n2nspec.spec.sentences import respelt, sentence
from n2nspec.spec.templates import NAME, has_template
from n2nspec.spec.trace import EFFORT, UNKNOWN, Problems, Traced, Where, label

__all__ = ["INPUT", "PLACING", "SIMPLE_NAME", "Block", "read_blocks"]

KEYS = ("params", "layers", "output", "description")
PLACING = ("block", "name", "from", "repeat")
"""What the use of a block has besides its parameters."""
RESERVED = (*PLACING, "type", "before", "after")
SIMPLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
INPUT = re.compile(r"in(?:[1-9][0-9]{0,3})?")
"""Inside a block: `in` is what the block reads, `in2` the second of several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A definition. `params` has None where the use must give a value.

    `sound` is False where there are mistakes in it: its layers can be judged, its result is not known.
    `params_known` is False where such a mistake may hide parameters.
    """

    name: str
    where: Where
    params: Mapping[str, Traced | None]
    declared: Mapping[str, Where]
    layers: tuple[tuple[Traced, bool], ...]
    """Each with whether there is a `${…}` in it."""
    output: Traced | None
    sound: bool
    params_known: bool

    @property
    def readable(self) -> bool:
        """Whether all of its layers are there."""
        return bool(self.layers) and all(isinstance(layer.value, dict) for layer, _ in self.layers)


def read_blocks(table: Traced | None, problems: Problems) -> dict[str, Block | None]:
    """The blocks by name; None for one that is no table, which is reported."""
    if table is None:
        return {}
    if not isinstance(table.value, dict):
        problems.wrong_type(table, "blocks", "a table of blocks", help="write [blocks.NAME]")
        return {}
    heads = {} if problems.partial else _misspelt(table.value)
    return {name: _read(name, item, problems, heads) for name, item in table.items()}


def _misspelt(table: Mapping[str, Any]) -> Mapping[str, str]:
    """By `[blocks.dobule]`, which has no layers, the block that it was meant to be the head of."""
    layers = [name for name, item in table.items() if isinstance(item, dict) and item.keys() == {"layers"}]
    bare = [name for name, item in table.items() if isinstance(item, dict) and item.keys() < {*KEYS}]
    bare = [name for name in bare if "layers" not in table[name]]
    if len(bare) * len(layers) > EFFORT:
        return {}
    near = {name: closest(name, layers) for name in bare}
    return {name: meant for name, meant in near.items() if meant is not None}


def _read(name: str, item: Traced, problems: Problems, heads: Mapping[str, str]) -> Block | None:
    before = len(problems.found)
    if not SIMPLE_NAME.fullmatch(name):
        message = f"a block is called by letters, digits, _ and -; received {quote(name)}"
        problems.add(item.where, "E118", message, key=True)
    elif ENTRIES.spelt(name):
        message = f"the block {quote(name)} has the name of a layer type"
        problems.add(item.where, "E118", message, key=True, help="its nodes could be mistaken for layers")
    if not isinstance(item.value, dict):
        problems.wrong_type(item, f"blocks.{name}", "a table", help="write [blocks.NAME]")
        return None
    for key in item.value:
        if key not in KEYS:
            message = f"unknown key {quote(key)} in the block {quote(name)}"
            problems.add(item.where.part(key), "E110", message, key=True, help=did_you_mean(key, KEYS))
    params: dict[str, Traced | None] = {}
    declared: dict[str, Where] = {}
    given = item.get("params")
    # a base, or a table of a misspelt name, may have the rest of it
    whole = name not in heads.values() and ("layers" in item.value or not problems.partial)
    params_known = given is not None or (whole and all(key in KEYS for key in item.value))
    checked = len(problems.found)
    for param, default, where in _params(given, problems) if given is not None else ():
        if not NAME.fullmatch(param) or param in RESERVED:
            message = f"a parameter cannot be called {quote(param)}"
            help = "letters, digits and _; not " + ", ".join(RESERVED)
            problems.add(where, "E118", message, key=default is not None, help=help)
        elif default is not None and default.value is None:
            problems.wrong_type(default, param, "a value")
        elif param in params:
            problems.add(
                where, "E123", f"the parameter {quote(param)} is declared twice", key=default is not None,
                labels=label(declared[param], "first declared here"),
            )  # fmt: skip
        else:
            params[param], declared[param] = default, where
    params_known &= len(problems.found) == checked
    layers = _layers(name, item, problems, heads.get(name))
    output = item.get("output")
    if output is not None and (not isinstance(output.value, str) or has_template(output.value)):
        problems.wrong_type(output, "output", "the name of a layer of the block")
        output = None
    return Block(
        name=name, where=item.where, params=params, declared=declared, output=output,
        layers=tuple((layer, has_template(layer.value)) for layer in layers),
        sound=whole and len(problems.found) == before, params_known=params_known,
    )  # fmt: skip


def _params(given: Traced, problems: Problems) -> Iterator[tuple[str, Traced | None, Where]]:
    """Each parameter's name, default, and the place where it is declared."""
    if isinstance(given.value, dict):
        for name, default in given.items():
            yield name, default, default.where
        return
    if not isinstance(given.value, list):
        problems.wrong_type(given, "params", "a list of names", help=PARAMS)
        return
    for item in given.entries():
        if isinstance(item.value, str):
            yield item.value, None, item.where
        elif isinstance(item.value, dict):
            for name, default in item.items():
                yield name, default, default.where
        else:
            problems.wrong_type(item, "params", "a name, or { name = default }", help=PARAMS)


PARAMS = 'for example params = ["channels", { kernel = 3 }]'


def _layers(name: str, item: Traced, problems: Problems, meant: str | None) -> list[Traced]:
    layers = item.get("layers")
    if layers is None:
        near = next((key for key in item.value if key not in KEYS and closest(key, ["layers"])), None)
        if near is None:
            help = f"did you mean {quote(meant)}?" if meant else f"add [[blocks.{name}.layers]]"
            problems.add(item.where, "E111", f"the block {quote(name)} needs layers", help=help)
        return []
    if not isinstance(layers.value, list):
        help = f"write [[blocks.{name}.layers]], with two brackets, above each layer"
        problems.wrong_type(layers, "layers", "a list of layers", help=help)
        return []
    if not layers.value:
        problems.add(layers.where, "E113", f"the block {quote(name)} has no layers", help="give it a layer")
    entries = list(layers.entries())
    for entry in entries:
        if not isinstance(entry.value, dict):
            problems.wrong_type(entry, "layers", "a table")
    names: dict[str, Traced] = {}
    for entry in entries:
        inner = entry.get("name")
        if inner is None or not isinstance(inner.value, str) or has_template(inner.value):
            continue
        check_inner_name(inner, problems)
        if inner.value in names:
            message = f"the name {quote(inner.value)} is used twice in the block {quote(name)}"
            problems.add(
                inner.where, "E202", message, help="give this layer another name",
                labels=label(names[inner.value].where, "first used here"),
            )  # fmt: skip
        names.setdefault(inner.value, inner)
    return entries


def check_inner_name(name: Traced, problems: Problems) -> bool:
    """Whether a name may be given inside a block; reported when not."""
    if name.value is UNKNOWN:
        return False
    if not isinstance(name.value, str):
        problems.no_name(name, "name", "text in quotes")
        return False
    if not SIMPLE_NAME.fullmatch(name.value):
        detail = {"type": "string_pattern_mismatch", "input": name.value}
        code, text = sentence(detail)
        help = respelt(detail) or f"name: {Entry.model_fields['name'].description}"
        problems.add(name.where, code, f"name: {text}", help=help)
        return False
    if INPUT.fullmatch(name.value):
        message = f"inside a block, {quote(name.value)} is what the block reads"
        problems.add(name.where, "E118", message, help="give this layer another name")
        return False
    return True
