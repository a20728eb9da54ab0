"""`[vars]` and the conditions of `[require]`.

In: a document. Out: the document without them, every `${…}` outside of blocks worked out, and the variables.

Variables are integers, or expressions of other variables in any order. `[require] check` lists conditions on
them: `check = ["${width % 4 == 0}"]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from n2nspec.diagnostics import Label, describe_value, quote
from n2nspec.spec.expressions import ExpressionError, condition, names
from n2nspec.spec.templates import NAME, Scope, expression_of, fill, report, unclosed
from n2nspec.spec.trace import UNKNOWN, Problems, Traced, label

__all__ = ["put_in_variables"]

INTEGERS = range(-(2**63), 2**63)
EXAMPLE = 'for example width = 16, or width = "${2*height}"'


def put_in_variables(document: Traced, problems: Problems) -> tuple[Traced, Scope]:
    """The document with its variables put in, but for `[blocks]`, whose parameters are not known yet."""
    table = document.get("vars")
    unreadable = table is not None and not isinstance(table.value, dict)
    scope = Scope(values=_variables(table, problems), open=unreadable or problems.partial)
    document = _check(document, scope, problems)
    changes = {
        key: fill(item, scope, problems) for key, item in document.items() if key not in ("vars", "blocks")
    }
    return document.with_(changes, without=("vars",)), scope


def _variables(table: Traced | None, problems: Problems) -> Mapping[str, Traced]:
    if table is None:
        return {}
    if not isinstance(table.value, dict):
        problems.wrong_type(table, "vars", "a table", help=EXAMPLE)
        return {}
    known: dict[str, Traced] = {}
    expressions: dict[str, list[str]] = {}
    for name, item in table.items():
        value = item.value
        known[name] = Traced(UNKNOWN, item.where)
        if not NAME.fullmatch(name):
            problems.add(
                item.where, "E118", f"a variable is called by letters, digits and _; received {quote(name)}",
                key=True,
            )  # fmt: skip
        elif isinstance(value, str) and (expression := expression_of(value)) is not None:
            expressions[name] = names(expression)
        elif isinstance(value, str) and unclosed(value):
            fill(item, Scope(values={}), problems)
        elif isinstance(value, bool) or not isinstance(value, int):
            problems.wrong_type(item, name, 'an integer, or an expression in "${…}"', help=EXAMPLE)
        elif value not in INTEGERS:
            message = f"{name}: expected an integer of 64 bits; received {describe_value(value)}"
            problems.add(item.where, "E113", message)
        else:
            known[name] = item
    for name in _in_order(expressions, table, problems):
        scope = Scope(values=known, open=problems.partial)
        filled = fill(table.part(name), scope, problems)
        if filled.value is not UNKNOWN and not isinstance(filled.value, int):
            filled = Traced(UNKNOWN, filled.where)
        known[name] = filled
    return known


def _in_order(needs: Mapping[str, list[str]], table: Traced, problems: Problems) -> list[str]:
    """The names so that each comes after those it needs; without those that need themselves."""
    order: list[str] = []
    done, circular = set[str](), set[str]()
    for first in needs:
        if first in done:
            continue
        waiting: dict[str, Iterator[str]] = {first: iter(needs[first])}  # the way to where we are
        while waiting:
            name = next(reversed(waiting))
            needed = next(waiting[name], None)
            if needed is None:
                del waiting[name]
                done.add(name)
                if name not in circular:
                    order.append(name)
            elif needed in waiting:
                way = list(waiting)
                circle = way[way.index(needed) :]
                circular |= set(circle)
                _report_circle(circle, table, problems)
            elif needed in needs and needed not in done:
                waiting[needed] = iter(needs[needed])
    return order


def _report_circle(circle: list[str], table: Traced, problems: Problems) -> None:
    first, *others = circle
    shown = [*circle[:10], *(["…"] if len(circle) > 10 else []), first]
    labels: tuple[Label, ...] = ()
    for name in others[:5]:
        labels += label(table.part(name).where, f"{name} is part of it")
    problems.add(
        table.part(first).where, "E120", f"{first} depends on itself: {' → '.join(shown)}", labels=labels,
        help="give one of them a number",
    )  # fmt: skip


def _check(document: Traced, scope: Scope, problems: Problems) -> Traced:
    """Looks at the conditions of `[require]` and takes them out."""
    require = document.get("require")
    conditions = require.get("check") if require is not None else None
    if require is None or conditions is None:
        return document
    if isinstance(conditions.value, list):
        for item in conditions.entries():
            _check_one(item, scope, problems)
    else:
        problems.wrong_type(conditions, "check", "a list of conditions", help=CONDITION)
    rest = require.with_({}, without=("check",))
    if rest.value:
        return document.with_({"require": rest})
    return document.with_({}, without=("require",))


CONDITION = 'for example check = ["${width % 4 == 0}"]'


def _check_one(item: Traced, scope: Scope, problems: Problems) -> None:
    expression = expression_of(item.value) if isinstance(item.value, str) else None
    if isinstance(item.value, str) and unclosed(item.value):
        fill(item, scope, problems)
        return
    if expression is None:
        problems.wrong_type(item, "check", 'a condition in "${…}"', help=CONDITION)
        return
    used = [name for name in names(expression) if name in scope.values]
    try:
        found = condition(expression, scope.plain(used))
    except ExpressionError as error:
        report(item.where, item.value, 2, error, scope, problems)
        return
    if found.holds is not False:
        return
    shown = [f"{name} = {scope.values[name].value}" for name in used]
    numbers = f"{found.left} {found.comparison} {found.right}" + (
        f" with {', '.join(shown)}" if shown else ""
    )
    labels: tuple[Label, ...] = ()
    for name in used:
        labels += label(scope.values[name].where, f"{name} is {scope.values[name].value}")
    message = f"the condition {quote(expression.strip())} is not met: {numbers}"
    problems.add(item.where, "E126", message, labels=labels, help="change the variables, or the condition")
