"""The place of every key and value of a JSON text that `json` accepts, from tree-sitter's grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import tree_sitter_json
from tree_sitter import Language, Parser

from n2nspec.diagnostics import Span
from n2nspec.spec.text import Lines, Path, Place

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["duplicate", "positions"]


def positions(lines: Lines) -> Mapping[Path, Place]:
    """Place by path; the root, `()`, is where the outermost object opens."""
    root = _root(lines)
    if root is None:
        return {}
    start = lines.of(root)
    opening = lines.span(start.line, start.column, start.line, start.column + 1)
    return {(): Place(key=opening, value=opening), **{path: place for path, place, _ in _walk(lines, root)}}


def duplicate(lines: Lines) -> tuple[Span, Span] | None:
    """The two places of the first key that an object has twice."""
    seen: dict[Path, Span] = {}
    root = _root(lines)
    for path, place, is_item in _walk(lines, root) if root else ():
        if is_item:
            continue
        if path in seen:
            return seen[path], place.key
        seen[path] = place.key
    return None


# strings, to be passed over, and the exponents that JSON allows and the grammar (0.24) does not
_EXPONENT = re.compile(r'"(?:[^"\\]|\\.)*+"|[eE]\+')


def _root(lines: Lines) -> Node | None:
    """The outermost object. `1e+5` is shown to the parser as `1e05`, which is as long."""
    text = _EXPONENT.sub(lambda found: found[0] if found[0][0] == '"' else "e0", lines.text)
    tree = Parser(Language(tree_sitter_json.language())).parse(text.encode())
    return next((node for node in tree.root_node.named_children if node.type == "object"), None)


def _walk(lines: Lines, root: Node) -> Iterator[tuple[Path, Place, bool]]:
    """Path, place, and whether it is an item of a list; objects before their values, in no other order."""
    waiting: list[tuple[Path, Node]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if node.type == "object":
            for pair in node.named_children:
                key, value = pair.child_by_field_name("key"), pair.child_by_field_name("value")
                if key is None or value is None or key.text is None:
                    continue
                part = (*path, json.loads(key.text, strict=False))
                yield part, Place(key=lines.of(key), value=lines.of(value)), False
                waiting.append((part, value))
        elif node.type == "array":
            items = (item for item in node.named_children if item.type != "comment")
            for index, item in enumerate(items):
                span = lines.of(item)
                yield (*path, index), Place(key=span, value=span), True
                waiting.append(((*path, index), item))
