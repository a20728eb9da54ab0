"""Integer expressions: Python judges the values, and everything else is refused with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2nspec.spec.expressions import LARGEST, ExpressionError, condition, evaluate, names

VALUES = {"width": 16, "n": 3, "zero": 0, "text": "ReLU", "yes": True}

atoms = st.integers(0, 50).map(str) | st.sampled_from(["width", "n", "zero"])
sums = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" + ", "-", " * ", "//", " % "]), inner).map("".join),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"-{text}"),
    ),
    max_leaves=12,
)


def by_python(text: str) -> int | bool | None:
    """What Python makes of it; None where it divides by zero."""
    try:
        return eval(text, {"__builtins__": {}}, dict(VALUES))  # type: ignore[no-any-return]
    except ZeroDivisionError:
        return None


@given(sums)
def test_values_are_those_of_python(text: str) -> None:
    expected = by_python(text)
    if expected is None:
        with pytest.raises(ExpressionError, match="division by zero"):
            evaluate(text, VALUES)
    elif abs(expected) < 10**15:
        assert evaluate(text, VALUES) == expected


@given(sums, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), sums)
def test_conditions_are_those_of_python(left: str, comparison: str, right: str) -> None:
    expected = by_python(f"{left} {comparison} {right}")
    if expected is not None and max(abs(evaluate(side, VALUES)) for side in (left, right)) < 10**15:
        found = condition(f"{left}{comparison}{right}", VALUES)
        assert found.holds is expected
        assert (found.left, found.right) == (evaluate(left, VALUES), evaluate(right, VALUES))


@given(st.text(st.sampled_from("0123 widthn+-*/%()<=>!.,$\"'_[]é\n"), max_size=20) | st.text(max_size=10))
def test_any_text_has_a_value_or_an_error_in_it(text: str) -> None:
    for work_out in (evaluate, condition):
        try:
            work_out(text, VALUES)
        except ExpressionError as error:
            fault = error
            assert 0 <= fault.position <= max(len(text) - 1, 0)
    assert all(name in text for name in names(text))


@pytest.mark.parametrize(
    ("text", "message", "position"),
    [
        ("", "it ends too early", 0),
        ("2*", "it ends too early", 1),
        ("(2", "it ends too early", 1),
        ("2)", '")" is not expected here', 1),
        ("2width", '"width" is not expected here', 1),
        ("2 ** 3", '"*" is not expected here', 3),
        ("width / 2", '"/" has no place in an expression of integers', 6),
        ("1.5", '"." has no place in an expression of integers', 1),
        ("a.b", '"." has no place in an expression of integers', 1),
        ("__import__('os')", '"\'" has no place in an expression of integers', 11),
        ("height", 'there is no variable "height"', 0),
        ("2 + hight", 'there is no variable "hight"', 4),
        ("text + 1", 'text is "ReLU", which is no integer', 0),
        ("yes", "yes is true, which is no integer", 0),
        ("1 // zero", "division by zero", 2),
        ("1 % (n - 3)", "division by zero", 2),
        (f"{LARGEST} + 1", "the result is larger than 64 bits", 20),
        ("9" * 30, "the number is larger than 64 bits", 0),
        ("width == 16", '"==" is not expected here', 6),
        ("(" * 60 + "1" + ")" * 60, "nested more than 50 levels deep", 50),
        ("-" * 60 + "1", "nested more than 50 levels deep", 50),
        ("1+" * 600 + "1", "an expression of more than 1,000 characters", 0),
    ],
)
def test_mistakes_have_a_place(text: str, message: str, position: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, VALUES)
    assert (caught.value.message, caught.value.position) == (message, position)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width", "it compares nothing"),
        ("width = 16", "has no place"),
        ("1 < 2 < 3", '"<" is not expected here'),
        ("== 1", '"==" is not expected here'),
        ("width and n", '"and" is not expected here'),
    ],
)
def test_conditions_compare_two_sides(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        condition(text, VALUES)


def test_names_are_told_once_and_in_order() -> None:
    assert names("b + a*b - c2") == ["b", "a", "c2"]
    assert names("1 ? 2") == []


def test_a_value_that_is_not_known_makes_what_depends_on_it_unknown() -> None:
    values = {"a": None, "b": 2}
    assert evaluate("-a + 3", values) is None
    assert evaluate("b*2", values) == 4
    found = condition("b < a", values)
    assert (found.left, found.right, found.holds) == (2, None, None)
    for text, message in [
        ("a +", "it ends too early"),
        ("a + c", "there is no variable"),
        ("a // (b - 2)", "division by zero"),
        ("a * 9223372036854775808", "larger than 64 bits"),
    ]:
        with pytest.raises(ExpressionError, match=message):
            evaluate(text, values)
