"""Where each value of a flat document was written, and how it came there.

Positions are looked for only when somebody asks: a spec without mistakes never pays for them.
"""

from __future__ import annotations

from dataclasses import dataclass

from n2nspec.diagnostics import Label, Span
from n2nspec.spec.source import Source
from n2nspec.spec.text import Path
from n2nspec.spec.trace import Origin, Settings, Where

__all__ = ["NOWHERE", "Origins"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """The place of every value, and the files: the spec's own, then what it extends."""

    where: Where
    sources: tuple[Source, ...] = ()

    @property
    def file(self) -> str:
        return self.sources[0].file if self.sources else ""

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(source.file for source in self.sources if source.file)

    def locate(self, path: Path, *, key: bool = False) -> Span | None:
        """The span of the value (or key) at a path, or of the nearest parent that has one."""
        return self.where.at(path).origin.span(key=key)

    def trail(self, path: Path, *, key: bool = False) -> tuple[Label, ...]:
        """How the value (or key) at a path came to be there."""
        origin = self.where.at(path).origin
        return origin.trail(origin.span(key=key))

    def written(self, path: Path) -> Path:
        """The path, in the text that it is written in, of the value at a path."""
        return self.where.at(path).origin.path


NOWHERE = Origins(where=Where(Origin(Settings(places={}))))
