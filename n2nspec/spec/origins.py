"""Where each value of a document was written.

In: a source text, and the values put over it from elsewhere. Out: `locate`, from a path to a span.
Positions are looked for only when somebody asks: a spec without mistakes never pays for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from n2nspec.diagnostics import Span
from n2nspec.spec.source import Source
from n2nspec.spec.text import Path, Place

__all__ = ["NOWHERE", "Origins"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """The text of a spec, and the places of those values that the text does not hold.

    `elsewhere` hides what the text says at its paths and below them.
    """

    source: Source | None = None
    elsewhere: Mapping[Path, Place] = field(default_factory=dict)

    @property
    def file(self) -> str:
        return self.source.file if self.source else ""

    def locate(self, path: Path, *, key: bool = False) -> Span | None:
        """The span of the value (or key) at a path, or of the nearest parent that has one."""
        places = self.source.places if self.source else {}
        for length in range(len(path), -1, -1):
            part = path[:length]
            place = self.elsewhere.get(part)
            if place is None and not self._hidden(part):
                place = places.get(part)
            if place is not None:
                return place.key if key and length == len(path) else place.value
        return None

    def _hidden(self, path: Path) -> bool:
        return any(path[:length] in self.elsewhere for length in range(len(path)))


NOWHERE = Origins()
