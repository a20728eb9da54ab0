"""The page of every code, and that its examples do what it says: they are run."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from n2nspec.cli import main
from n2nspec.diagnostics import CODES, DiagnosticError
from n2nspec.diagnostics.explanations import PAGES, Example, Explanation, explanation
from n2nspec.graph import check

ROOT = Path(__file__).parents[2]
WITH_LEAVE = {"E130"}
"""Its examples are one spec, with and without a flag; `tests/plugins` has it."""
OF_SPECS = [code for code in CODES if code[:2] in ("E1", "E2") or code[:2] == "W2" if code not in WITH_LEAVE]
AT_RUNTIME = {"E209"}
"""Its spec is fine until it is trained."""


def page(code: str) -> Explanation:
    found = explanation(code)
    assert found is not None
    return found


def test_there_is_a_page_for_every_code_and_no_other() -> None:
    assert {file.name for file in PAGES.iterdir()} == {f"{code}.md" for code in CODES}
    assert explanation("E999") is None


@pytest.mark.parametrize("code", CODES)
def test_a_page_reads_well_in_a_terminal(code: str) -> None:
    text = page(code).text
    assert text.startswith(f"{code}: {CODES[code]}\n\n")
    assert "\n\nWrong:" in text
    assert "\n\nRight:" in text
    assert "```" not in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert max(map(len, page(code).meaning.splitlines())) <= 115
    assert page(code).wrong.text != page(code).right.text or page(code).wrong.note


def found_by(example: Example, folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The codes that an example produces."""
    language, _, encoding = example.language.partition(" ")
    if language == "console":
        (line,) = example.text.splitlines()
        words = shlex.split(line.removeprefix("$ n2nspec "))
        main([*words, "--format", "json"])
        return [problem["code"] for problem in json.loads(capsys.readouterr().out)["diagnostics"]]
    # a plugin in Python is judged by a spec that names it, and a spec may name the plugin that is right
    plugin, spec = page("E135").right, example
    if language == "python":
        plugin, spec, language = example, page("E131").right, "toml"
    (folder / "my_layers.py").write_text(plugin.text + "\n", encoding="utf-8")
    shutil.copy(ROOT / "specs" / "n2n.toml", folder)  # what an example may extend
    file = folder / f"example.{language}"
    file.write_text(spec.text + "\n", encoding=encoding or "utf-8")
    try:
        return [warning.code for warning in check(file, allow_plugins=True).warnings]
    except DiagnosticError as error:
        return [problem.code for problem in error.diagnostics]


@pytest.mark.parametrize("code", [code for code in OF_SPECS if code not in AT_RUNTIME])
def test_the_wrong_example_is_wrong_in_just_that_way(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert set(found_by(page(code).wrong, tmp_path, capsys)) == {code}


@pytest.mark.parametrize("code", OF_SPECS)
def test_the_right_example_is_right(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert found_by(page(code).right, tmp_path, capsys) == []
