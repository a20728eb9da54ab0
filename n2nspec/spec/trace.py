"""Values with the places where they were written, through every stage from the source to the flat document.

A `Traced` is a plain value and a `Where`: the place of the value itself, and the places of those of its parts
that come from elsewhere. What a `Where` does not mention came along with the table it is in, so moving a
table is free, and a document that no stage touches costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from n2nspec.diagnostics import (
    COMMAND_LINE,
    Diagnostic,
    Label,
    Span,
    describe_value,
    did_you_mean,
    render_path,
)
from n2nspec.spec.alike import as_one
from n2nspec.spec.nearest import EFFORT, Nearest
from n2nspec.spec.text import Path, Place

__all__ = [
    "EFFORT",
    "UNKNOWN",
    "Origin",
    "Problems",
    "Settings",
    "Step",
    "Text",
    "Traced",
    "Where",
    "is_unknown",
    "label",
]

MOST_STEPS = 12
"""Of a trail; the nearest are kept."""


class _Unknown:
    """Stands for a value that could not be worked out, which has been reported: no more is said of it."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __deepcopy__(self, memo: object) -> _Unknown:
        return self  # there is one


UNKNOWN = _Unknown()


def is_unknown(value: Any) -> bool:
    """Whether a value, or something in a list, could not be worked out."""
    return value is UNKNOWN or (isinstance(value, list) and any(is_unknown(item) for item in value))


class Text(Protocol):
    """What values are written in: a file, or the command line."""

    @property
    def file(self) -> str: ...

    @property
    def places(self) -> Mapping[Path, Place]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values given as `--set`, by their path in the document."""

    places: Mapping[Path, Place]
    file: str = COMMAND_LINE


@dataclass(frozen=True, slots=True)
class Step:
    """A place on the way of a value into the flat document, and what happened there."""

    text: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written.

    Attributes:
        source: the text it stands in.
        path: its place in the document of that text.
        via: how it came from there to where it is now, last step first.
        value_of: for a value that is `${name}` and nothing else, where `name` got its value.
    """

    source: Text
    path: Path = ()
    via: tuple[Step, ...] = ()
    value_of: Origin | None = None

    def part(self, key: str | int) -> Origin:
        inner = self.value_of.part(key) if self.value_of is not None else None
        return Origin(self.source, (*self.path, key), self.via, inner)

    def after(self, steps: tuple[Step, ...]) -> Origin:
        """The same place, reached by more steps."""
        fresh = [step for step in steps if step not in self.via] if self.via else steps
        return Origin(self.source, self.path, (*self.via, *fresh)[:MOST_STEPS], self.value_of)

    def span(self, *, key: bool = False) -> Span | None:
        """The span of the value (or key), or of the nearest table around it that has one."""
        places = self.source.places
        for length in range(len(self.path), -1, -1):
            place = places.get(self.path[:length])
            if place is not None:
                return place.key if key and length == len(self.path) else place.value
        return None

    def trail(self, span: Span | None = None) -> tuple[Label, ...]:
        """The steps as labels, but for those at the span that the diagnostic shows anyway."""
        labels: list[Label] = []
        seen = {span}
        for step in self.via:
            place = step.origin.span()
            if place is not None and place not in seen:
                seen.add(place)
                labels.append(Label(span=place, text=step.text))
        return tuple(labels)

    def mistake(self, *, key: bool = False) -> tuple[int, Path]:
        """What two values (or keys) that are wrong for one reason have in common."""
        origin = self if key else self.root
        return id(origin.source), origin.path

    @property
    def in_block(self) -> Origin:
        """For a value that is a parameter of a block: where the block asks for it, whatever its uses give."""
        given = self.value_of
        if given is None or self.path[:1] != ("blocks",) or given.path[:1] == ("vars",):
            return self
        return replace(self, value_of=None)

    @property
    def root(self) -> Origin:
        """Where the value got what it is: for `${name}`, and nothing else, where `name` did."""
        origin = self
        while origin.value_of is not None:
            origin = origin.value_of
        return origin


@dataclass(frozen=True, slots=True)
class Where:
    """Where a value and its parts were written; a part that is not mentioned is where the whole is."""

    origin: Origin
    parts: Mapping[str | int, Where] = field(default_factory=dict)

    def part(self, key: str | int) -> Where:
        return self.parts.get(key) or Where(self.origin.part(key))

    def at(self, path: Path) -> Where:
        where = self
        for key in path:
            where = where.part(key)
        return where

    def after(self, *steps: Step) -> Where:
        """The same, reached by more steps."""
        if not steps:
            return self
        return self._after(steps)

    def _after(self, steps: tuple[Step, ...]) -> Where:
        parts = {key: part._after(steps) for key, part in self.parts.items()}
        return Where(self.origin.after(steps), parts)


@dataclass(frozen=True, slots=True)
class Traced:
    """A value and where it was written. Never changed: stages make new ones that share what stays."""

    value: Any
    where: Where

    def part(self, key: str | int) -> Traced:
        return Traced(self.value[key], self.where.part(key))

    def get(self, key: str) -> Traced | None:
        return self.part(key) if isinstance(self.value, dict) and key in self.value else None

    def items(self) -> Iterator[tuple[str, Traced]]:
        return ((key, self.part(key)) for key in self.value)

    def entries(self) -> Iterator[Traced]:
        return (self.part(index) for index in range(len(self.value)))

    def with_(self, changes: Mapping[str, Traced], *, without: tuple[str, ...] = ()) -> Traced:
        """A table with keys added, replaced or left out."""
        value = {key: item for key, item in self.value.items() if key not in without}
        parts = {key: part for key, part in self.where.parts.items() if key not in without}
        for key, change in changes.items():
            value[key], parts[key] = change.value, change.where
        return Traced(value, Where(self.where.origin, parts))

    def after(self, *steps: Step) -> Traced:
        return Traced(self.value, self.where.after(*steps))

    @staticmethod
    def listing(items: list[Traced], origin: Origin) -> Traced:
        return Traced(
            [item.value for item in items], Where(origin, {i: item.where for i, item in enumerate(items)})
        )


MISSING = frozenset({"E111", "E122"})
MISSING_OUTSIDE = frozenset({"E202", "E203"})
"""Codes of what a base could make right; these in a block it could not."""


class Problems:
    """Collects what stages find; one mistake, however often it is met, is told once.

    `partial` says that the base of the spec is not known, which is told: what its own text does not have may
    well be there.
    """

    def __init__(self, *, partial: bool = False) -> None:
        self.partial = partial
        self.found: list[tuple[Diagnostic, Origin]] = []
        self._seen: set[object] = set()
        self._alike: dict[Hashable, list[Diagnostic]] = {}
        self._effort = EFFORT
        self.nearest = Nearest()

    def __bool__(self) -> bool:
        return bool(self.found)

    def told(self, *, files: Sequence[str] = (), tables: Sequence[str] = ()) -> list[Diagnostic]:
        """All that was found; the order of files and tables is that of the text."""
        if not self._alike:
            return [diagnostic for diagnostic, _ in self.found]
        several = {id(alike[0]): alike for alike in self._alike.values() if len(alike) > 1}
        return [
            as_one(several[id(diagnostic)], files=files, tables=tables)
            if id(diagnostic) in several
            else diagnostic
            for diagnostic, _ in self.found
        ]

    def is_new(self, where: Where, code: str, *, key: bool = False, reason: Hashable = None) -> bool:
        """Whether this mistake is met for the first time."""
        mistake = (*where.origin.mistake(key=key), code, key, reason)
        if mistake in self._seen:
            return False
        self._seen.add(mistake)
        return True

    def add(
        self, where: Where, code: str, message: str, *, key: bool = False, help: str = "",
        labels: tuple[Label, ...] = (), narrow: Callable[[Span], Span] | None = None,
        reason: Hashable = None,
    ) -> None:  # fmt: skip
        """A mistake at a value, or with `key` at its key; `narrow` makes a span of a part of the value's.

        Those of one `reason` are told as one.
        """
        origin = where.origin
        if self.partial and (code in MISSING or (code in MISSING_OUTSIDE and origin.path[:1] != ("blocks",))):
            return
        if not self.is_new(where, code, key=key, reason=reason):
            return
        span = origin.span(key=key)
        if span is not None and narrow is not None:
            span = narrow(span)
        if span is not None and (code, span, message) in self._seen:
            return  # seen from another body, where it has another path
        self._seen.add((code, span, message))
        diagnostic = Diagnostic(
            code=code, message=message, file=origin.source.file, span=span, path=render_path(origin.path),
            help=help, labels=(*labels, *origin.trail(span)),
        )  # fmt: skip
        if reason is not None:
            alike = self._alike.setdefault(reason, [])
            alike.append(diagnostic)
            if len(alike) > 1:
                return
        self.found.append((diagnostic, origin))

    def tell(self, diagnostic: Diagnostic, where: Where) -> None:
        """A mistake that is a diagnostic already."""
        self.found.append((diagnostic, where.origin))

    def suggest(self, word: str, options: Collection[str]) -> str:
        """A `help` text about what was probably meant; nothing once too much time went into such texts."""
        if not options or self._effort <= 0:
            return ""
        self._effort -= len(options)
        return did_you_mean(word, options)

    def wrong_type(self, item: Traced, what: str, expected: str, *, help: str = "") -> None:
        if not is_unknown(item.value):
            received = describe_value(item.value)
            self.add(item.where, "E112", f"{what}: expected {expected}; received {received}", help=help)

    def no_name(self, item: Traced, what: str, expected: str, *, help: str = "") -> None:
        """Of what names a layer or block: a parameter there is one mistake of the body, whatever is given."""
        self.wrong_type(Traced(item.value, Where(item.where.origin.in_block)), what, expected, help=help)


def label(where: Where, text: str, *, key: bool = False) -> tuple[Label, ...]:
    """A label at a value, where there is a text to point at."""
    span = where.origin.span(key=key)
    return (Label(span=span, text=text),) if span is not None else ()
