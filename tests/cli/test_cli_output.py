"""How diagnostics reach a person: on stderr, apart from each other, counted, in colour on a terminal only."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from n2nspec.cli import main
from n2nspec.cli._output import MOST_SHOWN, print_diagnostics, stderr
from n2nspec.diagnostics import Diagnostic, summary

ERROR, WARNING = Diagnostic(code="E112", message="a"), Diagnostic(code="W201", message="b")


def shown(capsys: pytest.CaptureFixture[str], *diagnostics: Diagnostic) -> str:
    print_diagnostics(diagnostics)
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_one_stands_alone_and_several_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == ""
    assert shown(capsys, ERROR) == "error[E112]: a\n"
    assert shown(capsys, ERROR, ERROR, WARNING) == (
        "error[E112]: a\n\nerror[E112]: a\n\nwarning[W201]: b\n\n2 errors, 1 warning\n"
    )


def test_summary() -> None:
    assert summary([]) == ""
    assert summary([ERROR]) == "1 error"
    assert summary([WARNING, WARNING]) == "2 warnings"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_on_a_terminal_that_wants_it(
    variables: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _coloured(Terminal(), variables, monkeypatch) == coloured


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": ""}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_no_colour_in_a_pipe_unless_it_is_asked_for(
    variables: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _coloured(io.StringIO(), variables, monkeypatch) == coloured
    assert not stderr().is_terminal  # no bar that moves


def _coloured(stream: io.StringIO, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> bool:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", stream)
    print_diagnostics([ERROR])
    return "\x1b[" in stream.getvalue()


SPEC = """\
spec_version = 1
name = "t"
input.x = ["N", 3, "H", "W"]

[[encoder]]
type = "ReLU"

[[encoder]]
type = "ReLU"
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("a,b.toml").write_text(SPEC)
    return Path("a,b.toml")


def test_github_annotates_warnings(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(spec), "--check", "--format", "github"]) == 0
    out, err = capsys.readouterr()
    assert out == (
        "::warning file=a%2Cb.toml,line=8,endLine=8,col=1,endColumn=12,title=W202%3A activation right after"
        ' itself::"relu2" is a ReLU right after "relu1", another one%0Ahelp: remove one of them, or put a'
        " layer with weights in between\n"
    )
    assert "warning[W202]" in err


def test_of_very_many_the_first_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    many = [Diagnostic(code="E112", message=f"number {index}") for index in range(MOST_SHOWN + 1_200)]
    lines = shown(capsys, *many).splitlines()
    assert [line for line in lines if line.startswith("error")][-1] == f"error[E112]: number {MOST_SHOWN - 1}"
    assert lines[-3:] == ["… and 1,200 more", "", f"{len(many)} errors".replace("1300", "1,300")]
    assert "more" not in shown(capsys, *many[:MOST_SHOWN])


def test_github_annotates_every_error_of_every_stage(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec.write_text(SPEC + '\n[[decoder]]\ntype = "ReLU"\nfrom = "nobody"\n\n[train]\nepochs = "3"\n')
    assert main(["compile", str(spec), "--check", "--format", "github"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("title=")[2][:4] for line in lines] == ["E203", "E112"]
    assert all(line.startswith("::error file=a%2Cb.toml,line=") for line in lines)


def test_github_says_nothing_about_a_sound_spec(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "specs/n2n.toml", "--check", "--format", "github"]) == 0
    assert capsys.readouterr() == ("", "")


def test_json_reports_errors_of_all_stages_and_warnings(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", str(spec), "--check", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert '"W202"' in out
    assert err == ""


def test_a_size_asks_about_the_rows_of_that_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    conv = '[[encoder]]\ntype = "Conv2d"\nout_channels = 3\nkernel_size = 3\nstride = 2\n'
    Path("a.toml").write_text(SPEC.partition("[[")[0] + conv)
    assert main(["compile", "a.toml", "--check"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["compile", "a.toml", "--check", "--size", "32x32"]) == 0
    out, err = capsys.readouterr()
    assert "never reads the last row and column" in err
    assert out.rstrip().endswith("ok, 1 warning")
    assert main(["compile", "a.toml", "--check", "--size", "33x33"]) == 0
    assert capsys.readouterr().err == ""
