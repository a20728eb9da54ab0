"""`n2nspec bench`: text, JSON, exit codes. No time is judged."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from n2nspec.cli import main
from n2nspec.cli.bench import _verdict
from n2nspec.oracle.bench import BenchReport, BenchRow

SPEC = "specs/n2n.toml"
QUICK = ["--seconds", "0", "--batch", "2", "--size", "8x8", "--engine", "optimized"]


def test_text_names_the_winner_and_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", SPEC, *QUICK]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith(f"n2n  {SPEC}  training steps at 2 × 3 × 8 × 8, float32 on cpu, 1 thread")
    assert [line.split()[0] for line in lines[1:5]] == ["engine", "optimized", "torch", "limit"]
    assert lines[2].endswith("fused kernels on planned buffers")
    assert lines[3].endswith("torch.nn and autograd, fused Adam")
    assert "GFLOP/s" in lines[4]
    assert any("is the fastest: " in line for line in lines)
    assert lines[3].split()[5] == "1.00"  # torch, against itself
    assert "optimized: first step" in err


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", SPEC, *QUICK, "--format", "json", "--engine", "reference"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert (report["file"], report["name"], report["mode"]) == (SPEC, "n2n", "training")
    assert report["input_shape"] == [2, 3, 8, 8]
    assert report["interrupted"] is False
    assert {"n2nspec", "torch", "python", "platform", "cpu", "cpu_capability", "cores"} == set(
        report["environment"]
    )
    assert [row["name"] for row in report["engines"]] == ["reference", "optimized", "torch"]
    for row in report["engines"]:
        assert set(row) == {
            "name", "about", "ours", "steps", "median", "q1", "q3", "minimum", "first_step", "speed",
            "of_limit", "peak_bytes", "value", "reason",
        }  # fmt: skip
        assert row["ours"] is (row["name"] != "torch")
        assert row["minimum"] <= row["q1"] <= row["median"] <= row["q3"]
        assert row["value"] == pytest.approx(report["engines"][2]["value"], rel=1e-5)
        assert row["reason"] == ""
        assert row["speed"] == pytest.approx(report["engines"][2]["median"] / row["median"])
    assert set(report["limit"]) == {
        "macs", "flops_per_second", "arithmetic_seconds", "bytes", "bytes_per_second", "traffic_seconds",
    }  # fmt: skip


def test_inference_is_of_one_picture(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--inference", "--seconds", "0", "--size", "8x12", "--engine", "optimized"]
    assert main(["bench", SPEC, *arguments, "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["mode"] == "inference"
    assert report["input_shape"] == [1, 3, 8, 12]
    assert main(["bench", SPEC, *arguments, "--batch", "3"]) == 0
    assert "forward passes at 3 × 3 × 8 × 12" in capsys.readouterr().out


def test_an_engine_that_cannot_run_is_in_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_compiler(*_: Any, **__: Any) -> Any:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr("torch.compile", no_compiler)
    assert main(["bench", SPEC, *QUICK, "--engine", "torch-compiled"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("torch-compiled")]
    assert line.endswith("fused Adam: RuntimeError: No working C++ compiler found")


def test_ctrl_c_prints_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("n2nspec.oracle.bench"), "peak_bytes", interrupt)
    assert main(["bench", SPEC, *QUICK]) == 130
    out, err = capsys.readouterr()
    assert "is the fastest: " in out
    assert "interrupted" in err
    assert main(["bench", SPEC, *QUICK, "--format", "json"]) == 130
    report = json.loads(capsys.readouterr().out)
    assert report["interrupted"] is True
    assert report["engines"][0]["median"] > 0
    assert report["engines"][0]["peak_bytes"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--size", "33x32"], 1, "the next is 36"),
        (["--device", "gpu"], 1, "E502"),
        (["--set", "train.lr"], 1, "E117"),
        (["--engine", "fast"], 2, "'fast' is not one of"),
        (["--engine", "auto"], 2, "'auto' is not one of"),
        (["--batch", "0"], 2, "Error"),
        (["--threads", "0"], 2, "Error"),
        (["--seconds", "-1"], 2, "Error"),
    ],
)
def test_what_cannot_be_measured(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", SPEC, *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_a_missing_spec_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tmp_path / "none.toml")]) == 1
    assert "E101" in capsys.readouterr().err


def report(**medians: float) -> BenchReport:
    """Quartiles are a tenth apart from the medians."""
    rows = tuple(
        BenchRow(name=name.replace("_", "-"), about="", seconds=[0.9 * m, 0.9 * m, m, 1.1 * m, 1.1 * m])
        for name, m in medians.items()
    )
    return BenchReport(
        spec="s", inference=False, input_shape=(1,), dtype="float32", precision="full", device="cpu",
        threads=1, rounds=5, interrupted=False, rows=rows, limit=None, environment={},
    )  # fmt: skip


def test_the_winner_is_said_plainly_also_where_it_is_torch() -> None:
    assert _verdict(report(reference=9.0, optimized=1.0, torch=3.0, torch_compiled=2.0)) == (
        "optimized, ours, is the fastest: torch's best, torch-compiled, takes 2.00 times as long"
    )
    assert _verdict(report(reference=9.0, optimized=3.0, torch=2.0)) == (
        "torch, torch's, is the fastest: our best, optimized, takes 1.50 times as long"
    )
    assert _verdict(report(optimized=1.0, torch=1.1)).endswith("quartiles overlap, so this may be chance")
    assert _verdict(report(torch=1.0)) == "nobody to compare torch with"
    assert _verdict(report()) == "nothing was measured"
