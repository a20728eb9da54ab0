"""What pydantic found, said to the author of a spec.

In: pydantic's errors, the document and its origins. Out: diagnostics in source order: one mistake, one
diagnostic, with a code, a place and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from math import isfinite
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from n2nspec.diagnostics import (
    Diagnostic,
    closest,
    describe_value,
    quote,
    render_path,
)
from n2nspec.spec.entries import ENTRIES
from n2nspec.spec.keys import (
    SYNONYMS,
    Found,
    field_names,
    missing_key,
    model_at,
    table_name,
    type_problem,
    union_at,
    unknown_key,
)
from n2nspec.spec.near_types import Meant
from n2nspec.spec.origins import Origins
from n2nspec.spec.sentences import respelt, sentence
from n2nspec.spec.tame import INTEGERS
from n2nspec.spec.text import Path
from n2nspec.spec.trace import Problems, is_unknown

__all__ = ["problems", "wrong_places"]


def problems(
    error: ValidationError | None,
    document: Mapping[str, Any],
    origins: Origins,
    earlier: Problems | None = None,
) -> list[Diagnostic]:
    """The mistakes of the document that validating it found, in source order; empty when there is none.

    Args:
        error: what came of validating it.
        document: what was validated.
        origins: where its values were written.
        earlier: what the stages before found, which is not told twice.
    """
    earlier = Problems() if earlier is None else earlier
    refused = list(_not_spellable(document))
    hidden = {item.path for item in refused}
    details, meant = _details(error, hidden, document)
    found = [
        _translate(detail, document if detail["type"].startswith("union_tag") else meant)
        for detail in _once(details, origins)
        # "string_unicode": half of a surrogate pair, which is among the refused already
        if detail["type"] != "string_unicode" and not _is_known(detail, earlier)
    ]
    found = [*refused, *(item for item in _without_echoes(found) if item.path not in hidden)]
    placed = [
        (_placed(item, origins), item.path)
        for item in _roots(found, origins)
        if earlier.is_new(origins.where.at(item.path), item.code, key=item.key)
    ]
    placed.sort(key=lambda pair: _order(pair[0], pair[1], document))
    return [diagnostic for diagnostic, _ in placed]


def _details(
    error: ValidationError | None, others: Collection[Path], document: Mapping[str, Any]
) -> tuple[list[ErrorDetails], Mapping[str, Any]]:
    """What pydantic found, and what it did not come to because of that, or of other mistakes.

    Second is the document, with the types of layers that were meant where that is nearly certain.
    """
    if error is None:
        return [], document
    # imported here: a spec without mistakes has no use for it
    from n2nspec.spec.contradictions import contradictions

    details = error.errors(include_url=False)
    meant = _meant_types(details, document)
    others = [*others, *(_path(detail)[0] for detail in details)]
    return [*details, *meant.details(), *contradictions(others, document)], meant.document


def _meant_types(details: list[ErrorDetails], document: Mapping[str, Any]) -> Meant:
    wrong = (_path(detail)[0] for detail in details if detail["type"].startswith("union_tag"))
    return Meant(document, [path for path in wrong if union_at(path) is ENTRIES])


def _once(details: list[ErrorDetails], origins: Origins) -> Iterator[ErrorDetails]:
    """Without the repetitions of a mistake in a block that is used many times."""
    seen: set[object] = set()
    for detail in details:
        path, is_key = _path(detail)
        is_key = is_key or detail["type"] == "extra_forbidden"
        origin = origins.where.at(path).origin
        origin = origin.in_block if path[-1:] == ("share",) else origin
        mistake = (*origin.mistake(key=is_key), is_key, detail["type"])
        if mistake not in seen:
            seen.add(mistake)
            yield detail


def _roots(found: list[Found], origins: Origins) -> Iterator[Found]:
    """Without values that are out of range for a variable in them that is reported itself."""
    places = [origins.where.at(item.path).origin for item in found]
    wrong = {origin.mistake() for origin in places if origin.value_of is not None}
    for item, origin in zip(found, places, strict=True):
        root = origin.root
        steps = (step.origin.mistake() for step in root.via)
        if item.code != "E113" or not any(step in wrong and step != root.mistake() for step in steps):
            yield item


def _is_known(detail: ErrorDetails, earlier: Problems) -> bool:
    """Whether a mistake only follows from one that an earlier stage reported."""
    if detail["type"] == "no_layers" and earlier:
        return True
    if detail["type"] == "extra_forbidden":
        return False  # whatever its value is
    value = detail["input"]
    if detail["type"].startswith("union_tag"):
        value = value.get("type") if isinstance(value, Mapping) else value
        if earlier.partial and union_at(_path(detail)[0]) is ENTRIES and isinstance(value, str):
            return closest(value, ENTRIES) is None  # a plugin of the base may have it
    return is_unknown(value)


def wrong_places(error: ValidationError | None, document: Mapping[str, Any]) -> list[Path]:
    """The path of every mistake of the document: of a value, or of a key that is missing or unknown."""
    details = error.errors(include_url=False) if error else []
    return [
        *(found.path for found in _not_spellable(document)),
        *(_path(detail)[0] for detail in (*details, *_meant_types(details, document).details())),
    ]


def _placed(found: Found, origins: Origins) -> Diagnostic:
    return Diagnostic(
        code=found.code,
        message=found.message,
        file=origins.file,
        span=origins.locate(found.path, key=found.key),
        path=render_path(origins.written(found.path)),
        help=found.help,
        labels=origins.trail(found.path, key=found.key),
    )


def _order(diagnostic: Diagnostic, path: Path, document: Any) -> tuple[Any, ...]:
    """The order of the text; without one, that of the document. Overrides come last."""
    span = diagnostic.span
    if span is not None:
        return (not span.in_file, span.line, span.column)
    order = []
    for part in path:
        if isinstance(document, Mapping):
            order.append(list(document).index(part) if part in document else len(document))
            document = document.get(part)
        elif isinstance(part, int):
            order.append(part)
            document = document[part] if isinstance(document, list) and part < len(document) else None
        else:
            order.append(0)
    return (False, *order)


def _not_spellable(document: Mapping[str, Any]) -> Iterator[Found]:
    """What JSON, TOML or a dict can hold and a spec cannot: null, infinities, NaN, halves of characters."""
    waiting: list[tuple[Path, Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [((*path, key), item) for key, item in value.items()]
            for key in value:
                if not _encodable(key):
                    message = f"the key {quote(key)} holds half of a surrogate pair"
                    yield Found(code="E118", message=message, path=(*path, key), key=True)
        elif isinstance(value, list):
            waiting += [((*path, index), item) for index, item in enumerate(value)]
        elif value is None:
            yield Found(
                code="E112", message=f"{_what(path)}: expected a value; received null", path=path,
                help=_instead_of_null(path, document),
            )  # fmt: skip
        elif isinstance(value, str) and not _encodable(value):
            yield Found(code="E113", message=f"{_what(path)}: half of a surrogate pair is no text", path=path)
        elif isinstance(value, int) and value not in INTEGERS:
            message = f"{_what(path)}: expected an integer of 64 bits; received {describe_value(value)}"
            yield Found(code="E113", message=message, path=path, help=_help("E113", path, value, document))
        elif isinstance(value, float) and not isfinite(value):
            message = f"{_what(path)}: expected a finite number; received {value}"
            yield Found(code="E113", message=message, path=path, help=_help("E113", path, value, document))


def _instead_of_null(path: Path, document: Mapping[str, Any]) -> str:
    key = path[-1]
    if isinstance(key, int):
        return "take it out of the list, or give it a value"
    model = model_at(path[:-1], document)
    fields = {field.alias or name: field for name, field in model.model_fields.items()} if model else {}
    if key == "type" or (key in fields and fields[key].is_required()):
        return "give it a value: it has no default"
    return "leave the key out for its default"


def _encodable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _without_echoes(found: list[Found]) -> Iterator[Found]:
    """Drops "missing" where the key is there but misspelt: that is one mistake."""
    missing: dict[Path, list[str]] = {}
    for item in found:
        if item.code == "E111":
            missing.setdefault(item.path[:-1], []).append(str(item.path[-1]))
    meant = {
        (*item.path[:-1], _meant(item.path[-1], missing[item.path[:-1]]))
        for item in found
        if item.code == "E110" and item.path[:-1] in missing
    }
    return (item for item in found if not (item.code == "E111" and item.path in meant))


def _meant(key: str | int, missing: list[str]) -> str | None:
    return closest(SYNONYMS.get(str(key), key), missing)


def _translate(detail: ErrorDetails, document: Mapping[str, Any]) -> Found:
    path, is_key = _path(detail)
    kind, context = detail["type"], detail.get("ctx") or {}
    if kind.startswith("union_tag"):
        return type_problem(path, detail, document)
    if kind == "extra_forbidden":
        return unknown_key(path, document)
    if kind == "missing" and isinstance(path[-1], str):
        return missing_key(path, document)
    if kind == "missing":  # an entry of a list of fixed length
        path, kind = path[:-1], "too_few"
    field = context.get("field")
    if field is not None:  # fields that contradict each other: the layer says which one to look at
        code, path, what, text = "E115", (*path, str(field)), table_name(path, document), detail["msg"]
    else:
        if "item" in context:
            path = (*path, context["item"])
            detail["input"] = detail["input"][context["item"]]
        code, text = sentence({**detail, "type": kind})
        what = _what(path)
    if is_key:
        text = text.partition("; received ")[0]  # the key is what the message begins with
    help = context.get("help") or _nearest(code, detail) or respelt(detail)
    help = help or _help(code, path, detail["input"], document)
    return Found(code=code, message=f"{what}: {text}" if what else text, path=path, key=is_key, help=help)


def _path(detail: ErrorDetails) -> tuple[Path, bool]:
    """The place in the document: without the chosen types that pydantic puts in between."""
    location = detail["loc"]
    # pydantic ends the place of a refused key with "[key]"; that of an unknown key ends with the key itself
    is_key = bool(location) and location[-1] == "[key]" and detail["type"] != "extra_forbidden"
    path: Path = ()
    tagged = False
    for part in location[:-1] if is_key else location:
        if not tagged and union_at(path) is not None:
            tagged = True
            continue
        tagged = False
        path = (*path, part)
    return path, is_key


def _what(path: Path) -> str:
    """The last key, with indices after it: `x[1]`."""
    start = max((i for i, part in enumerate(path) if isinstance(part, str)), default=0)
    return render_path(path[start:])


def _nearest(code: str, detail: ErrorDetails) -> str:
    """The option that was probably meant, where there are options."""
    options = (detail.get("ctx") or {}).get("expected")
    if code != "E114" or not isinstance(options, str):
        return ""
    near = closest(detail["input"], re.findall(r"'([^']*)'", options))
    return f"did you mean {quote(near)}?" if near is not None else ""


def _help(code: str, path: Path, value: Any, document: Any) -> str:
    """What the field is for."""
    if code == "E112" and union_at((*path, 0)) is not None and isinstance(value, Mapping):
        return f"write [[{render_path(path)}]], with two brackets, above each layer"
    near = closest(value, union_at(path) or ()) if code == "E112" else None
    if near is not None:
        return f"write {path[-1]} = {{ type = {quote(near)} }}"
    for length in range(len(path), 0, -1):
        key = path[length - 1]
        model = model_at(path[: length - 1], document)
        description = field_names(model).get(key) if model and isinstance(key, str) else None
        if description:
            return f"{key}: {description}"
    return ""
