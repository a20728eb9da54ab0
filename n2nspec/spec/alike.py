"""Several places that are wrong for one reason, told as one.

In: the diagnostics of these places. Out: that of the first in the text, with labels at some of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from n2nspec.diagnostics import Diagnostic, Label, in_source_order, plural

__all__ = ["as_one"]

MOST = 3
"""Labels at other places."""


def as_one(alike: Sequence[Diagnostic], *, files: Sequence[str], tables: Sequence[str]) -> Diagnostic:
    """The first in source order, which says where the others are."""
    first, *others = in_source_order(alike, files=files, tables=tables)
    spans = list(dict.fromkeys(other.span for other in others if other.span is not None))
    shown, more = spans[:MOST], len(others) - min(len(spans), MOST)
    labels = [Label(span=span, text="the same here") for span in shown]
    message = first.message
    if more and labels:
        labels[-1] = replace(labels[-1], text=f"the same here, and in {plural(more, 'more place')}")
    elif more:
        message += f", here and in {plural(more, 'more place')}"
    return replace(first, message=message, labels=(*first.labels, *labels))
