"""What a person reads: for each code a case and the whole text of its diagnostics.

A case of a spec is a file `goldens/CODE….toml` (or .json, or no file at all), what the command line adds to
it one a line in `CODE….set` (`train.seed=1`, `--size 32x32`, `--allow-plugins`), and the expected text in
`CODE….txt`. Files that a case needs besides lie in `goldens/beside`. Codes of data, runs and devices come
from `provoke.py`. To accept new texts after looking at them, run this file:
`python tests/diagnostics/test_diagnostics_goldens.py`.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from provoke import PROVOKED

from n2nspec.diagnostics import CODES, Diagnostic, DiagnosticError, render_all
from n2nspec.graph import GivenSize, check, size_values, warnings_at
from n2nspec.spec import parse_overrides

GOLDENS = Path(__file__).parent / "goldens"
CASES = sorted(path.stem for path in GOLDENS.glob("*.txt"))


def diagnose(case: str, folder: Path) -> str:
    """The text for a case; specs are read where they lie, so that paths are the same everywhere."""
    if case in PROVOKED:
        with contextlib.chdir(folder):
            found = PROVOKED[case](folder)
    else:
        with contextlib.chdir(GOLDENS):
            found = of_spec(case)
    assert found, f"{case} finds nothing"
    with contextlib.chdir(folder if case in PROVOKED else GOLDENS):
        return render_all(found).replace(str(folder), "FOLDER") + "\n"


def of_spec(case: str) -> tuple[Diagnostic, ...]:
    files = [file for file in inputs() if file.stem == case]
    lines = (
        Path(f"{case}.set").read_text(encoding="utf-8").splitlines() if Path(f"{case}.set").exists() else []
    )
    options: dict[str, Any] = {"allow_plugins": "--allow-plugins" in lines}
    sizes = [line.removeprefix("--size ") for line in lines if line.startswith("--size ")]
    changes = parse_overrides(line for line in lines if not line.startswith("--"))
    try:
        graph = check(files[0] if files else f"{case}.toml", changes, **options)
        for size in sizes:
            height, width = map(int, size.split("x"))
            given = GivenSize.of((height, width), size)
            return warnings_at(graph, size_values(graph, given, 1))
        return graph.warnings
    except DiagnosticError as error:
        return error.diagnostics


def inputs() -> Iterator[Path]:
    for file in sorted(GOLDENS.iterdir()):
        if file.is_file() and file.suffix not in (".txt", ".set"):
            yield file.relative_to(GOLDENS)


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, tmp_path: Path) -> None:
    text = diagnose(case, tmp_path)
    assert text == (GOLDENS / f"{case}.txt").read_text(encoding="utf-8")
    assert f"[{case[:4]}]" in text


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_golden(code: str) -> None:
    assert any(case.startswith(code) for case in CASES)


def test_every_input_has_a_golden() -> None:
    stems = {path.stem for path in GOLDENS.iterdir() if path.is_file()}
    assert stems | PROVOKED.keys() == set(CASES)


def test_errors_hold_warnings_back() -> None:
    for case in CASES:
        text = (GOLDENS / f"{case}.txt").read_text(encoding="utf-8")
        assert not ("error[" in text and "warning[" in text), case


if __name__ == "__main__":
    for name in sorted({*PROVOKED, *(file.stem for file in inputs()), *CASES}):
        with tempfile.TemporaryDirectory() as folder:
            (GOLDENS / f"{name}.txt").write_text(diagnose(name, Path(folder)), encoding="utf-8")
