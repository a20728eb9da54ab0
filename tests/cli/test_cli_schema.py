"""`n2nspec schema`: to the screen, or to a file that nothing else is lost for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from n2nspec.cli import main
from n2nspec.spec.schema import SCHEMA_FILE, json_schema

Output = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]


def test_to_the_screen(capsys: Output) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_to_a_file_which_it_may_replace(tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / SCHEMA_FILE
    assert main(["schema", "-o", str(file)]) == 0
    assert capsys.readouterr().out.strip() == str(file)
    assert file.read_bytes() == (ROOT / "specs" / SCHEMA_FILE).read_bytes()
    file.write_text(json.dumps({"title": "n2nspec spec", "of": "last year"}), encoding="utf-8")
    assert main(["schema", "-o", str(file)]) == 0
    assert json.loads(file.read_text(encoding="utf-8")) == json_schema()


@pytest.mark.parametrize("content", ["spec_version = 1", '{"spec_version": 1}', "[1, 2]", "\0"])
def test_other_files_are_not_written_over(content: str, tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "mine.json"
    file.write_text(content, encoding="utf-8")
    assert main(["schema", "-o", str(file)]) == 1
    assert "error[E403]" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8") == content


def test_places_that_cannot_be_written(tmp_path: Path, capsys: Output) -> None:
    assert main(["schema", "-o", str(tmp_path / "no" / "such" / "folder.json")]) == 1
    assert "error[E405]" in capsys.readouterr().err
    assert main(["schema", "-o", str(tmp_path)]) == 2


def test_the_schema_beside_specs_is_no_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("specs").mkdir()
    assert main(["schema", "-o", f"specs/{SCHEMA_FILE}"]) == 0
    assert main(["compile", "--check"]) == 1
    assert "there is none in ./specs" in capsys.readouterr().err


def test_a_spec_that_is_not_there(capsys: Output) -> None:
    assert main(["schema", "--spec", "gone.toml"]) == 1
    assert "error[E101]" in capsys.readouterr().err
