"""tools/bench_sweep.py: takes up where it was ended, writes a CSV and a figure. Nothing is measured here."""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "tools" / "bench_sweep.py"


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_sweep", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def point(batch: int, size: int) -> dict[str, Any]:
    """Steps of batch · size milliseconds; compiled ones cannot run."""
    engines = [
        {"name": "optimized", "median": batch * size / 1e3, "reason": ""},
        {"name": "torch-compiled", "median": None, "reason": "no compiler"},
    ]
    for row in engines:
        row.update(
            dict.fromkeys(("q1", "q3", "minimum"), row["median"]), first_step=1.0, speed=2.0, peak_bytes=7
        )
    return {
        "name": "n2n", "input_shape": [batch, 3, size, size], "device": "cpu", "dtype": "float32",
        "threads": 2, "engines": engines,
        "limit": {"arithmetic_seconds": batch / 1e3, "traffic_seconds": size / 1e3},
    }  # fmt: skip


class Bench:
    """In place of `measure`: remembers what was asked, fails or is ended where told."""

    def __init__(self, *, end_at: int | None = None, fail_at: int | None = None) -> None:
        self.asked: list[tuple[int, int]] = []
        self.end_at, self.fail_at = end_at, fail_at

    def __call__(
        self, spec: str, batch: int, size: int, options: argparse.Namespace
    ) -> dict[str, Any] | None:
        assert (spec, options.seconds) == ("my.toml", 1.0)
        self.asked.append((batch, size))
        if len(self.asked) == self.end_at:
            raise KeyboardInterrupt
        return None if len(self.asked) == self.fail_at else point(batch, size)


def arguments(out: Path, *more: str) -> list[str]:
    words = ["my.toml", "--out", str(out), "--batches", "1", "4", "--sizes", "16", "32", "--seconds", "1"]
    return [*words, "--device", "cpu", *more]


def test_a_sweep_goes_on_where_it_was_ended(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = Bench(end_at=3), Bench(fail_at=1), Bench()
    monkeypatch.setattr(tool, "measure", first)
    assert tool.main(arguments(tmp_path)) == 130
    assert "goes on" in capsys.readouterr().err
    assert sorted(file.name for file in (tmp_path / "points").iterdir()) == ["1_16.json", "1_32.json"]
    monkeypatch.setattr(tool, "measure", second)
    assert tool.main(arguments(tmp_path)) == 1
    monkeypatch.setattr(tool, "measure", third)
    assert tool.main(arguments(tmp_path)) == 0
    assert (first.asked, second.asked) == ([(1, 16), (1, 32), (4, 16)], [(4, 16), (4, 32)])
    assert third.asked == [(4, 16)]
    with (tmp_path / "sweep.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(tool.COLUMNS)
    assert [(row["batch"], row["width"], row["engine"]) for row in rows] == [
        (batch, width, engine)
        for batch in ("1", "4")
        for width in ("16", "32")
        for engine in ("optimized", "torch-compiled")
    ]
    assert float(rows[-2]["median"]) == 4 * 32 / 1e3
    assert float(rows[-2]["of_arithmetic"]) == pytest.approx(4 / (4 * 32))
    assert float(rows[-2]["of_traffic"]) == pytest.approx(32 / (4 * 32))
    assert (rows[-1]["median"], rows[-1]["reason"]) == ("", "no compiler")


def test_the_figure_shows_every_engine_and_limit(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "measure", Bench())
    assert tool.main(arguments(tmp_path)) == 0
    figure = (tmp_path / "sweep.svg").read_text(encoding="utf-8")
    for text in ("batch 1", "batch 4", "optimized", "limit of products", "limit of memory"):
        assert text in figure
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_too_large_is_left_out(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench()
    monkeypatch.setattr(tool, "measure", bench)
    assert tool.main(arguments(tmp_path, "--most", "1024")) == 0
    assert bench.asked == [(1, 16), (1, 32), (4, 16)]
    assert "4 × 32: left out" in capsys.readouterr().err


def test_a_point_is_the_command(tool: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [
        "--out",
        str(tmp_path),
        "--batches",
        "1",
        "--sizes",
        "8",
        "9",
        "--seconds",
        "0",
        "--device",
        "cpu",
    ]
    assert tool.main([*words, "--engines", "optimized", "--threads", "1"]) == 1
    assert "1 × 9: exit code 1" in capfd.readouterr().err  # no multiple of 4
    report = json.loads((tmp_path / "points" / "1_8.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in report["engines"]] == ["optimized", "torch"]
    assert (report["threads"], report["input_shape"]) == (1, [1, 3, 8, 8])
