"""Keys and tables that a TOML text has twice.

In: a text that tomllib refuses, perhaps for such a key. Out: all
of them, up to the first thing that is no TOML.

The rules are those of tomllib: https://toml.io/en/v1.0.0, sections "Keys", "Table" and "Array of Tables".
"""

from __future__ import annotations

import tomllib
from itertools import count
from typing import TYPE_CHECKING, Literal

import tree_sitter_toml
from tree_sitter import Language, Parser

from n2nspec.diagnostics import Span, quote
from n2nspec.spec.positions_toml import key_parts, key_text
from n2nspec.spec.syntax import Twice
from n2nspec.spec.text import Lines, Path

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["duplicates"]

Kind = Literal["value", "table", "implied", "dotted", "layers"]
"""How a key came to be: with a value; by its header; by the header of a table in it; by a dotted key; by a
header of two brackets."""

LISTS = ("encoder", "decoder", "layers")
"""Where an author who writes a table again means another entry of a list."""


def duplicates(lines: Lines, text: str, most: int) -> list[Twice]:
    """The first so many; `lines` are as the author wrote them, those of `text` may be put right."""
    tree = Parser(Language(tree_sitter_toml.language())).parse(text.encode())
    walk = _Walk(lines)
    for node in tree.root_node.named_children:
        try:
            walk.statement(node)
        except tomllib.TOMLDecodeError:  # a key with an impossible escape
            break
        if node.has_error or len(walk.found) >= most:
            break
    return sorted(walk.found, key=lambda again: (again.second.line, again.second.column))[:most]


class _Walk:
    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.found: list[Twice] = []
        self.known: dict[Path, tuple[Kind, Span, int]] = {}
        """Kind, place, and the number of the section whose dotted key made it."""
        self.lengths: dict[Path, int] = {}
        self.section = 0
        self.fresh = count(-1, -1)
        """Keys of tables that are there again are compared with one another only."""

    def statement(self, node: Node) -> None:
        if node.type == "pair" and not node.has_error:
            self.pair((), node)
        elif node.type in ("table", "table_array_element"):
            self.section += 1
            header, *rest = node.named_children
            if header.type == "ERROR" or header.has_error:
                return
            path = self.header(node, header)
            for child in rest:
                if child.type == "ERROR" or child.has_error:
                    return
                if child.type == "pair":
                    self.pair(path, child)

    def header(self, node: Node, header: Node) -> Path:
        parts = key_parts(header)
        path: Path = ()
        for part in parts[:-1]:
            path = (*path, key_text(part))
            kind, first, _ = self.known.setdefault(path, ("implied", self.lines.of(part), self.section))
            if kind == "value":
                return self.both(part, first)
            if kind == "layers":
                path = (*path, self.lengths[path] - 1)
        last, path = parts[-1], (*path, key_text(parts[-1]))
        several = node.type == "table_array_element"
        kind, first, _ = self.known.get(path, ("implied", self.lines.of(last), 0))
        if kind == "value":
            return self.both(last, first)
        if several and kind == "layers":
            self.lengths[path] += 1
        elif kind != "implied" or (several and path in self.known):
            return self.again(last, header, first, str(path[-1]))
        else:
            self.known[path] = ("layers" if several else "table", self.lines.of(last), self.section)
            self.lengths[path] = 1
        return (*path, self.lengths[path] - 1) if several else path

    def again(self, part: Node, header: Node, first: Span, name: str) -> Path:
        text = header.text.decode() if header.text else name
        help = "write all its keys under one header"
        if name in LISTS:
            help = f"write [[{text}]], with two brackets, above each of several"
        message = f"the table [{text}] is written twice"
        self.found.append(Twice(first=first, second=self.lines.of(part), message=message, help=help))
        return (next(self.fresh),)

    def both(self, part: Node, first: Span) -> Path:
        message = f"{quote(key_text(part))} is written as a value, and again as a table"
        self.found.append(Twice(first=first, second=self.lines.of(part), message=message))
        return (next(self.fresh),)

    def pair(self, path: Path, node: Node) -> None:
        children = [child for child in node.named_children if child.type != "comment"]
        if len(children) != 2:
            return
        *before, last = key_parts(children[0])
        for part in before:
            path = (*path, key_text(part))
            kind, first, section = self.known.setdefault(path, ("dotted", self.lines.of(part), self.section))
            if kind in ("value", "table", "layers") or (kind == "dotted" and section != self.section):
                self.twice(part, first)
                return
        path = (*path, key_text(last))
        if path in self.known:
            self.twice(last, self.known[path][1])
            return
        self.known[path] = ("value", self.lines.of(last), self.section)
        self.inside(path, children[1])

    def twice(self, part: Node, first: Span) -> None:
        message = f"the key {quote(key_text(part))} is written twice"
        self.found.append(Twice(first=first, second=self.lines.of(part), message=message))

    def inside(self, path: Path, node: Node) -> None:
        """Inline tables, wherever in a value they are; tomllib has bounded the depth by then."""
        if node.type == "inline_table":
            own = (next(self.fresh),)
            for child in node.named_children:
                if child.type == "pair":
                    self.pair(own, child)
        elif node.type == "array":
            for child in node.named_children:
                self.inside(path, child)
