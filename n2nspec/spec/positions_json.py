"""The place of every key and value of a JSON text that `json` accepts, from tree-sitter's grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import tree_sitter_json
from tree_sitter import Language, Parser

from n2nspec.diagnostics import quote
from n2nspec.spec.syntax import Twice
from n2nspec.spec.text import Lines, Path, Place

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["duplicates", "positions"]


def positions(lines: Lines) -> Mapping[Path, Place]:
    """Place by path; the root, `()`, is where the outermost object opens."""
    root = _root(lines)
    return _Positions(lines, root) if root is not None else {}


class _Positions(Mapping[Path, Place]):
    """Looks into an object or a list when something in it is asked for."""

    def __init__(self, lines: Lines, root: Node) -> None:
        self._lines = lines
        self._root = root
        self._inside: dict[Path, dict[str | int, tuple[Node, Node]]] = {}
        """Key and value of each part of what is at a path."""

    def __getitem__(self, path: Path) -> Place:
        if not path:
            start = self._lines.of(self._root)
            opening = self._lines.span(start.line, start.column, start.line, start.column + 1)
            return Place(key=opening, value=opening)
        key, value = self._parts(path[:-1])[path[-1]]
        return Place(key=self._lines.of(key), value=self._lines.of(value))

    def _parts(self, path: Path) -> dict[str | int, tuple[Node, Node]]:
        if path not in self._inside:
            node = self._parts(path[:-1])[path[-1]][1] if path else self._root
            self._inside[path] = {part: (key, value) for part, key, value in _inside(node)}
        return self._inside[path]

    def __iter__(self) -> Iterator[Path]:
        waiting: list[Path] = [()]
        while waiting:
            path = waiting.pop()
            yield path
            waiting += [(*path, part) for part in self._parts(path)]

    def __len__(self) -> int:
        return sum(1 for _ in self)


def duplicates(lines: Lines) -> list[Twice]:
    """Every key that an object has again, in the order of the text."""
    found: list[Twice] = []
    root = _root(lines)
    waiting = [root] if root is not None else []
    while waiting:
        first: dict[str | int, Node] = {}
        for part, key, value in _inside(waiting.pop()):
            if first.setdefault(part, key) is not key:
                message = f"the key {quote(str(part))} is written twice"
                found.append(Twice(first=lines.of(first[part]), second=lines.of(key), message=message))
            waiting.append(value)
    return sorted(found, key=lambda twice: (twice.second.line, twice.second.column))


# strings, to be passed over, and the exponents that JSON allows and the grammar (0.24) does not
_EXPONENT = re.compile(r'"(?:[^"\\]|\\.)*+"|[eE]\+')


def _root(lines: Lines) -> Node | None:
    """The outermost object. `1e+5` is shown to the parser as `1e05`, which is as long."""
    text = _EXPONENT.sub(lambda found: found[0] if found[0][0] == '"' else "e0", lines.text)
    tree = Parser(Language(tree_sitter_json.language())).parse(text.encode())
    return next((node for node in tree.root_node.named_children if node.type == "object"), None)


def _inside(node: Node) -> Iterator[tuple[str | int, Node, Node]]:
    """What is in an object or a list: key or index, the node of the key (the value, in a list), the value."""
    if node.type == "object":
        for pair in node.named_children:
            key, value = pair.child_by_field_name("key"), pair.child_by_field_name("value")
            if key is not None and value is not None and key.text is not None:
                yield json.loads(key.text, strict=False), key, value
    elif node.type == "array":
        items = (item for item in node.named_children if item.type != "comment")
        for index, item in enumerate(items):
            yield index, item, item
