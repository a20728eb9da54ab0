"""Diagnostics of the graph: where in the spec, in which order, and what was probably meant.

In: a spec, a path in its document, and what is wrong there. Out: a `Diagnostic` that points at the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from n2nspec.diagnostics import (
    Diagnostic,
    Label,
    Span,
    did_you_mean,
    in_source_order,
    quote,
    render_path,
)
from n2nspec.graph.model import DocumentPath
from n2nspec.spec import Spec, is_name

__all__ = ["Names", "at", "in_order", "label", "once"]

EFFORT = 100_000
"""Names compared in search of likely ones; a spec of thousands of wrong names is still checked at once."""


def at(
    spec: Spec,
    path: DocumentPath,
    code: str,
    message: str,
    *,
    show: str = "",
    help: str = "",
    labels: Iterable[Label | None] = (),
) -> Diagnostic:
    """A diagnostic about the value at a path, with other places that matter and how the value got there.

    `show` is a key below the path that says more than the whole, such as a layer's name.
    """
    span = spec.locate((*path, show) if show else path)
    kept: dict[Span, Label] = {}
    for other in (*labels, *spec.trail(path)):
        if other is not None and other.span != span:
            kept.setdefault(other.span, other)
    return Diagnostic(
        code=code, message=message, file=spec.source_file, span=span,
        path=render_path(spec.written(path)), help=help, labels=tuple(kept.values()),
    )  # fmt: skip


def label(spec: Spec, path: DocumentPath, text: str, *, key: bool = False) -> Label | None:
    """A second place, where the spec has a text to point at: a value, or its key."""
    span = spec.locate(path, key=key)
    return Label(span=span, text=text) if span else None


def in_order(spec: Spec, problems: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """As the spec's author reads them."""
    return in_source_order(problems, files=spec.source_files, tables=tuple(Spec.model_fields))


def once(found: Iterable[Diagnostic]) -> Iterable[Diagnostic]:
    """Without the repetitions of one in a block that is used many times."""
    first: dict[object, Diagnostic] = {}
    for diagnostic in found:
        first.setdefault((diagnostic.code, diagnostic.path, diagnostic.span), diagnostic)
    return first.values()


class Names:
    """The names that a spec may refer to, for the wording of an error about one that is not among them.

    `input` is the name of the input where only a layer will do.
    """

    def __init__(self, names: Sequence[str], *, input: str | None = None) -> None:
        self._input = input
        # not one that cannot be a name: the author's, which is reported, or one in place of it
        self._names = [name for name in dict.fromkeys(names) if is_name(name)]
        self._helps: dict[str, str] = {}

    def unknown(self, spec: Spec, path: DocumentPath, name: str) -> Diagnostic:
        if name not in self._helps:
            affordable = (len(self._helps) + 1) * len(self._names) <= EFFORT
            self._helps[name] = did_you_mean(name, self._names) if affordable else ""
        what = "layer or input" if self._input is None else "layer"
        message = f"there is no {what} named {quote(name)}"
        labels: tuple[Label | None, ...]
        labels, help = spec.taken_out(name)
        if name == self._input:
            message += ": it is the input"
            labels = (*labels, label(spec, ("input", name), "the input", key=True))
        return at(spec, path, "E203", message, help=help or self._helps[name], labels=labels)
