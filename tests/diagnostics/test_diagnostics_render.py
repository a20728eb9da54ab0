"""Rendering: carets under tabs, wide characters and long lines; labels; JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from n2nspec.diagnostics import (
    CODES,
    Diagnostic,
    Label,
    Span,
    closest,
    describe_value,
    did_you_mean,
    plural,
    quote,
    render,
    render_path,
    to_json,
)


def at(text: str, part: str, *, line: int = 7) -> Span:
    """The span of `part` in a line."""
    start = text.index(part) + 1
    return Span(
        file="a.toml", line=line, column=start, end_line=line, end_column=start + len(part), text=text
    )


def shown(text: str, part: str) -> tuple[str, str]:
    """The source line and the line of carets, without the margin."""
    lines = render(Diagnostic(code="E112", message="m", span=at(text, part))).splitlines()
    return lines[3].removeprefix("7 | "), lines[4].removeprefix("  | ")


def test_whole_text() -> None:
    here, there = "out_channels = 3", "out_channels = 16"
    diagnostic = Diagnostic(
        code="E206",
        message="channels disagree",
        file="a.toml",
        span=at(here, "3", line=104),
        path="encoder[2].out_channels",
        help="make them equal",
        labels=(Label(span=at(there, "16", line=9), text="16 channels here"),),
    )
    assert render(diagnostic) == (
        "error[E206]: channels disagree\n"
        "   --> a.toml:104:16\n"
        "    |\n"
        "104 | out_channels = 3\n"
        "    |                ^\n"
        "   ::: a.toml:9:16\n"
        "    |\n"
        "  9 | out_channels = 16\n"
        "    |                -- 16 channels here\n"
        "help: make them equal"
    )


def test_without_text() -> None:
    assert (
        render(Diagnostic(code="W201", message="m", path="encoder[0]")) == "warning[W201]: m\n --> encoder[0]"
    )
    assert (
        render(Diagnostic(code="E301", message="m", file="f", help="h")) == "error[E301]: m\n --> f\nhelp: h"
    )
    assert render(Diagnostic(code="E301", message="m")) == "error[E301]: m"


@pytest.mark.parametrize(
    ("text", "part", "line", "carets"),
    [
        ("a = 3", "3", "a = 3", "    ^"),
        ("a\t=\t33", "33", "a    =    33", "          ^^"),
        ('"日本" = 3', "3", '"日本" = 3', " " * 9 + "^"),
        ('x = "日本"', '"日本"', 'x = "日本"', "    ^^^^^^"),
        ("e\u0301 = 3", "3", "e\u0301 = 3", "    ^"),
        ("\x1b[31m = 3", "m", "�[31m = 3", "    ^"),
    ],
)
def test_carets(text: str, part: str, line: str, carets: str) -> None:
    assert shown(text, part) == (line, carets)


def test_long_lines_are_cut_around_the_fault() -> None:
    text = "[" + "1, " * 300 + "x" + ", 2" * 300 + "]"
    line, carets = shown(text, "x")
    assert len(line) <= 102
    assert (line[0], line[-1]) == ("…", "…")
    assert line[carets.index("^")] == "x"


@pytest.mark.parametrize("before", [0, 5, 60, 99, 100, 101, 250, 100_000])
@pytest.mark.parametrize("after", [0, 5, 99, 100_000])
def test_the_caret_of_a_long_line_is_under_the_fault(before: int, after: int) -> None:
    line, carets = shown("1" * before + "x" + "2" * after, "x")
    assert line[carets.index("^")] == "x"
    assert carets.count("^") == 1
    assert len(line) <= 102
    assert (line[0] == "…") == (before + after >= 100 and before > 33)


def test_spans_of_several_lines_and_beyond_the_end() -> None:
    several = Span(file="f", line=1, column=5, end_line=3, end_column=2, text="a = [")
    assert render(Diagnostic(code="E112", message="m", span=several)).splitlines()[-1] == "  |     ^"
    beyond = Span(file="f", line=1, column=4, end_line=1, end_column=5, text="a =")
    assert render(Diagnostic(code="E102", message="m", span=beyond)).splitlines()[-1] == "  |    ^"


def test_a_span_without_its_line_has_it_read(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbffirst = \xff1\r\nsecond = 2\r\n")
    span = Span(file=str(file), line=2, column=10, end_line=2, end_column=11)
    assert render(Diagnostic(code="E112", message="m", span=span)).splitlines()[3:] == [
        "2 | second = 2",
        "  |          ^",
    ]
    gone = Span(file=str(tmp_path / "gone"), line=2, column=10, end_line=2, end_column=11)
    assert render(Diagnostic(code="E112", message="m", span=gone)).splitlines()[1] == f" --> {gone.file}:2:10"


def test_nothing_that_a_terminal_obeys_gets_through() -> None:
    text = render(Diagnostic(code="E101", message="a\x1b[2Jb\nc", file="d\x07", help="e\r"))
    assert not any(character < " " and character != "\n" for character in text)
    assert text.count("\n") == 2


def test_colour_only_when_asked() -> None:
    diagnostic = Diagnostic(code="E112", message="m", span=at("a = 3", "3"), help="h")
    assert "\x1b" not in render(diagnostic)
    coloured = render(diagnostic, color=True)
    assert "\x1b[1;31merror[E112]\x1b[0m" in coloured
    assert coloured.count("\x1b[0m") * 2 == coloured.count("\x1b")


def test_json_keys() -> None:
    diagnostic = Diagnostic(
        code="E112", message="m", file="a.toml", span=at("a = 3", "3"), path="a", help="h"
    )
    assert to_json(diagnostic) == {
        "code": "E112", "severity": "error", "message": "m", "file": "a.toml", "line": 7, "column": 5,
        "path": "a", "help": "h",
    }  # fmt: skip
    assert to_json(Diagnostic(code="W201", message="m", file="f")) == {
        "code": "W201", "severity": "warning", "message": "m", "file": "f", "line": None, "column": None,
        "path": "", "help": "",
    }  # fmt: skip


def test_codes_are_sorted() -> None:
    assert list(CODES) == sorted(CODES)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("kernal_size", "kernel_size"), ("conv2d", "Conv2d"), ("KernelSize", "kernel_size"), ("zzz", None),
        (3, None), ("k" * 10_000, None), ("", None),
    ],
)  # fmt: skip
def test_closest(word: object, expected: str | None) -> None:
    assert closest(word, ["kernel_size", "Conv2d", "stride"]) == expected


def test_did_you_mean() -> None:
    assert did_you_mean("strid", ["stride", "bias"]) == 'did you mean "stride"?'
    assert did_you_mean("x", ["stride", "bias"]) == 'choose one of "stride" and "bias"'
    assert did_you_mean("x", []) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", '"a"'), ('say "a"\n', '"say \\"a\\"\\n"'), ("\ud800\x7f", '"\\ud800\\u007f"'),
        (True, "true"), (3, "3"), (2.0, "2.0"), (None, "null"), ({}, "a table"), ([1, "a"], '[1, "a"]'),
        ([[1]], "a list of 1"), (list(range(9)), "a list of 9"),
        ("x" * 100, '"' + "x" * 59 + '…"'), (object(), "a Python object"),
    ],
)  # fmt: skip
def test_describe_value(value: object, text: str) -> None:
    assert describe_value(value) == text


def test_integers_too_long_to_print() -> None:
    assert describe_value(10**5000) == "an integer of very many digits"


def test_paths_and_quotes() -> None:
    assert render_path(("encoder", 0, "kernel_size", 1)) == "encoder[0].kernel_size[1]"
    assert render_path(("a b", "c")) == '"a b".c'
    assert render_path(()) == ""
    assert quote("日本") == '"日本"'


def test_one_of_a_thing_and_many() -> None:
    assert [plural(count, "pair") for count in (0, 1, 2, 10_000)] == [
        "0 pairs",
        "1 pair",
        "2 pairs",
        "10,000 pairs",
    ]
