"""Integer expressions of a spec: `${2*width + 1}`.

In: the text between the braces and the variables' values. Out: an integer, or for a condition its two sides;
None where that depends on a variable whose value is None, which stands for "not known".
The grammar, lowest precedence first (never Python's `eval`):

    condition   sum ("==" | "!=" | "<" | "<=" | ">" | ">=") sum
    sum         product (("+" | "-") product)*
    product     unary (("*" | "//" | "%") unary)*
    unary       "-" unary | atom
    atom        INTEGER | NAME | "(" sum ")"

`//` rounds down and `%` has the sign of its right side, as in Python.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from n2nspec.diagnostics import describe_value, quote

__all__ = ["Condition", "ExpressionError", "condition", "evaluate", "names", "places"]

LARGEST = 2**63 - 1
LONGEST = 1_000
DEEPEST = 50

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+)|(?P<name>[A-Za-z_]\w*)|(?P<operator>//|==|!=|<=|>=|[-+*%()<>]))", re.ASCII
)
_SUMS: Mapping[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub}
_PRODUCTS: Mapping[str, Callable[[int, int], int]] = {
    "*": operator.mul, "//": operator.floordiv, "%": operator.mod,
}  # fmt: skip
_COMPARISONS: Mapping[str, Callable[[int, int], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


SMALLER = "integers go up to 9,223,372,036,854,775,807: use smaller numbers"
SPLIT = "give a part of it a name in [vars]"


class ExpressionError(ValueError):
    """What is wrong, and which characters of the expression (from 0) are at fault.

    Attributes:
        help: what to do about it; empty where only the grammar can be said again.
        name: the unknown variable, when that is what is wrong.
        by_values: the values of the variables are at fault, not how the expression is written.
    """

    def __init__(
        self, message: str, position: int, length: int = 1, *,
        help: str = "", name: str = "", by_values: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.message = message
        self.position = position
        self.length = length
        self.help = help
        self.name = name
        self.by_values = by_values


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A comparison that was worked out."""

    left: int | None
    comparison: str
    right: int | None

    @property
    def holds(self) -> bool | None:
        """None where it is not known."""
        if self.left is None or self.right is None:
            return None
        return _COMPARISONS[self.comparison](self.left, self.right)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def _tokens(text: str) -> list[_Token]:
    if len(text) > LONGEST:
        raise ExpressionError(f"an expression of more than {LONGEST:,} characters", 0, help=SPLIT)
    tokens, position = [], 0
    end = len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if not found:
            position += len(text[position:]) - len(text[position:].lstrip())
            message = f"{quote(text[position])} has no place in an expression of integers"
            raise ExpressionError(message, position, help=_instead(text[position:]))
        assert found.lastgroup is not None
        tokens.append(_Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)))
        position = found.end()
    return [*tokens, _Token("end", "", max(end - 1, 0))]


def _instead(text: str) -> str:
    """What to write for something that is no part of the grammar."""
    if text.startswith("/"):
        return "write // for a division, which rounds down"
    if text.startswith("="):
        return "write == to compare"
    if re.match(r"\.\d", text):
        return "expressions are of integers; write any other number as it is, without ${…}"
    return ""


class _Parser:
    def __init__(self, text: str, values: Mapping[str, Any]) -> None:
        self._tokens = _tokens(text)
        self._values = values
        self._next = 0
        self._depth = 0

    def sum(self) -> int | None:
        return self._chain(_SUMS, lambda: self._chain(_PRODUCTS, self._unary))

    def condition(self) -> Condition:
        left = self.sum()
        token = self._peek()
        if token.text not in _COMPARISONS:
            if token.kind == "end":
                raise ExpressionError(
                    "it compares nothing", token.position, help='compare it, for example "${width % 4 == 0}"'
                )
            raise self._unexpected()
        self._next += 1
        return Condition(left=left, comparison=token.text, right=self.sum())

    def end(self) -> None:
        if self._peek().kind != "end":
            raise self._unexpected()

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _unexpected(self) -> ExpressionError:
        token = self._peek()
        if token.kind == "end":
            return ExpressionError("it ends too early", token.position)
        help = ""
        if token.text in _COMPARISONS:
            help = "only the conditions of [require] check compare, and each compares once"
        elif token.text == "*" and self._tokens[self._next - 1].text == "*":
            help = "there are no powers: write width*width"
        return ExpressionError(
            f"{quote(token.text)} is not expected here", token.position, len(token.text), help=help
        )

    def _chain(
        self, operators: Mapping[str, Callable[[int, int], int]], operand: Callable[[], int | None]
    ) -> int | None:
        value = operand()
        while (token := self._peek()).text in operators:
            self._next += 1
            right = operand()
            if token.text in ("//", "%") and right == 0:
                raise ExpressionError(
                    "division by zero", token.position, len(token.text), by_values=True,
                    help=f"what stands after {token.text} is 0 here; make it another number",
                )  # fmt: skip
            value = None if value is None or right is None else operators[token.text](value, right)
            if value is not None and abs(value) > LARGEST:
                raise ExpressionError(
                    "the result is larger than 64 bits", token.position, help=SMALLER, by_values=True
                )
        return value

    def _unary(self) -> int | None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ExpressionError(
                f"nested more than {DEEPEST} levels deep", self._peek().position, help=SPLIT
            )
        token = self._peek()
        self._next += 1
        value: int | None
        if token.text == "-":
            inner = self._unary()
            value = None if inner is None else -inner
        elif token.kind == "number":
            if len(token.text) > 19 or int(token.text) > LARGEST:
                raise ExpressionError(
                    "the number is larger than 64 bits", token.position, len(token.text), help=SMALLER
                )
            value = int(token.text)
        elif token.kind == "name":
            value = self._variable(token)
        elif token.text == "(":
            value = self.sum()
            if self._peek().text != ")":
                raise self._unexpected()
            self._next += 1
        else:
            self._next -= 1
            raise self._unexpected()
        self._depth -= 1
        return value

    def _variable(self, token: _Token) -> int | None:
        if token.text not in self._values:
            message = f"there is no variable {quote(token.text)}"
            raise ExpressionError(message, token.position, len(token.text), name=token.text)
        value = self._values[token.text]
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            message = f"{token.text} is {describe_value(value)}, which is no integer"
            help = f"give it an integer; only ${{{token.text}}} by itself may be anything else"
            raise ExpressionError(message, token.position, len(token.text), help=help, by_values=True)
        return value


def evaluate(text: str, values: Mapping[str, Any]) -> int | None:
    """The value of an expression; None where it depends on a value that is None.

    Raises:
        ExpressionError: it is malformed, names an unknown variable, divides by zero, or is too large.
    """
    parser = _Parser(text, values)
    value = parser.sum()
    parser.end()
    return value


def condition(text: str, values: Mapping[str, Any]) -> Condition:
    """The two sides of a comparison.

    Raises:
        ExpressionError: the same, or it compares nothing.
    """
    parser = _Parser(text, values)
    found = parser.condition()
    parser.end()
    return found


def names(text: str) -> list[str]:
    """The variables that an expression mentions, each once, in order; none when it is malformed."""
    return list(places(text))


def places(text: str) -> dict[str, int]:
    """The same, each with the character at which it first stands."""
    found: dict[str, int] = {}
    try:
        for token in _tokens(text):
            if token.kind == "name":
                found.setdefault(token.text, token.position)
    except ExpressionError:
        return {}
    return found
