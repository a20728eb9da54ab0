"""How large an expansion is at least, found without making it.

In: the blocks. Out: for an entry of the spec, a number of layers and of uses of blocks that its expansion is
sure to have. What depends on parameters counts once. A block is looked at once, however often it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from n2nspec.spec.blocks import Block
from n2nspec.spec.limits import MOST_NESTED

__all__ = ["Least"]

_Size = tuple[int, int]


class Least:
    """Layers and uses of blocks; of a circle of blocks, what one turn has."""

    def __init__(self, blocks: Mapping[str, Block | None]) -> None:
        self._blocks = blocks
        self._known: dict[str, _Size] = {}

    def of(self, entry: Any, depth: int = 0) -> _Size:
        """(layers, uses) of an entry."""
        if not isinstance(entry, dict):
            return 1, 0
        repeat = entry.get("repeat")
        copies = repeat if isinstance(repeat, int) and repeat > 0 else 1
        if "block" not in entry:
            return copies, 0
        name = entry["block"]
        layers, uses = self._inside(name, depth) if isinstance(name, str) else (0, 0)
        return copies * layers, copies * (uses + 1)

    def _inside(self, name: str, depth: int) -> _Size:
        block = self._blocks.get(name)
        if block is None or depth > MOST_NESTED:
            return 0, 0
        if name not in self._known:
            self._known[name] = 0, 0  # for a circle that comes back here
            sizes = [self.of(layer.value, depth + 1) for layer, _ in block.layers]
            self._known[name] = sum(size[0] for size in sizes), sum(size[1] for size in sizes)
        return self._known[name]
