"""What breaks the grammar of TOML and JSON: the sentence, the text under the caret, the next step."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n2nspec.diagnostics import Diagnostic, DiagnosticError, Span
from n2nspec.spec.parse import parse_json, parse_toml

UNTIMED = settings(deadline=None)  # other work on the machine is no failure


def faults(text: str, *, toml: bool) -> tuple[Diagnostic, ...]:
    with pytest.raises(DiagnosticError) as caught:
        (parse_toml if toml else parse_json)("f", text)
    return caught.value.diagnostics


def under(span: Span) -> str:
    """The text over the caret; a line break counts as a space."""
    return f"{span.text} "[span.column - 1 : span.end_column - 1]


TOML = [
    # text, what stands over the caret, message, help
    ("a = True", "True", "TOML has no True", "write true"),
    ("a = off # x", "off", "TOML has no off", "write false"),
    ("a = None", "None", "TOML has no None", "leave the key out for its default"),
    ("a = [1, null]", "null", "TOML has no null", "leave the key out for its default"),
    ("a = ReLU", "ReLU", "text stands in quotes; received ReLU", 'write "ReLU"'),
    ("a = [N, 3]", "N", "text stands in quotes; received N", 'write "N"'),
    ("a = ./b/c.npz # x", "./b/c.npz", "text stands in quotes; received ./b/c.npz", 'write "./b/c.npz"'),
    ("a = “n”", "“n”", "text stands in straight quotes; received “n”", 'write "n"'),
    ("a = ${2*w}", "${2*w}", "text stands in quotes; received ${2*w}", 'write "${2*w}"'),
    ("a = 2*w", "2*w", 'an expression stands in "${…}"', 'write "${2*w}"'),
    ("a = w + 1", "w + 1", 'an expression stands in "${…}"', 'write "${w + 1}"'),
    ("a = (1, 2)", "(1, 2)", "a list stands in square brackets", "write [1, 2]"),
    ("a = .5", ".5", ".5 is no number of TOML", "write 0.5"),
    ("a = 5.", "5.", "5. is no number of TOML", "write 5.0"),
    ("a = 05", "05", "05 is no number of TOML", "write 5"),
    ("a = 50%", "50%", "50% is no number of TOML", 'text stands in quotes: write "50%"'),
    ("a = 0,5", ",5", "a decimal number is written with a point", "write 0.5"),
    ("a = 1, 2", ", 2", "several values stand in square brackets", "write [1, 2]"),
    ("a = 1,", ",", "TOML allows no comma behind a value", "remove the comma"),
    ("a = 1;", ";", 'TOML allows no ";" behind a value', "remove it"),
    ("a = 1 // b", "// b", 'a comment begins with "#"', "write # b"),
    ("// b\na = 1", "// b", 'a comment begins with "#"', "write # b"),
    ("a = 1 b = 2", "b = 2", "each key has a line of its own", "write this on the next line"),
    ("a = 1 2", "2", "only one value stands behind a key", "several values stand in brackets: [1, 2]"),
    ('a = "b" c"', 'c"', "the text ends before this", 'a quote inside of text is written \\"'),
    ("a = 1]", "]", 'no bracket is open that "]" could close', "remove it, or open it"),
    ("a =", "a", "the key a has no value", "write a = …"),
    ("a = # b", "a", "the key a has no value", "write a = …"),
    ("a", "a", "the key a has no value", "write a = …"),
    ("a = { b = , c = 1 }", "b", "the key b has no value", "write b = …"),
    ("a: 1", ":", 'expected "=" behind the key a; received ":"', "write a = 1"),
    ("a: b", ":", 'expected "=" behind the key a; received ":"', 'write a = "b"'),
    ("a := 1", ":=", 'expected "=" behind the key a; received ":="', "write a = 1"),
    ('a = { b: "c" }', ":", 'expected "=" behind the key b; received ":"', 'write b = "c"'),
    ("a:", ":", 'expected "=" behind the key a; received ":"',
     "write a = …, or [a] as the header of a table"),
    ('a "b"', '"b"', 'expected "=" behind the key a', 'write a = "b"'),
    ("a == 1", "=", 'one "=" stands between a key and its value', "remove this one"),
    ("= 1", "=", 'there is no key before "="', "write key = value"),
    ("kernel size = 3", "kernel size", "kernel size is no key: a key is one word of a-z, 0-9, _ and -",
     "write kernel_size"),
    ("größe = 3", "größe", "größe is no key: a key is one word of a-z, 0-9, _ and -", 'write "größe"'),
    ("a. = 3", ".", "a part of the key is missing behind the point",
     "a dotted key is written train.optimizer.lr"),
    ("- a: b", "-", 'TOML has no lists with "-"',
     "the entries of a list stand in [ ]; layers each stand under a header [[encoder]]"),
    ("This is my network.", "This is my network.", 'expected "=" behind the key This',
     "a line is [a table], key = value, or # a comment"),
    ("}", "}", 'no bracket is open that "}" could close', "remove it"),
    ("[a", "[a", "the header of a table stands between [ and ]", "write [a]"),
    ("[a # b", "[a", "the header of a table stands between [ and ]", "write [a]"),
    ("[[a]", "[[a]", "the header of a table stands between [[ and ]]", "write [[a]]"),
    ("[a]]", "[a]]", "the header of a table stands between [[ and ]]", "write [[a]]"),
    ("[[a]]\n[a]]", "[a]]", "the header of a table stands between [[ and ]]", "write [[a]]"),
    ("[[[a]]]", "[[[a]]]", "the header of a table stands between [[ and ]]", "write [[a]]"),
    ('[a = "b"', "[", "a bracket stands before a key", "remove it"),
    ("[]", "[]", "a header without a name", "for example [train], or [[encoder]] for a layer"),
    ("[a.]", "a.", "a part of the key is missing beside a point", "write [a]"),
    ("[a b]", "a b", "a b is no key: it needs quotes or other letters", 'write ["a b"]'),
    ("[a] b = 1", "b = 1", "the header of a table stands on a line of its own",
     "write what follows it on the next line"),
    ('a = "b', '"b', "text is not closed where its line ends",
     'write " at its end; text of several lines stands between """'),
    ("a = 'b\nc = 'd'", "'b", "text is not closed where its line ends",
     "write ' at its end; text of several lines stands between '''"),
    (r'a = "C:\"', r'"C:\"', "text is not closed where its line ends",
     r'write \\ for a backslash: \" is a quote inside the text'),
    ('a = """b\nc = 1\n', '"""', 'the text that opens with """ is not closed', 'write """ at its end'),
    (r'a = "C:\data"', r"\d", r"a backslash begins an escape such as \n; \d is none",
     r"write / instead, or \\ for one backslash, or put the text in single quotes"),
    (r'a = "C:\Users"', r"\U", r"\U is followed by 8 hexadecimal digits of a character",
     r"write / instead, or \\ for one backslash, or put the text in single quotes"),
    ('a = "b\0"', "\0", "the control character U+0000 may not stand here", "remove it"),
    ("a = 1\rb = 2", "\r", "a line ends with a carriage return alone",
     "save the file with line ends of Unix (LF) or of Windows (CRLF)"),
    ("a = [1, 2", "[", "this list is not closed", 'write "]" at its end'),
    ("a = [1, 2,\nb = 3", "[", "this list is not closed", 'write "]" at its end'),
    ("a = [\n1\n[[b]]\nc = 1", "[", "this list is not closed", 'write "]" at its end'),
    ("a = {b = [1, 2}", "[", "this list is not closed", 'write "]" at its end'),
    ("a = [1 2]", "2", "a comma is missing before this", "write a comma before it"),
    ('a = ["b", "c, "d"]', 'd"', "a comma is missing before this",
     'look for a missing " on this line, or write a comma'),
    ("a = [1; 2]", ";", 'entries are separated by ","; received ";"', "write a comma"),
    ("a = [1,, 2]", ",", "a value is missing before this", "write one, or remove the comma"),
    ("a = { b = 1 c = 2 }", "c", "a comma is missing before this", "write a comma before it"),
    ("a = { b = 1, }", ",", "TOML allows no comma before the end of { }", "remove the comma"),
    ("[t]\na = { b = 1\n", "{ b = 1", "a table in { } is not closed on the line where it opens",
     "close it on this line, or write a table of its own under [t.a]"),
    ("[[t]]\na = {\n b = 1\n}\n", "{", "a table in { } is not closed on the line where it opens",
     "close it on this line, or write a table of its own under [t.a]"),
    ("a = 2024-13-01", "2024-13-01", "2024-13-01 is no value of TOML",
     'text stands in quotes: write "2024-13-01"'),
    ("a = 2024-02-30", "2024-02-30", "there is no date or time 2024-02-30",
     'if it is text, write "2024-02-30"'),
    ("a = " + "9" * 5000, "9" * 5000, "an integer of thousands of digits", "an integer has 64 bits at most"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "over", "message", "help"), TOML, ids=[case[0][:20] for case in TOML])
@pytest.mark.parametrize("before", ["", 'first = ["#", \'"\'] # "\r\n\r\n'])
def test_toml(before: str, text: str, over: str, message: str, help: str) -> None:
    (fault,) = faults(before + text, toml=True)
    assert fault.span is not None
    assert (fault.code, fault.message, fault.help) == ("E102", message, help)
    assert under(fault.span) == over
    assert fault.span.line > before.count("\n")


@pytest.mark.parametrize(
    ("text", "message", "help"),
    [
        ('{"a": 1}', "the file holds JSON, and its name ends in .toml", "let its name end in .json"),
        (
            '{"a": 1,}',
            "no line of TOML begins with a brace",
            "if the file holds JSON, let its name end in .json",
        ),
    ],
)
def test_json_under_the_name_of_toml(text: str, message: str, help: str) -> None:
    (fault,) = faults(text, toml=True)
    assert fault.span is not None
    assert (fault.message, fault.help, under(fault.span)) == (message, help, "{")


JSON = [
    ('{"a": 1 "b": 2}', " ", "a comma is missing here", "write a comma behind this entry"),
    ('{"a": "x"\n"b": 2}', " ", "a comma is missing here", "write a comma behind this entry"),
    ('{"a": [1 2]}', " ", "a comma is missing here", "write a comma behind this entry"),
    ('{"a": [1, 2}', "[", "this list is not closed", 'write "]" at its end'),
    ('{"a": [1, 2, "b": 3}', "[", "this list is not closed, or it should be an object",
     'write "]" where the list ends, or { } around keys and values'),
    ('{"a": {"b": 1]}', "]", 'no list is open that "]" could close', 'remove it, or write "}" in its place'),
    ('{"a": 1\n', "{", "this object is not closed", 'write "}" at its end'),
    ('{"a": [1, 2', "[", "this list is not closed",
     'write "]" at its end; 2 brackets are open where the file ends, which takes ] }'),
    ('{"a": 1,}', ",", "JSON allows no comma before the end of an object", "remove the comma"),
    ('{"a": [1,\n]}', ",", "JSON allows no comma before the end of a list", "remove the comma"),
    ('{"a": [1,, 2]}', ",", "an entry is missing before this comma", "write it, or remove the comma"),
    ('{"a": 1 // b\n}', "// b", "JSON has no comments",
     "remove it, or put it under the key description; TOML has comments"),
    ('# b\n{"a": 1}', "# b", "JSON has no comments",
     "remove it, or put it under the key description; TOML has comments"),
    ('{"a": /* b */ 1}', "/* b */", "JSON has no comments",
     "remove it, or put it under the key description; TOML has comments"),
    ("{\"a\": 'b'}", "'b'", "text stands in double quotes; received 'b'", 'write "b"'),
    ("{\"a\": 'b}", "'", "text stands in double quotes", 'write " on both sides of it'),
    ("{'a': 1}", "'a'", "a key stands in double quotes; received 'a'", 'write "a"'),
    ("{a: 1}", "a", "a key stands in double quotes; received a", 'write "a"'),
    ('{"a": True}', "True", "JSON has no True", "write true"),
    ('{"a": None}', "None", "JSON has no None", "leave the key out for its default"),
    ('{"a": ["NaN", NaN]}', "NaN", "JSON has no NaN", "write a number, or leave the key out for its default"),
    ('{"a": -Infinity}', "-Infinity", "JSON has no -Infinity",
     "write a number, or leave the key out for its default"),
    ('{"a": ReLU}', "ReLU", "text stands in quotes; received ReLU", 'write "ReLU"'),
    ('{"a": 2*w}', "2*w", 'an expression stands in "${…}"', 'write "${2*w}"'),
    ('{"a" = 1}', "=", 'expected ":" behind the key "a"; received "="', 'write "a": …'),
    ('{"a" 1}', " ", 'expected ":" behind the key "a"', 'write "a": …'),
    ('{"a": , "b": 1}', '"a"', 'the key "a" has no value', 'write "a": …'),
    ('{"a":}', '"a"', 'the key "a" has no value', 'write "a": …'),
    ('{"a"}', '"a"', 'the key "a" has no value', 'write "a": …'),
    ('{"a": 03}', "03", "03 is no number of JSON", "write 3"),
    ('{"a": .5}', ".5", ".5 is no number of JSON", "write 0.5"),
    ('{"a": +5}', "+5", "+5 is no number of JSON", "write 5"),
    ('{"a": 0x1F}', "0x1F", "0x1F is no number of JSON", "write 31"),
    ('{"a": "b"c"}', "c", "the text ends before this", 'a quote inside of text is written \\"'),
    ('{"a": "b\n}', '"b', "text is not closed where its line ends",
     r'write " at its end; a line break inside of text is written \n'),
    ('{"a": "b', '"b', "text is not closed where its line ends",
     r'write " at its end; a line break inside of text is written \n'),
    (r'{"a": "C:\data"}', r"\d", r"a backslash begins an escape such as \n; \d is none",
     r"write / instead, or \\ for one backslash"),
    ('{"a": "b\tc"}', "\t", "a tab may not stand in text", r"write \t"),
    ('{"a": 1}}', "}", 'no bracket is open that "}" could close', "remove it, or open it"),
    ('{"a": 1}\n{"b": 2}', '{"b": 2}', "the spec ends before this: a file holds one object",
     "remove it, or move it into the braces"),
    ('"a": 1', '"', "a spec stands in braces", 'write "{" before it and "}" behind it'),
    ("a = 1\n", "a", "the file holds TOML, and its name ends in .json", "let its name end in .toml"),
    ("[a]\nb = 1\n", "[", "the file holds TOML, and its name ends in .json", "let its name end in .toml"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "over", "message", "help"), JSON, ids=[case[0][:20] for case in JSON])
def test_json(text: str, over: str, message: str, help: str) -> None:
    (fault,) = faults(text, toml=False)
    assert fault.span is not None
    assert (fault.code, fault.message, fault.help) == ("E103", message, help)
    assert under(fault.span) == over


@pytest.mark.parametrize(
    ("text", "toml", "opening", "meeting"),
    [
        ("a = [\n1, 2\n\n[[b]]\nc = 1", True, (1, 5), (4, 1)),
        ("a = [1, 2,\nb = 3", True, (1, 5), (2, 1)),
        ("a = {b = [1, 2}", True, (1, 10), (1, 15)),
        ('{"a": [\n1, 2\n}', False, (1, 7), (3, 1)),
        ('{"a": ["b",\n"c": 1]}', False, (1, 7), (2, 4)),
    ],
)
def test_an_open_bracket_is_shown_with_what_it_met(
    text: str, toml: bool, opening: tuple[int, int], meeting: tuple[int, int]
) -> None:
    (fault,) = faults(text, toml=toml)
    (label,) = fault.labels
    assert fault.span is not None
    assert (fault.span.line, fault.span.column) == opening
    assert (label.span.line, label.span.column) == meeting


def places(found: tuple[Diagnostic, ...]) -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
    """Message, place and second place."""
    spans = [(fault.message, fault.span, fault.labels[0].span) for fault in found]
    return [
        (message, (second.line, second.column), (first.line, first.column))
        for message, second, first in spans
        if second is not None
    ]


def test_every_key_that_a_toml_text_has_twice() -> None:
    text = "a = 1\na = 2\nb = { c = 1, c = 2 }\n[t]\nd.e = 1\nd.e = 2\n'a' = 3\n[t.d]\n"
    text += "[t]\nf = 1\nf = 2\n[a.g]\n"
    assert places(faults(text, toml=True)) == [
        ('the key "a" is written twice', (2, 1), (1, 1)),
        ('the key "c" is written twice', (3, 14), (3, 7)),
        ('the key "e" is written twice', (6, 3), (5, 3)),
        ("the table [t.d] is written twice", (8, 4), (5, 1)),
        ("the table [t] is written twice", (9, 2), (4, 2)),
        ('the key "f" is written twice', (11, 1), (10, 1)),
        ('"a" is written as a value, and again as a table', (12, 2), (1, 1)),
    ]


def test_every_key_that_a_json_text_has_twice() -> None:
    text = '{"b": {"z": 1, "z": 2}, "a": [{"y": 1, "y": 1}],\n"a": 2, "c": {"b": 1}, "\\u0062": 3}'
    assert places(faults(text, toml=False)) == [
        ('the key "z" is written twice', (1, 16), (1, 8)),
        ('the key "y" is written twice', (1, 40), (1, 32)),
        ('the key "a" is written twice', (2, 1), (1, 25)),
        ('the key "b" is written twice', (2, 24), (1, 2)),
    ]


def test_a_layer_table_with_one_bracket_is_told_so() -> None:
    (fault,) = faults('[[encoder]]\ntype = "ReLU"\n[encoder]\ntype = "ReLU"\n', toml=True)
    assert fault.help == "write [[encoder]], with two brackets, above each of several"
    (fault,) = faults("[train]\nepochs = 1\n[train]\nepochs = 1\n", toml=True)
    assert fault.help == "write all its keys under one header"


def test_a_toml_text_is_read_on_after_a_fault() -> None:
    text = "a: 1\n[t\nb = True\nb = 1\nc = [1 2]\nb = 2\n[t]\nd = ten\n[u]\ne = [\nf = 1\n"
    found = faults(text, toml=True)
    assert [(fault.message, fault.span.line if fault.span else 0) for fault in found] == [
        ('expected "=" behind the key a; received ":"', 1),
        ("the header of a table stands between [ and ]", 2),
        ("TOML has no True", 3),
        ("a comma is missing before this", 5),
        ('the key "b" is written twice', 6),
        ("the table [t] is written twice", 7),
        ("text stands in quotes; received ten", 8),
        ("this list is not closed", 10),
    ]
    assert [fault.labels[0].span.text for fault in found if "table [t]" in fault.message] == ["[t"]


def test_texts_of_another_kind_do_not_end_in_a_cascade() -> None:
    assert len(faults("This is my network.\nIt is good.\n" * 50, toml=True)) == 1
    assert len(faults("a = True\n" * 50, toml=True)) == 20
    assert len(faults("a = 1\n" * 500, toml=True)) == 100
    assert len(faults('{"a": 1' + ', "a": 1' * 500 + "}", toml=False)) == 100


@pytest.mark.parametrize(
    ("text", "toml", "place"),
    [
        ("a = " + "[" * 5000, True, (1, 69)),
        ("a = " + "[" * 70 + "]" * 70, True, (1, 69)),
        ("x = 1\n" + "a." * 70 + "b = 1", True, (2, 1)),
        ("[" + "a." * 40 + "b]\n" + "c." * 40 + "d = 1\n", True, None),
        ('{"a": ' + "[" * 100_000, False, (1, 71)),
    ],
)
def test_what_is_nested_too_deeply_has_a_place(
    text: str, toml: bool, place: tuple[int, int] | None, tmp_path: Any
) -> None:
    from n2nspec.spec.source import read

    file = tmp_path / ("a.toml" if toml else "a.json")
    file.write_text(text)
    with pytest.raises(DiagnosticError) as caught:
        read(file)
    (fault,) = caught.value.diagnostics
    assert (fault.code, fault.help) == ("E107", "a spec needs only a few levels")
    assert fault.span is not None
    if place is not None:
        assert (fault.span.line, fault.span.column) == place


def test_points_inside_of_text_and_comments_are_no_long_key() -> None:
    points = "1." * 200
    assert parse_toml("f", f"a = \"{points}1\" # {points}1\nb = '{points}'") == {
        "a": f"{points}1",
        "b": points,
    }


@pytest.mark.parametrize(("text", "over"), [("[1, 2]", "[1, 2]"), ("\n  3\n", "3"), ('"a"', '"a"')])
def test_a_json_text_that_is_no_object(text: str, over: str) -> None:
    (fault,) = faults(text, toml=False)
    assert fault.code == "E112"
    assert fault.span is not None
    assert under(fault.span) == over


bits = st.lists(
    st.sampled_from(
        ["[", "[[", "]", "]]", "{", "}", '"', "'", '"""', "=", ":", ",", ".", "\n", "\r\n", " ", "#", "//",
         "a", "b", "1", "01", ".5", "true", "None", "\\", "${a}", "é", "\0", "-", "+", "a = 1\n", "[t]\n",
         "[[l]]\n", '{"a": 1}', "99:99:99"]
    ),
    max_size=20,
).map("".join)  # fmt: skip


@UNTIMED
@given(bits, st.booleans())
def test_every_fault_has_a_place_in_the_text_and_a_help(text: str, toml: bool) -> None:
    try:
        (parse_toml if toml else parse_json)("f", text)
    except DiagnosticError as error:
        lines = text.split("\n")
        for fault in error.diagnostics:
            assert fault.help
            assert fault.span is not None
            assert 1 <= fault.span.line <= len(lines)
            assert 1 <= fault.span.column <= len(lines[fault.span.line - 1]) + 1
        found = [(fault.span.line, fault.span.column) for fault in error.diagnostics if fault.span]
        assert found == sorted(set(found))


names = st.sampled_from(["a", "b", "a.b", "b.a", "a.b.a"])
statements = st.one_of(
    names.map("{} = 1".format),
    names.map("{} = {{ a = 1, b.a = 2 }}".format),
    st.tuples(names, names).map(lambda pair: f"a = {{ {pair[0]} = 1, {pair[1]} = 2 }}"),
    names.map("{} = [{{ a = 1 }}]".format),
    names.map("[{}]".format),
    names.map("[[{}]]".format),
)


@UNTIMED
@given(st.lists(statements, max_size=6).map("\n".join))
def test_duplicates_are_those_that_tomllib_refuses(text: str) -> None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        found = faults(text, toml=True)
        assert found
        assert all(len(fault.labels) == 1 and "written" in fault.message for fault in found)
    else:
        from n2nspec.spec.duplicates_toml import duplicates
        from n2nspec.spec.text import Lines

        assert duplicates(Lines("f", text), text, 9) == []


@UNTIMED
@given(
    st.recursive(
        st.integers(0, 1).map(str),
        lambda inner: st.lists(st.tuples(st.sampled_from("ab"), inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f'"{key}": {value}' for key, value in pairs) + "}"
        ),
        max_leaves=8,
    )
)
def test_duplicates_are_those_that_json_merges(text: str) -> None:
    lost: list[int] = []

    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        lost.append(len(pairs) - len(dict(pairs)))
        return dict(pairs)

    json.loads(text, object_pairs_hook=table)
    if sum(lost):
        assert len(faults(text, toml=False)) == sum(lost)
    elif text.startswith("{"):
        assert parse_json("f", text) == json.loads(text)
