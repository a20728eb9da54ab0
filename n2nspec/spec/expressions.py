"""Integer expressions of a spec: `${2*width + 1}`.

In: the text between the braces and the variables' values. Out: an integer, or for a condition its two sides.
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

__all__ = ["Condition", "ExpressionError", "condition", "evaluate", "names"]

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


class ExpressionError(ValueError):
    """What is wrong, and which characters of the expression (from 0) are at fault."""

    def __init__(self, message: str, position: int, length: int = 1, *, name: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.length = length
        self.name = name
        """The unknown variable, when that is what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A comparison that was worked out."""

    left: int
    comparison: str
    right: int

    @property
    def holds(self) -> bool:
        return _COMPARISONS[self.comparison](self.left, self.right)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def _tokens(text: str) -> list[_Token]:
    if len(text) > LONGEST:
        raise ExpressionError(f"an expression of more than {LONGEST:,} characters", 0)
    tokens, position = [], 0
    end = len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if not found:
            position += len(text[position:]) - len(text[position:].lstrip())
            message = f"{quote(text[position])} has no place in an expression of integers"
            raise ExpressionError(message, position)
        assert found.lastgroup is not None
        tokens.append(_Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)))
        position = found.end()
    return [*tokens, _Token("end", "", max(end - 1, 0))]


class _Parser:
    def __init__(self, text: str, values: Mapping[str, Any]) -> None:
        self._tokens = _tokens(text)
        self._values = values
        self._next = 0
        self._depth = 0

    def sum(self) -> int:
        return self._chain(_SUMS, lambda: self._chain(_PRODUCTS, self._unary))

    def condition(self) -> Condition:
        left = self.sum()
        token = self._peek()
        if token.text not in _COMPARISONS:
            if token.kind == "end":
                raise ExpressionError("it compares nothing", token.position)
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
        return ExpressionError(f"{quote(token.text)} is not expected here", token.position, len(token.text))

    def _chain(self, operators: Mapping[str, Callable[[int, int], int]], operand: Callable[[], int]) -> int:
        value = operand()
        while (token := self._peek()).text in operators:
            self._next += 1
            right = operand()
            if token.text in ("//", "%") and right == 0:
                raise ExpressionError("division by zero", token.position, len(token.text))
            value = operators[token.text](value, right)
            if abs(value) > LARGEST:
                raise ExpressionError("the result is larger than 64 bits", token.position)
        return value

    def _unary(self) -> int:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ExpressionError(f"nested more than {DEEPEST} levels deep", self._peek().position)
        token = self._peek()
        self._next += 1
        if token.text == "-":
            value = -self._unary()
        elif token.kind == "number":
            if len(token.text) > 19 or int(token.text) > LARGEST:
                raise ExpressionError("the number is larger than 64 bits", token.position, len(token.text))
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

    def _variable(self, token: _Token) -> int:
        if token.text not in self._values:
            message = f"there is no variable {quote(token.text)}"
            raise ExpressionError(message, token.position, len(token.text), name=token.text)
        value = self._values[token.text]
        if isinstance(value, bool) or not isinstance(value, int):
            message = f"{token.text} is {describe_value(value)}, which is no integer"
            raise ExpressionError(message, token.position, len(token.text))
        return value


def evaluate(text: str, values: Mapping[str, Any]) -> int:
    """The value of an expression.

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
    try:
        return list(dict.fromkeys(token.text for token in _tokens(text) if token.kind == "name"))
    except ExpressionError:
        return []
