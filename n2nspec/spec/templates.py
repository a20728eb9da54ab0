"""`${…}` in the strings of a document.

In: a value of any shape and the variables in reach. Out: the same with every `${…}` worked out. A string that
is one `${…}` and nothing else becomes what the expression is; inside longer strings its text is put in. `$${`
stands for the characters `${`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from n2nspec.diagnostics import Label, Span, describe_value, did_you_mean, quote
from n2nspec.spec.expressions import ExpressionError, evaluate, names, places
from n2nspec.spec.trace import UNKNOWN, Origin, Problems, Step, Traced, Where, is_unknown, label

__all__ = [
    "NAME", "Scope", "escape", "expression_of", "fill", "has_template", "mentioned", "report", "unclosed",
]  # fmt: skip

FEW = 40
"""Variables that are listed for one that there is not."""

LONGEST_TEXT = 10_000
"""Characters of a text with variables in it."""

NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
"""What variables and parameters may be called."""

_HOLE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_ONLY = re.compile(r"\$\{([^{}]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The variables in reach; inside a block, its name and which of them are its parameters.

    `open` says that there may be others, for a mistake in the declarations that is reported.
    """

    values: Mapping[str, Traced]
    block: str | None = None
    params: Collection[str] = ()
    open: bool = False

    def plain(self, names: list[str]) -> Mapping[str, Any]:
        """The values of those names that there are; None for one that could not be worked out."""
        found = {name: self.values[name].value for name in names if name in self.values}
        return {name: None if is_unknown(value) else value for name, value in found.items()}


def has_template(value: Any) -> bool:
    """Whether a value has a string with `${` in it."""
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, dict):
        return any(has_template(item) for item in value.values())
    return isinstance(value, list) and any(has_template(item) for item in value)


def mentioned(value: Any) -> Iterator[str]:
    """The variables that a value's strings mention."""
    if isinstance(value, str) and "${" in value:
        for hole in _HOLE.finditer(value):
            if hole[1] is not None:
                yield from names(hole[1])
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from mentioned(item)


def escape(text: str) -> str:
    """A text that stands for these characters once its `${…}` are worked out."""
    return text.replace("${", "$${")


def expression_of(text: str) -> str | None:
    """The expression, when the text is one `${…}` and nothing else."""
    found = _ONLY.fullmatch(text)
    return found[1] if found else None


def unclosed(text: str) -> bool:
    """Whether there is a `${` in the text that no `}` closes."""
    return any(hole[0] == "${" for hole in _HOLE.finditer(text))


def fill(item: Traced, scope: Scope, problems: Problems) -> Traced:
    """The value with every `${…}` worked out; UNKNOWN in place of one that cannot be, which is reported."""
    value = item.value
    if not has_template(value):
        return item
    if isinstance(value, str):
        return _fill_text(item, value, scope, problems)
    keys = value if isinstance(value, dict) else range(len(value))
    changes = {key: fill(item.part(key), scope, problems) for key in keys if has_template(value[key])}
    filled = value.copy()
    for key, change in changes.items():
        filled[key] = change.value
    parts = {**item.where.parts, **{key: change.where for key, change in changes.items()}}
    return Traced(filled, Where(item.where.origin, parts))


def _fill_text(item: Traced, text: str, scope: Scope, problems: Problems) -> Traced:
    only = _ONLY.fullmatch(text)
    if only:
        return _worked_out(item, only[1], 2, scope, problems)
    pieces: list[str] = []
    where, end, known = item.where, 0, True
    for hole in _HOLE.finditer(text):
        pieces.append(text[end : hole.start()])
        end = hole.end()
        if hole[0] == "$${":
            pieces.append("${")
        elif hole[1] is None:
            error = ExpressionError('no "}" closes this "${"', 0, 2, help=CLOSE)
            report(item.where, text, hole.start(), error, scope, problems)
            return Traced(UNKNOWN, item.where)
        else:
            part = _worked_out(item, hole[1], hole.start() + 2, scope, problems)
            if is_unknown(part.value):
                known = False
                continue
            if isinstance(part.value, (dict, list, bool, float)):
                message = f"{hole[1].strip()} is {describe_value(part.value)}, which cannot stand in a text"
                report(
                    item.where, text, hole.start() + 2, ExpressionError(message, 0, len(hole[1])),
                    scope, problems,
                )  # fmt: skip
                return Traced(UNKNOWN, item.where)
            pieces.append(str(part.value))
            where = Where(replace(where.origin.after(part.where.origin.via), value_of=None))
    if not known:
        return Traced(UNKNOWN, item.where)
    filled = "".join([*pieces, text[end:]])
    if len(filled) > LONGEST_TEXT:
        problems.add(item.where, "E125", f"the text grows to more than {LONGEST_TEXT:,} characters")
        return Traced(UNKNOWN, item.where)
    return Traced(filled, where)


def _worked_out(item: Traced, expression: str, start: int, scope: Scope, problems: Problems) -> Traced:
    """The value of one expression, which begins at a character of the item's text."""
    used = [name for name in names(expression) if name in scope.values]
    value: Any = UNKNOWN
    single = expression.strip()
    if single in scope.values:
        value = scope.values[single].value
    else:
        try:
            found = evaluate(expression, scope.plain(used))
            value = UNKNOWN if found is None else found
        except ExpressionError as error:
            report(item.where, item.value, start, error, scope, problems)
    steps: list[Step] = []
    for name in used:
        bound = scope.values[name]
        if is_unknown(bound.value):
            continue
        steps += [Step(f"{name} is {describe_value(bound.value)}", bound.where.origin)]
        steps += bound.where.origin.via
    origin = item.where.origin
    reached = Origin(origin.source, origin.path, tuple(steps)).after(origin.via)
    same = scope.values[single].where.origin if single in scope.values else None
    return Traced(value, Where(replace(reached, value_of=same)))


def report(
    where: Where, text: str, start: int, error: ExpressionError, scope: Scope, problems: Problems
) -> None:
    """What is wrong with an expression that begins at a character of a text."""
    if error.name and scope.open:
        return
    narrow = _narrow(text, start + error.position, error.length)
    if error.name:
        _report_undeclared(where, text, start, scope, problems)
        return
    expression = text[start:].partition("}")[0].strip()
    labels: tuple[Label, ...] = ()
    for name in names(expression) if error.by_values else ():
        if name in scope.values and not is_unknown(scope.values[name].value):
            bound = scope.values[name]
            labels += label(bound.where, f"{name} is {describe_value(bound.value)}")
    message = f"in {quote(expression) if start else quote(text)}: {error.message}"
    problems.add(where, "E120", message, help=error.help or GRAMMAR, narrow=narrow, labels=labels)


def _report_undeclared(where: Where, text: str, start: int, scope: Scope, problems: Problems) -> None:
    """The names in an expression that are not declared; the places of each one are told as one mistake."""
    for name, position in places(text[start:].partition("}")[0]).items():
        if name in scope.values:
            continue
        near = problems.nearest(name, lambda: scope.values, among=scope.block)
        if near is not None:
            help = f"did you mean {quote(near)}?"
        elif scope.block is None:
            listed = did_you_mean("", scope.values) if len(scope.values) <= FEW else ""
            help = listed or "declare it in [vars]"
        elif scope.params:
            help = f"add {quote(name)} to params of [blocks.{scope.block}]"
        else:
            help = f"add params = [{quote(name)}] to [blocks.{scope.block}]"
        # where one mends it: a variable that is misspelt in [vars] is so for all blocks
        home = scope.block if near is None or near in scope.params else None
        problems.add(
            where, "E121", f"there is no variable {quote(name)}", help=help, reason=(home, name),
            narrow=_narrow(text, start + position, len(name)),
        )  # fmt: skip


GRAMMAR = "integers, variables, + - * // % and parentheses make an expression; $${ stands for ${ itself"
CLOSE = "write }; or $${ for the characters ${ themselves"


def _narrow(text: str, start: int, length: int) -> Callable[[Span], Span]:
    """From the span of a string to that of some of its characters, where they are spelt as they read."""

    def narrow(span: Span) -> Span:
        if span.text is None or span.line != span.end_line:
            return span
        spelt = span.text[span.column - 1 : span.end_column - 1]
        offset = spelt.find(text)
        if offset < 0:
            return span
        column = span.column + offset + start
        return replace(span, column=column, end_column=max(column + 1, column + length))

    return narrow
