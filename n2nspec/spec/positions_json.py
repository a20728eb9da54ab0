"""The place of every key and value of a JSON text that `json` accepts, from tree-sitter's grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import tree_sitter_json
from tree_sitter import Language, Parser

from n2nspec.diagnostics import Span, quote
from n2nspec.spec.syntax import Twice
from n2nspec.spec.text import Lines, Path, Place

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["duplicates", "positions"]


def positions(lines: Lines) -> Mapping[Path, Place]:
    """Place by path; the root, `()`, is where the outermost object opens."""
    root = _root(lines)
    if root is None:
        return {}
    start = lines.of(root)
    opening = lines.span(start.line, start.column, start.line, start.column + 1)
    return {(): Place(key=opening, value=opening), **{path: place for path, place, _ in _walk(lines, root)}}


def duplicates(lines: Lines) -> list[Twice]:
    """Every key that an object has again, in the order of the text."""
    found: list[Twice] = []
    seen: dict[tuple[int, str], Span] = {}
    root = _root(lines)
    for path, place, owner in _walk(lines, root) if root else ():
        key = path[-1]
        if isinstance(key, str):
            first = seen.setdefault((owner, key), place.key)
            if first is not place.key:
                found.append(
                    Twice(first=first, second=place.key, message=f"the key {quote(key)} is written twice")
                )
    return sorted(found, key=lambda twice: (twice.second.line, twice.second.column))


# strings, to be passed over, and the exponents that JSON allows and the grammar (0.24) does not
_EXPONENT = re.compile(r'"(?:[^"\\]|\\.)*+"|[eE]\+')


def _root(lines: Lines) -> Node | None:
    """The outermost object. `1e+5` is shown to the parser as `1e05`, which is as long."""
    text = _EXPONENT.sub(lambda found: found[0] if found[0][0] == '"' else "e0", lines.text)
    tree = Parser(Language(tree_sitter_json.language())).parse(text.encode())
    return next((node for node in tree.root_node.named_children if node.type == "object"), None)


def _walk(lines: Lines, root: Node) -> Iterator[tuple[Path, Place, int]]:
    """Path, place, and the object or list it is in; objects before their values, in no other order."""
    waiting: list[tuple[Path, Node]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if node.type == "object":
            for pair in node.named_children:
                key, value = pair.child_by_field_name("key"), pair.child_by_field_name("value")
                if key is None or value is None or key.text is None:
                    continue
                part = (*path, json.loads(key.text, strict=False))
                yield part, Place(key=lines.of(key), value=lines.of(value)), node.id
                waiting.append((part, value))
        elif node.type == "array":
            items = (item for item in node.named_children if item.type != "comment")
            for index, item in enumerate(items):
                span = lines.of(item)
                yield (*path, index), Place(key=span, value=span), node.id
                waiting.append(((*path, index), item))
