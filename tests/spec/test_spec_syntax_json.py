"""All faults of a JSON text in one run: each one error, in source order, and nothing that only follows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n2nspec.diagnostics import Diagnostic, DiagnosticError
from n2nspec.spec.parse import parse_json

UNTIMED = settings(deadline=None)  # other work on the machine is no failure


def faults(text: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(DiagnosticError) as caught:
        parse_json("f", text)
    return caught.value.diagnostics


def carets(text: str) -> list[str]:
    """What stands over the carets; a line break counts as a space."""
    spans = [fault.span for fault in faults(text) if fault.span is not None]
    return [f"{span.text} "[span.column - 1 : span.end_column - 1] for span in spans]


SEVERAL = [
    ('{"a": True, "b": [1 2], "c": .5, "d": 1,}', ["True", " ", ".5", ","]),
    ("{'a': 1, b: 2, \"c\" = 3, \"d\" 4, \"e\": , \"f\": tru}", ["'a'", "b", "=", " ", '"e"', "tru"]),
    (r'{"a": "C:\data\models", "b": tru}', [r"\d", "tru"]),
    ('{"a": "tab\ttab\t", "b": tru}', ["\t", "tru"]),
    ('{"a": "b"c", "d": tru}', ["c", "tru"]),
    ('{"a": "say "hi" to", "b": tru}', ["h", "tru"]),
    ('{"a": "b\n, "c": tru}', ['"b', "tru"]),
    ('{"a": 1,\n "b: 2,\n "c": tru}', ['"b: 2,', "tru"]),
    ('{"a": b", "c": tru}', ["b", "tru"]),
    ('{a": "b", "c": tru}', ["a", "tru"]),
    ('{"a: "b", "c": tru}', ['"a: "', "tru"]),
    ('{"x": ["N, 3, "H", "W"],\n"b": tru}', ["H", "tru"]),
    ("{kernel size: 3, 'kernel size': 4, \"b\": tru}", ["kernel size", "'kernel size'", "tru"]),
    ('{"a": f(1, 2), "b": (1, 2), "c": tru}', ["f(1, 2)", "(1, 2)", "tru"]),
    ('{"a": NaN, "b": 03, "c": -Infinity, "d": tru}', ["NaN", "03", "-Infinity", "tru"]),
    ('{"a": ' + "9" * 5000 + ', "b": tru}', ["9" * 5000, "tru"]),
    ('{"a": [N, 3, H], "b": [,1,,2]}', ["N", "H", ",", ","]),
    ('{"a": 1; "b": 2: 3, "c": tru}', [";", ":", "tru"]),
    ('{"a" "b": 1, "c": tru}', [" ", "tru"]),
    ('{: 1, "b": tru}', [":", "tru"]),
    ('{"a": 1, {"b": 2}, "c": tru}', ["{", "tru"]),
    ('{"a": 1, 5}', ["5"]),
    ('{"a": 1 // b\n, "c": /* d\n e */ tru, # f\n"g": 1}', ["// b", "/* d", "tru", "# f"]),
    ('{"a": 1, /* b }', ["/* b }"]),
    ('{"a": {"b": 1}}, "c": tru}', ["}", "tru"]),
    ('{"a": tru}, {"b": tru}', ["tru", ', {"b": tru}']),
    ('{"a": 1}: 2', [": 2"]),
    (": 2", [":"]),
    ('{"x": [1, 2}, "a": [1 2]}', ["[", " "]),
    ('{"a": {"x": [1, 2}, "b": [tru]}', ["[", "tru"]),
    ('{"a": [1, 2, "b": 3, "c": tru}', ["[", "tru"]),
    ('{"a": ["b": 1, "c": 2], "d": tru}', ["[", "tru"]),
    ('{"a": [{"b": 1 {"c": 2}, {"d": 3}], "e": tru}', ["{", "tru"]),
    ('{"a": [{"b": 1,\n {"c": 2}, {"d": 3}], "e": tru}', ["{", "tru"]),
    ('{"a": [{"b": 1}, "c": tru}', ["[", "tru"]),
    ('{"a": 1], "b": tru}', ["]", "tru"]),
    ('[1, {"a": tru,}]', ["tru", ","]),
    ('{"a": tru, "b": [1, 2', ["tru", "["]),
    ('{"a": tru, "b": "c', ["tru", '"c']),
]  # fmt: skip


@pytest.mark.parametrize(("text", "over"), SEVERAL, ids=[case[0][:24] for case in SEVERAL])
def test_a_text_is_read_on_after_a_fault(text: str, over: list[str]) -> None:
    assert carets(text) == over
    assert all(fault.code == "E103" and fault.help for fault in faults(text))


def test_keys_that_are_there_again_are_found_beside_other_faults() -> None:
    found = faults('{"a": True, "b": {"k": 1, k: 2 "k": 3},\n "a": tru,}')
    assert [(fault.message, fault.span and fault.span.column) for fault in found] == [
        ("JSON has no True", 7),
        ("a key stands in double quotes; received k", 27),
        ("a comma is missing here", 31),
        ('the key "k" is written twice', 32),
        ('the key "a" is written twice', 2),
        ("text stands in quotes; received tru", 7),
        ("JSON allows no comma before the end of an object", 10),
    ]
    (label,) = found[4].labels
    assert (label.span.line, label.span.column, label.span.text) == (
        1,
        2,
        found[0].span and found[0].span.text,
    )


def test_a_second_place_is_shown_where_it_was_written() -> None:
    (_, fault) = faults('{a: 1, "encoder": [{"b": 1\n, {"c": 2}]}')
    (label,) = fault.labels
    assert fault.span is not None
    assert (fault.message, fault.span.line, fault.span.column) == ("this object is not closed", 1, 20)
    assert (label.text, label.span.line, label.span.column) == ('expected "}" before this', 2, 3)


def test_a_colon_inside_of_a_key() -> None:
    (fault,) = faults('{"name: "n2n"}')
    assert (fault.message, fault.help) == ('the key "name: " takes in the colon', 'write "name": …')


def test_a_brace_that_ends_the_spec_too_early() -> None:
    (fault,) = faults('{"a": {"b": 1}}, "c": 2}')
    (label,) = fault.labels
    assert (fault.message, fault.help) == (
        'the spec ends with this "}", and more follows', "remove the brace, if the spec goes on",
    )  # fmt: skip
    assert (label.text, label.span.column) == ("this follows", 16)


@pytest.mark.parametrize("text", ['{"a": 1], "b": tru}', '{"a": {"c": 1]}, "b": tru}'])
def test_a_bracket_that_closes_nothing(text: str) -> None:
    first, *_ = found = faults(text)
    (label,) = first.labels
    assert (first.message, first.help) == (
        'no list is open that "]" could close', 'remove it, or write "}" in its place',
    )  # fmt: skip
    assert first.span is not None
    assert first.span.column == text.index("]") + 1
    assert (label.text, label.span.column) == (
        "this object is open",
        text.rindex("{", 0, text.index("]")) + 1,
    )
    assert [fault.message for fault in found[1:] if "tru" in fault.message]


@pytest.mark.parametrize(("text", "expected"), [
    ('{"a": {"b": [1, 2}], "c": 3}', ["these brackets close in the wrong order"]),
    ('{"a": [[{"b": 1]}], "c": tru}', ["these brackets close in the wrong order", "tru"]),
    ('{"a": [{"b": [1}]}', ["this list is not closed"]),
])  # fmt: skip
def test_brackets_in_the_wrong_order(text: str, expected: list[str]) -> None:
    messages = [fault.message for fault in faults(text)]
    assert len(messages) == len(expected)
    assert all(part in message for part, message in zip(expected, messages, strict=True))


def test_long_lists_are_cut() -> None:
    assert len(faults("{" + '"a": [1 2],\n' * 10_000 + '"b": 1}')) == 20
    assert len(faults('{"a": [' + "tru, " * 10_000 + "1]}")) == 20
    assert len(faults('{"a": "b\n' * 10_000)) <= 20
    assert len(faults("{a: 1, " + ", ".join('"b": 1' for _ in range(500)) + "}")) == 101


LINES = [
    ('"a{0}": 1', None),
    ('"a{0}": [1, {{"b": "c, d"}}]', None),
    ('"a{0}": True', "JSON has no True"),
    ("\"a{0}\": 'b'", "text stands in double quotes"),
    ('"a{0}": "b', "text is not closed"),
    ('"a{0}": [1 2]', "a comma is missing"),
    ('"a{0}": {{"b" 1}}', 'expected ":"'),
    ('"a{0}": {{"b": 1,}}', "JSON allows no comma"),
    ('"a{0}": [[1], [2, {{"b": 3]]', "this object is not closed"),
    ('"a{0}": ', "has no value"),
    ('"a{0}": "\\d"', "a backslash"),
    ("a{0}: 1", "a key stands in double quotes"),
    ('"a{0}": 1 = 2', "entries are separated"),
    ('"a{0}": "b"c"', "the text ends before this"),
    ('"a{0}": NaN', "JSON has no NaN"),
    ('"a{0}": 1, # b', "JSON has no comments"),
]


@UNTIMED
@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=15))
def test_each_faulty_line_is_told_once(lines: list[tuple[str, str | None]]) -> None:
    written = [line.format(number).partition(", #") for number, (line, _) in enumerate(lines)]
    commas = ["," if number < len(lines) - 1 else "" for number in range(len(lines))]
    text = "\n".join(
        [
            "{",
            *(
                f"{line}{comma}{mark and ' #'}{rest}"
                for (line, mark, rest), comma in zip(written, commas, strict=True)
            ),
            "}",
        ]
    )
    expected = [(number + 2, said) for number, (_, said) in enumerate(lines) if said is not None]
    found = faults(text) if expected else ()
    assert [fault.span and fault.span.line for fault in found] == [line for line, _ in expected], text
    for fault, (_, said) in zip(found, expected, strict=True):
        assert said in fault.message


documents = st.recursive(
    st.sampled_from([None, True, 0, -1.5, 10**30, "", "a", 'b"c\\', "é\n", "日", "NaN", "9" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
pieces = st.sampled_from(
    ["[", "]", "{", "}", '"', "'", "=", ":", ",", "\n", " ", "#", "//", "/*", "*/", "a", "1", "01", "true",
     "None", "NaN", "\\", "\\u12", "é", "\0", "\t", '"a": 1', '"a": 1,', "9" * 5000, "[" * 70, '"\\ud800"']
)  # fmt: skip


@UNTIMED
@given(
    st.dictionaries(st.sampled_from("abc"), documents, max_size=3),
    st.sampled_from([None, 1]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 3), pieces), max_size=4),
)
def test_json_is_the_judge(document: object, indent: int | None, cuts: list[tuple[int, int, str]]) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    for start, length, piece in cuts:
        start %= len(text) + 1
        text = text[:start] + piece + text[start + length :]
    again = False

    def table(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal again
        again = again or len(dict(pairs)) < len(pairs)
        return dict(pairs)

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        wanted = json.loads(text, object_pairs_hook=table, parse_constant=refuse) if text.strip() else {}
        valid = isinstance(wanted, dict) and not again
    except (ValueError, RecursionError):
        valid = False
    if valid:
        assert parse_json("f", text) == wanted
        return
    found = faults(text)
    lines = text.split("\n")
    places = []
    for fault in found:
        assert fault.help
        assert fault.span is not None
        assert fault.span.text == lines[fault.span.line - 1].removesuffix("\r")
        assert 1 <= fault.span.column <= len(lines[fault.span.line - 1]) + 1
        places.append((fault.span.line, fault.span.column))
    assert places == sorted(set(places))
    assert 1 <= len(found) <= 120
