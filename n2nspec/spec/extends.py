"""`extends = "base.toml"`: a spec that says only where it differs from another.

In: a source. Out: one document, the base with the source's values over it, and the files it took. The path is
relative to the file that names it, or to the working folder for a spec given as a dict. Chains are followed.

The base must lie in the project: the folder of the spec that was asked for, or the working folder, or below
one of them, after following links. So a spec from elsewhere cannot have other files of the machine read, and
a project that is copied still works. Only `extends` itself (and `plugins`) is relative to its file: the paths
under `[data]` start at the working folder, whichever file they stand in.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath

from n2nspec.diagnostics import DiagnosticError, Label, closest, describe_value, quote
from n2nspec.spec.merge import merge
from n2nspec.spec.misspelt import put_in_place
from n2nspec.spec.source import SUFFIXES, Source, read
from n2nspec.spec.trace import Origin, Problems, Step, Traced, Where

__all__ = ["Merged", "follow"]

LONGEST_CHAIN = 32
LONGEST_PATH = 60
"""Characters of a path that a message shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A spec over what it extends.

    Attributes:
        document: without `extends`.
        sources: every source in it: the given one, its base, the next.
        removed: the layers that `remove` took out, each with where it says so.
    """

    document: Traced
    sources: tuple[Source, ...]
    removed: Mapping[str, Where] = field(default_factory=dict)


def follow(source: Source, problems: Problems) -> Merged:
    """The source over its base, that over the next, and so on; without one that cannot be read."""
    chain = [source]
    steps: tuple[Step, ...] = ()
    documents = [_traced(source, steps, problems)]
    while (named := documents[-1].get("extends")) is not None:
        base = _open(named, chain, problems)
        if base is None:
            problems.partial = True
            documents.append(Traced({}, documents[-1].where))
            break
        chain.append(base)
        steps = (Step("extended here", named.where.origin), *steps)
        documents.append(_traced(base, steps, problems))
    document = documents.pop()
    removed: dict[str, Where] = {}
    while documents:
        document = merge(document, documents.pop().with_({}, without=("extends",)), problems, removed)
    return Merged(document=document, sources=tuple(chain), removed=removed)


def _traced(source: Source, steps: tuple[Step, ...], problems: Problems) -> Traced:
    return put_in_place(Traced(source.document, Where(Origin(source, (), steps))), problems)


def _open(named: Traced, chain: list[Source], problems: Problems) -> Source | None:
    """The base that the last file of the chain names; None when there is a problem with it."""
    value = named.value
    if not isinstance(value, str):
        problems.wrong_type(named, "extends", "the path of a spec", help='for example extends = "base.toml"')
        return None
    if not value or "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        problems.add(named.where, "E124", f"{describe_value(value)} is no path")
        return None
    file = FilePath(os.path.normpath(FilePath(chain[-1].file).parent / value))
    problem, help = _refusal(file, chain)
    if problem:
        problems.add(named.where, "E124", problem, help=help)
        return None
    try:
        return read(file)
    except DiagnosticError as error:
        first = error.diagnostics[0]
        if first.span is None:
            problems.add(named.where, "E124", f"{value}: {first.message}", help=first.help)
            return None
        span = named.where.origin.span()
        here = (Label(span=span, text="extended here"),) if span else ()
        for fault in error.diagnostics:
            problems.tell(replace(fault, labels=(*fault.labels, *here)), named.where)
        return None


def _refusal(file: FilePath, chain: list[Source]) -> tuple[str, str]:
    """Why a file cannot be a base, and what to do; empty when it can."""
    if len(chain) > LONGEST_CHAIN:
        return f"more than {LONGEST_CHAIN} files extend one another", "bring some of them together"
    try:
        real = os.path.realpath(file, strict=True)
    except OSError as error:
        return _unreachable(file, error, chain)
    top = FilePath(chain[0].file).parent if chain[0].file else FilePath()
    roots = {os.path.realpath(top), os.path.realpath(FilePath())}
    if not any(FilePath(real).is_relative_to(root) for root in roots):
        return (
            f"{_shown(file)} lies outside of the project",
            "a base lies in the folder of the spec, or in the folder that the command runs in, or below;"
            " copy the file there",
        )
    if not os.path.isfile(real):
        return f"{_shown(file)} is no file", "name a spec: a .toml or .json file"
    known = [os.path.realpath(source.file) if source.file else "" for source in chain]
    if real in known:
        way = [source.file for source in chain[known.index(real) :]]
        return f"a file extends itself: {' → '.join([*way, str(file)])}", "take one `extends` out"
    return "", ""


def _unreachable(file: FilePath, error: OSError, chain: list[Source]) -> tuple[str, str]:
    if error.errno == errno.ENOENT:
        return f"there is no file {_shown(file)}", _near(file, chain)
    if error.errno == errno.ELOOP:
        return f"{_shown(file)} is a link that leads to itself", "name the file itself"
    return f"cannot read {_shown(file)}: {error.strerror or error}", ""


def _shown(file: FilePath) -> str:
    """A path in quotes; of a long one the end, which tells more than its beginning."""
    text = str(file)
    return quote(text if len(text) <= LONGEST_PATH else "…" + text[1 - LONGEST_PATH :])


def _near(file: FilePath, chain: list[Source]) -> str:
    """Another spec of a similar name, if it could be a base."""
    taken = {os.path.realpath(source.file) for source in chain if source.file}
    try:
        specs = [item for item in file.parent.iterdir() if item.suffix.lower() in SUFFIXES]
    except OSError:
        specs = []
    names = [item.name for item in specs if os.path.realpath(item) not in taken]
    near = closest(file.name, names)
    if near:
        return f"did you mean {quote(near)}?"
    return "the path is relative to the file that names it"
