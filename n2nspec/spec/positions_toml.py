"""The place of every key and value of a TOML text that `tomllib` accepts, from tree-sitter's grammar."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import tree_sitter_toml
from tree_sitter import Language, Parser

from n2nspec.spec.text import Lines, Path, Place

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["key_parts", "key_text", "positions"]


def positions(lines: Lines) -> Mapping[Path, Place]:
    """Place by path. A table's value is its header, an inline table's its braces; the root, `()`, is the
    beginning of the text."""
    tree = Parser(Language(tree_sitter_toml.language())).parse(lines.text.encode())
    return _Positions(lines, tree.root_node)


class _Positions(Mapping[Path, Place]):
    """Reads the headers at once, and what stands under one when something there is asked for."""

    def __init__(self, lines: Lines, root: Node) -> None:
        self._lines = lines
        self._headers: dict[Path, tuple[Node, int]] = {}
        """A table, and which part of the key in its header."""
        self._marks: dict[Path, tuple[Node, Node]] = {}
        """Key and value."""
        self._unread: dict[Path, list[Node]] = {}
        """Tables, and pairs that stand in none, by the path of what is in them."""
        self._lengths: dict[Path, int] = {}
        """Of the arrays of tables so far: a header below one means its last element."""
        self._spelt: dict[bytes | None, list[str]] = {}
        """The parts of a key as it is written; headers repeat each other."""
        for node in root.named_children:
            if node.type == "pair":
                self._unread.setdefault((), []).append(node)
            elif node.type in ("table", "table_array_element"):
                self._unread.setdefault(self._header(node), []).append(node)

    def __getitem__(self, path: Path) -> Place:
        for length in range(len(path) + 1):
            for node in self._unread.pop(path[:length], ()):
                for pair in (node,) if node.type == "pair" else node.named_children[1:]:
                    if pair.type == "pair":
                        self._pair(path[:length], pair)
        if not path:
            start = self._lines.span(1, 1, 1, 1)
            return Place(key=start, value=start)
        if path in self._marks:
            key, value = self._marks[path]
            return Place(key=self._lines.of(key), value=self._lines.of(value))
        table, part = self._headers[path]
        opening, header, closing = _bracketed(table)
        return Place(key=self._lines.of(key_parts(header)[part]), value=self._lines.of(opening, closing))

    def __iter__(self) -> Iterator[Path]:
        for path in list(self._unread):
            self.get(path)
        return iter({(): None, **self._headers, **self._marks})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _header(self, node: Node) -> Path:
        """The path of the table that a header begins."""
        header = node.child(1)
        assert header is not None
        keys = self._spelt.get(header.text)
        if keys is None:
            keys = self._spelt[header.text] = [key_text(key) for key in key_parts(header)]
        path: Path = ()
        for part, key in enumerate(keys):
            path = (*path, key)
            if part < len(keys) - 1:
                self._headers.setdefault(path, (node, part))
            elif node.type == "table_array_element":
                self._headers.setdefault(path, (node, part))
                self._lengths[path] = self._lengths.get(path, 0) + 1
            else:
                self._headers[path] = (node, part)
            if path in self._lengths:
                path = (*path, self._lengths[path] - 1)
                self._headers.setdefault(path, (node, part))
        return path

    def _pair(self, path: Path, node: Node) -> None:
        children = [child for child in node.named_children if child.type != "comment"]
        if len(children) != 2:
            return
        keys, value = key_parts(children[0]), children[1]
        for key in keys[:-1]:
            path = (*path, key_text(key))
            below = self._headers.get(path)  # [a.b.c] after b.d = 1 in [a]
            if below is None or key.start_byte < below[0].start_byte:
                self._marks.setdefault(path, (key, key))
        path = (*path, key_text(keys[-1]))
        self._marks[path] = (keys[-1], value)
        self._value(path, value)

    def _value(self, path: Path, node: Node) -> None:
        # recursion is bounded: `source` refuses documents that are nested too deeply before anyone gets here
        if node.type == "inline_table":
            for pair in node.named_children:
                if pair.type == "pair":
                    self._pair(path, pair)
        elif node.type == "array":
            items = [item for item in node.named_children if item.type != "comment"]
            for index, item in enumerate(items):
                self._marks[(*path, index)] = (item, item)
                self._value((*path, index), item)


def _bracketed(table: Node) -> tuple[Node, Node, Node]:
    """Bracket, key and bracket of a header."""
    opening, header, closing = table.child(0), table.child(1), table.child(2)
    assert opening is not None
    assert header is not None
    assert closing is not None
    return opening, header, closing


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
