"""The predicted memory on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import n2nspec
from n2nspec.cli import main
from n2nspec.cli._output import human_bytes
from n2nspec.graph import analyse, cost
from n2nspec.oracle.footprint import compiled_bytes, optimized_bytes
from n2nspec.runtime.compiled import engine as compiled_engine

SPEC = "specs/n2n.toml"
SIZE = ["--size", "32x32", "--batch", "4"]


def test_check_says_what_training_and_inference_take(capsys: pytest.CaptureFixture[str]) -> None:
    costs = cost(analyse(n2nspec.load(SPEC)), (32, 32), 4)
    assert main(["compile", SPEC, "--check", *SIZE]) == 0
    training, inference = human_bytes(costs.peak_bytes), human_bytes(costs.inference_bytes)
    assert f"{training} at the peak; inference {inference}\n" in capsys.readouterr().out
    assert main(["compile", SPEC, "--check", "--format", "json", *SIZE]) == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    assert (totals["peak_bytes"], totals["inference_bytes"]) == (costs.peak_bytes, costs.inference_bytes)
    assert main(["compile", SPEC, "--check", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["inference_bytes"] is None


@pytest.mark.parametrize("hindrance", ["", "there is no C++ compiler"], ids=["", "no compiler"])
def test_a_plan_says_what_the_engines_take(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hindrance: str
) -> None:
    monkeypatch.setattr(compiled_engine, "_hindrance", lambda graph: (hindrance, ""))
    graph = analyse(n2nspec.load(SPEC))
    peak = optimized_bytes(graph, (4, 3, 32, 32), training=True)
    other = compiled_bytes(graph, (4, 3, 32, 32))
    assert peak is not None
    assert other is not None
    assert main(["compile", SPEC, *SIZE, "-o", str(tmp_path / "plan.json")]) == 0
    more = "" if hindrance else f", compiled: {human_bytes(other)}"
    assert f"of buffers; optimized: {human_bytes(peak)} at the peak{more}\n" in capsys.readouterr().out
    assert json.loads((tmp_path / "plan.json").read_text())["peak_bytes"] == peak
