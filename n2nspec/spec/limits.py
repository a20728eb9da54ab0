"""How large a spec may become. What it says once, with blocks and `repeat`, must not fill the memory."""

from __future__ import annotations

from typing import Any

from n2nspec.spec.parse import DEEPEST
from n2nspec.spec.trace import Problems, Where

__all__ = ["MOST_LAYERS", "MOST_NESTED", "Budget", "TooLargeError", "measure"]

MOST_LAYERS = 100_000
"""Layers of the flat spec, and uses of blocks on the way there."""
MOST_NESTED = 32
"""Blocks inside blocks."""
MOST_VALUES = 2_000_000
"""Values of all layers of the flat spec, and names that their `from` lists."""


class TooLargeError(Exception):
    """Ends the expansion; the reason has been reported."""


def measure(value: Any) -> int:
    """How many values there are in a value, itself included; more than MOST_VALUES when nested too deeply.

    Counts what is met again and again each time, but never goes on past MOST_VALUES.
    """
    if not isinstance(value, (dict, list)):
        return 1
    total, level = 1, [value]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for outer in level:
            total += len(outer)
            if total > MOST_VALUES:
                return total
            inner += [
                item
                for item in (outer.values() if isinstance(outer, dict) else outer)
                if isinstance(item, (dict, list))
            ]
        level = inner
        if not level:
            return total
    return MOST_VALUES + 1


class Budget:
    """What is left to spend; spends on behalf of the entry of the spec that is being expanded."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._layers = self._uses = MOST_LAYERS
        self._values = MOST_VALUES
        self._sure_layers = self._sure_uses = 0
        self.entry: Where | None = None

    def layer(self) -> None:
        self._layers -= 1
        if self._layers < 0:
            self._stop(f"the spec grows to more than {MOST_LAYERS:,} layers")

    def use(self) -> None:
        self._uses -= 1
        if self._uses < 0:
            self._stop(f"the spec grows to more than {MOST_LAYERS:,} uses of blocks")

    def values(self, count: int) -> None:
        self._values -= count
        if self._values < 0:
            self._stop(f"the spec grows to more than {MOST_VALUES:,} values")

    def at_once(self, layers: int, uses: int) -> None:
        """Stops when so many more are sure to come of the entry: better than to make them first."""
        self._sure_layers += layers
        self._sure_uses += uses
        for count, what in ((self._sure_layers, "layers"), (self._sure_uses, "uses of blocks")):
            if count > MOST_LAYERS:
                self._stop(f"the spec grows to more than {MOST_LAYERS:,} {what}")

    def spent(self) -> tuple[int, ...]:
        """To be given to `forget`."""
        return self._layers, self._uses, self._values, self._sure_layers, self._sure_uses

    def forget(self, spent: tuple[int, ...]) -> None:
        """As if nothing had been spent since."""
        self._layers, self._uses, self._values, self._sure_layers, self._sure_uses = spent

    def _stop(self, message: str) -> None:
        assert self.entry is not None
        self._problems.add(self.entry, "E125", message, help="lower `repeat`, or nest fewer blocks")
        raise TooLargeError
