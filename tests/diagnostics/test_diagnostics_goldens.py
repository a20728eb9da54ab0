"""What a person reads: for each code of this floor a bad spec and the whole text of its diagnostics.

A case is a file `goldens/CODE….toml` (or .json, or no file at all), overrides one a line in `CODE….set` where
there are some, and the expected text in `CODE….txt`. To accept new texts after looking at them:
`python tests/diagnostics/test_diagnostics_goldens.py`.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from n2nspec.diagnostics import CODES, DiagnosticError, render_all
from n2nspec.spec import load, parse_override

GOLDENS = Path(__file__).parent / "goldens"
CASES = sorted(path.stem for path in GOLDENS.glob("*.txt"))
RAISED_BY_SPEC = [*(code for code in CODES if code.startswith("E1")), "E201"]


def diagnose(case: str) -> str:
    """The text for a case; the working folder is `goldens`, so that paths are the same everywhere."""
    files = [file for file in sorted(Path().glob(f"{case}.*")) if file.suffix not in (".txt", ".set")]
    changes = Path(f"{case}.set")
    lines = changes.read_text(encoding="utf-8").splitlines() if changes.exists() else []
    try:
        load(files[0] if files else f"{case}.toml", dict(parse_override(line) for line in lines))
    except DiagnosticError as error:
        return render_all(error.diagnostics) + "\n"
    raise AssertionError(f"{case} loads without a mistake")


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDENS)
    text = diagnose(case)
    assert text == Path(f"{case}.txt").read_text(encoding="utf-8")
    assert f"[{case[:4]}]" in text


@pytest.mark.parametrize("code", RAISED_BY_SPEC)
def test_every_code_has_a_golden(code: str) -> None:
    assert any(case.startswith(code) for case in CASES)


def test_every_input_has_a_golden() -> None:
    assert {path.stem for path in GOLDENS.iterdir()} == set(CASES)


if __name__ == "__main__":
    with contextlib.chdir(GOLDENS):
        for name in sorted({path.stem for path in Path().iterdir()}):
            Path(f"{name}.txt").write_text(diagnose(name), encoding="utf-8")
