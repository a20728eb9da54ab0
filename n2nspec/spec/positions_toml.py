"""The place of every key and value of a TOML text that `tomllib` accepts, from tree-sitter's grammar."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import tree_sitter_toml
from tree_sitter import Language, Parser

from n2nspec.diagnostics import Span
from n2nspec.spec.text import Lines, Path, Place

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["key_parts", "key_text", "positions"]


def positions(lines: Lines) -> Mapping[Path, Place]:
    """Place by path. A table's value is its header, an inline table's its braces; the root, `()`, is the
    beginning of the text."""
    tree = Parser(Language(tree_sitter_toml.language())).parse(lines.text.encode())
    return _Walk(lines).document(tree.root_node)


class _Walk:
    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        start = lines.span(1, 1, 1, 1)
        self.places: dict[Path, Place] = {(): Place(key=start, value=start)}
        self.lengths: dict[Path, int] = {}
        """Of the arrays of tables so far: a header below one means its last element."""

    def document(self, root: Node) -> Mapping[Path, Place]:
        for node in root.named_children:
            if node.type == "pair":
                self.pair((), node)
            elif node.type in ("table", "table_array_element"):
                self.table(node)
        return self.places

    def table(self, node: Node) -> None:
        header, *rest = node.named_children
        keys = key_parts(header)
        # the brackets are the anonymous children around the key
        brackets = [child for child in node.children if child.type in ("[", "[[", "]", "]]")]
        span = self.lines.of(brackets[0], brackets[-1])
        path: Path = ()
        for index, key in enumerate(keys):
            path = (*path, key_text(key))
            last = index == len(keys) - 1
            if last and node.type == "table_array_element":
                self.places.setdefault(path, Place(key=self.lines.of(key), value=span))
                self.lengths[path] = self.lengths.get(path, 0) + 1
            elif last:
                self.places[path] = Place(key=self.lines.of(key), value=span)
            else:
                self.places.setdefault(path, Place(key=self.lines.of(key), value=span))
            if path in self.lengths:
                path = (*path, self.lengths[path] - 1)
                self.places.setdefault(path, Place(key=self.lines.of(key), value=span))
        for pair in rest:
            if pair.type == "pair":
                self.pair(path, pair)

    def pair(self, path: Path, node: Node) -> None:
        children = [child for child in node.named_children if child.type != "comment"]
        if len(children) != 2:
            return
        keys, value = key_parts(children[0]), children[1]
        for key in keys:
            path = (*path, key_text(key))
            span = self.lines.of(key)
            if key is not keys[-1]:
                self.places.setdefault(path, Place(key=span, value=span))
        self.places[path] = Place(key=span, value=self.lines.of(value))
        self.value(path, value)

    def value(self, path: Path, node: Node) -> None:
        # recursion is bounded: `source` refuses documents that are nested too deeply before anyone gets here
        if node.type == "inline_table":
            for pair in node.named_children:
                if pair.type == "pair":
                    self.pair(path, pair)
        elif node.type == "array":
            items = [item for item in node.named_children if item.type != "comment"]
            for index, item in enumerate(items):
                span: Span = self.lines.of(item)
                self.places[(*path, index)] = Place(key=span, value=span)
                self.value((*path, index), item)


def key_parts(node: Node) -> list[Node]:
    """`a.b."c"` as three nodes; the grammar nests to the left."""
    parts: list[Node] = []
    while node.type == "dotted_key":
        node, last = node.named_children
        parts.append(last)
    return [node, *reversed(parts)]


def key_text(key: Node) -> str:
    """A part of a key without its quotes."""
    assert key.text is not None
    text = key.text.decode()
    return text if key.type == "bare_key" else str(tomllib.loads(f"key = {text}")["key"])
