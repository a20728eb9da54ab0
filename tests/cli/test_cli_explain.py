"""`n2nspec explain`."""

from __future__ import annotations

import pytest

from n2nspec.cli import main
from n2nspec.diagnostics import CODES


@pytest.mark.parametrize("spelling", ["E110", "e110", " E110 "])
def test_a_page(spelling: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", spelling]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("E110: unknown key\n\n")
    assert "Wrong:" in out
    assert "    kernal_size = 3\n" in out
    assert "\x1b" not in out


def test_without_a_code_it_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{code}  {title}" for code, title in CODES.items()]


def test_an_unknown_code_exits_1_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "E1100"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert 'there is no code "E1100"' in err
    assert 'did you mean "E110"?' in err
    assert main(["explain", "zzz"]) == 1
    assert "`n2nspec explain` lists all codes" in capsys.readouterr().err
