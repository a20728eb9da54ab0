"""`n2nspec compile`: text, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from n2nspec.cli import main

SPEC = "specs/n2n.toml"


def test_check_prints_a_table_and_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", SPEC, "--check"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0].split() == ["n2n", SPEC]
    assert lines[1].split() == ["node", "type", "output", "at", "32", "×", "32", "parameters", "MACs"]
    conv1 = next(line for line in lines if line.startswith("conv1"))
    assert conv1.split()[:2] == ["conv1", "Conv2d"]
    assert conv1.split()[-2:] == ["448", "110,592"]
    assert "16 × 16 × 16" in conv1
    assert next(line for line in lines if line.startswith("total")).split() == [
        "total",
        "10,147",
        "2,027,520",
    ]
    assert (
        "height: any multiple of 4 from 4; an output pixel sees 11 or 15 pixels (up to 9 up, 6 down)" in lines
    )
    assert lines[-2].startswith("ok")
    assert "plan:" not in out


def test_without_check_it_also_summarises_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", SPEC]) == 0
    assert "plan: engine reference, 8 forward steps" in capsys.readouterr().out


def test_json_is_what_the_contract_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", SPEC, "--check", "--format", "json", "--size", "32x32"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert report["diagnostics"] == []
    conv1 = report["nodes"][0]
    assert conv1 == {
        "name": "conv1", "type": "Conv2d", "inputs": ["x"], "shape": ["N", 16, "H//2", "W//2"],
        "concrete_shape": [1, 16, 16, 16], "params": 448, "macs": 110592, "saved_bytes": 3 * 32 * 32 * 4,
    }  # fmt: skip
    assert report["totals"]["params"] == 10_147
    assert report["totals"]["macs"] == 2_027_520
    assert report["totals"]["saved_bytes"] == sum(node["saved_bytes"] for node in report["nodes"])
    assert report["totals"]["peak_bytes"] > report["totals"]["saved_bytes"]
    four = {"period": 4, "remainders": [0], "minimum": 4, "exceptions": [], "maximum": None}
    assert report["size_contract"] == {"H": four, "W": four}
    assert report["receptive_field"]["H"]["left"] == 9
    assert report["receptive_field"]["H"]["right"] == 6
    assert sorted(set(report["receptive_field"]["H"]["extents"])) == [11, 15]


def test_json_without_a_size_leaves_out_what_needs_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", SPEC, "--check", "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["nodes"][0]["concrete_shape"] is None
    assert report["totals"]["macs"] is None
    assert report["totals"]["params"] == 10_147


def test_the_batch_multiplies_macs_and_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    reports = []
    for batch in ("1", "32"):
        main(["compile", SPEC, "--check", "--format", "json", "--size", "32x32", "--batch", batch])
        reports.append(json.loads(capsys.readouterr().out)["totals"])
    assert reports[1]["macs"] == 32 * reports[0]["macs"]
    assert reports[1]["saved_bytes"] == 32 * reports[0]["saved_bytes"]


def test_no_spec_means_every_spec_in_specs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "--check", "--format", "json"]) == 0
    reports = json.loads(capsys.readouterr().out)
    assert [report["file"] for report in reports] == sorted(
        str(file)
        for file in Path("specs").iterdir()
        if file.suffix in (".toml", ".json") and not file.name.endswith(".schema.json")
    )
    assert all(report["ok"] for report in reports)


def test_no_specs_folder_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compile", "--check"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "E101" in err
    assert "there is none in ./specs" in err


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = tmp_path / "broken spec.toml"
    text = Path(SPEC).read_text().replace("kernel_size = 3\nstride = 2", "kernal_size = 3\nstride = 2", 1)
    file.write_text(text)
    return file


def test_a_broken_spec_exits_1_and_points_at_the_line(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", str(broken), "--check"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    line = broken.read_text().splitlines().index("kernal_size = 3") + 1
    assert f"{broken}:{line}:1" in err
    assert "kernel_size" in err
    assert "Traceback" not in err


def test_a_broken_spec_in_json_has_the_place(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(broken), "--check", "--format", "json"]) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert err == ""
    assert report["ok"] is False
    (problem, *_) = report["diagnostics"]
    assert set(problem) == {"code", "severity", "message", "file", "line", "column", "path", "help"}
    assert problem["severity"] == "error"
    assert problem["file"] == str(broken)
    assert problem["column"] == 1


def test_one_broken_spec_does_not_hide_the_others(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(broken), SPEC, "--check", "--format", "json"]) == 1
    assert [report["ok"] for report in json.loads(capsys.readouterr().out)] == [False, True]


@pytest.mark.parametrize(
    "arguments",
    [
        ["compile", SPEC, "--size", "32"],
        ["compile", SPEC, "--size", "0x4"],
        ["compile", SPEC, "--batch", "0"],
        ["compile", SPEC, "--format", "yaml"],
        ["compile", SPEC, "--nonsense"],
        ["compile", SPEC, "--check", "-o", "plan.json"],
        ["nonsense"],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error" in err


def test_a_size_the_network_refuses_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", SPEC, "--check", "--size", "33x32"]) == 1
    assert "the next that works is 36" in capsys.readouterr().err


def test_the_plan_is_written_once_and_never_over_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "plan.json"
    assert main(["compile", SPEC, "-o", str(target)]) == 0
    document = json.loads(target.read_text())
    assert [step["node"] for step in document["forward"]] == [
        step["node"] for step in reversed(document["backward"])
    ]
    before = target.read_bytes()
    capsys.readouterr()
    assert main(["compile", SPEC, "-o", str(target)]) == 1
    out, err = capsys.readouterr()
    assert "E403" in err
    assert out == ""
    assert main(["compile", SPEC, "-o", str(target), "--format", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert [problem["code"] for problem in report["diagnostics"]] == ["E403"]
    assert target.read_bytes() == before


def test_the_check_imports_no_torch() -> None:
    code = (
        "import sys, n2nspec.cli as c;"
        f"assert c.main(['compile', {SPEC!r}, '--check', '--size', '32x32']) == 0;"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "denoise" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert "n2nspec" in capsys.readouterr().out
