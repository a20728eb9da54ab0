"""Annotations for GitHub: one line each, everything escaped that the runner would take for its own."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2nspec.diagnostics import COMMAND_LINE, Diagnostic, Span, to_github


def at(file: str = "specs/a.toml", line: int = 3, end_line: int = 3) -> Span:
    return Span(file=file, line=line, column=5, end_line=end_line, end_column=8)


def test_whole_line() -> None:
    diagnostic = Diagnostic(
        code="E112", message="expected 3", file="specs/a.toml", span=at(), path="a", help="write 3"
    )
    assert to_github(diagnostic) == (
        "::error file=specs/a.toml,line=3,endLine=3,col=5,endColumn=8,title=E112%3A wrong type"
        "::expected 3%0Ahelp: write 3"
    )


def test_a_warning_without_a_place() -> None:
    assert to_github(Diagnostic(code="W302", message="m")) == "::warning title=W302%3A no validation data::m"
    assert "file=a.toml,title" in to_github(Diagnostic(code="E101", message="m", file="a.toml"))


def test_columns_only_within_one_line() -> None:
    line = to_github(Diagnostic(code="E112", message="m", span=at(end_line=4)))
    assert "line=3,endLine=4,title=" in line
    assert "col" not in line


def test_a_value_of_the_command_line_is_in_no_file_but_belongs_to_the_spec() -> None:
    diagnostic = Diagnostic(code="E113", message="m", file="a.toml", span=at(COMMAND_LINE))
    assert to_github(diagnostic).startswith("::error file=a.toml,title=")
    assert "line" not in to_github(diagnostic)


@pytest.mark.parametrize(
    ("text", "data", "value"),
    [
        ("100%", "100%25", "100%25"),
        ("a\r\nb", "a%0D%0Ab", "a%0D%0Ab"),
        ("a,b:c", "a,b:c", "a%2Cb%3Ac"),
        ("%2C", "%252C", "%252C"),
        ("::set-env name=A::b", "::set-env name=A::b", "%3A%3Aset-env name=A%3A%3Ab"),
    ],
)
def test_escaping(text: str, data: str, value: str) -> None:
    assert to_github(Diagnostic(code="E112", message=text)).endswith(f"::{data}")
    assert f"file={value},title=" in to_github(Diagnostic(code="E112", message="m", file=text))


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """What the runner reads: the command, its properties, its message."""
    found = re.fullmatch(r"::(\w+) ([^\r\n]*?)::([^\r\n]*)", line)
    assert found
    properties = dict(part.split("=", 1) for part in found[2].split(","))

    def plain(text: str) -> str:
        for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
            text = text.replace(code, character)
        return text

    return found[1], {key: plain(value) for key, value in properties.items()}, plain(found[3])


@given(message=st.text(), file=st.text(min_size=1))
def test_what_goes_in_comes_out(message: str, file: str) -> None:
    fields: dict[str, Any] = {"code": "E112", "file": file}
    command, properties, text = parsed(to_github(Diagnostic(message=message, **fields)))
    assert (command, properties["file"]) == ("error", file)
    if "%" not in message:  # "%0A" written out is told from a line break only by the order of replacements
        assert text == message


def test_the_command_line_is_no_file() -> None:
    span = Span(file=COMMAND_LINE, line=1, column=1, end_line=1, end_column=2, text="=3")
    assert "file=" not in to_github(Diagnostic(code="E117", message="m", file=COMMAND_LINE, span=span))
