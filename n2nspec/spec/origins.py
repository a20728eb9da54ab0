"""Where each value of a flat document was written, and how it came there.

Positions are looked for only when somebody asks: a spec without mistakes never pays for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from n2nspec.diagnostics import Label, Span
from n2nspec.spec.source import Source
from n2nspec.spec.text import Path
from n2nspec.spec.trace import Origin, Settings, Where, label

__all__ = ["NOWHERE", "Origins"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """The place of every value, and the files: the spec's own, then what it extends.

    `removed` has the layers of a base that are taken out, each with the place that says so.
    """

    where: Where
    sources: tuple[Source, ...] = ()
    removed: Mapping[str, Where] = field(default_factory=dict)

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

    def taken_out(self, name: str) -> tuple[tuple[Label, ...], str]:
        """Labels and help about a name that is missing because `remove` took the layer out; else empty."""
        where = self.removed.get(name.partition(".")[0])
        return (label(where, "removed here"), REMOVED) if where is not None else ((), "")

    def written(self, path: Path) -> Path:
        """The path, in the text that it is written in, of the value at a path."""
        return self.where.at(path).origin.path


REMOVED = "leave that layer in, or use another name here"
NOWHERE = Origins(where=Where(Origin(Settings(places={}))))
