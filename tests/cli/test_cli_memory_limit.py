"""`--memory-limit`: plans that say what is computed again, and training that comes to the same weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from small_world import DOCUMENT, pairs

import n2nspec
from n2nspec.cli import main
from n2nspec.cli._output import human_bytes
from n2nspec.spec import to_toml

__all__ = ["pairs"]

UNET = ["specs/unet_small.toml", "--size", "128x128", "--batch", "4"]


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """Without a limit, and at three quarters of what that takes."""
    folder = tmp_path_factory.mktemp("plans")
    assert main(["compile", *UNET, "-o", str(folder / "free.json")]) == 0
    free = json.loads((folder / "free.json").read_text())
    limit = str(free["peak_bytes"] * 3 // 4)
    assert main(["compile", *UNET, "--memory-limit", limit, "-o", str(folder / "limited.json")]) == 0
    return free, json.loads((folder / "limited.json").read_text())


def test_the_plan_shows_what_is_computed_again_in_order(plans: tuple[dict[str, Any], dict[str, Any]]) -> None:
    free, plan = plans
    assert plan["peak_bytes"] <= 0.75 * free["peak_bytes"]
    assert plan["bytes"] < free["bytes"]
    assert {step["kind"] for step in free["backward"]} == {"backward"}
    assert free["recomputed_macs"] == 0
    assert [step["moment"] for step in plan["backward"]] == list(
        range(len(plan["forward"]) + 1, len(plan["forward"]) + 1 + len(plan["backward"]))
    )
    again = [step for step in plan["backward"] if step["kind"] == "recompute"]
    macs = {step["name"]: step["macs"] for step in plan["forward"]} | {"x": 0}
    assert again
    assert all(step["macs"] == macs[step["name"]] for step in again)
    assert plan["recomputed_macs"] == sum(step["macs"] for step in again)
    assert plan["forward"] == free["forward"]
    assert [step["name"] for step in plan["backward"] if step["kind"] == "backward"] == [
        step["name"] for step in free["backward"]
    ]


def test_what_an_operation_reads_is_there_when_it_runs_again(
    plans: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    plan = plans[1]
    inputs = {step["name"]: step["inputs"] for step in plan["forward"]} | {"x": []}
    values = {buffer["of"]: buffer for buffer in plan["buffers"] if buffer["role"] == "value"}
    for step in plan["backward"]:
        for name in inputs[step["name"]]:
            spans = values[name]["spans"]
            assert any(first <= step["moment"] <= last for first, last in spans), (step, name)
        if step["kind"] == "recompute":
            assert [first for first, _ in values[step["name"]]["spans"]][1] == step["moment"]


def test_buffers_that_live_at_once_share_no_byte(plans: tuple[dict[str, Any], dict[str, Any]]) -> None:
    buffers = plans[1]["buffers"]
    for index, one in enumerate(buffers):
        assert one["offset"] + one["bytes"] <= plans[1]["bytes"]
        for other in buffers[:index]:
            apart = one["offset"] >= other["offset"] + other["bytes"]
            apart |= other["offset"] >= one["offset"] + one["bytes"]
            together = any(a <= d and c <= b for a, b in one["spans"] for c, d in other["spans"])
            assert apart or not together, (one, other)


def test_compile_says_what_it_costs(
    plans: tuple[dict[str, Any], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    free, plan = plans
    limit = str(free["peak_bytes"] * 3 // 4)
    assert main(["compile", *UNET, "--memory-limit", limit]) == 0
    out = capsys.readouterr().out
    peaks = human_bytes(plan["peak_bytes"]), human_bytes(free["peak_bytes"])
    assert f"memory limit: {peaks[0]} at the peak instead of {peaks[1]}; " in out
    names = [step["name"] for step in plan["backward"] if step["kind"] == "recompute"]
    assert f"computed again, {4 * plan['recomputed_macs']:,} MACs: {', '.join(names)}\n" in out
    assert main(["compile", *UNET, "--memory-limit", limit, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["memory"] == {
        "peak_bytes": plan["peak_bytes"],
        "peak_bytes_without_limit": free["peak_bytes"],
        "recomputed": names,
        "groups": [1, 1, 1, 1],
        "recomputed_macs": 4 * plan["recomputed_macs"],
        "copied_again": plan["copied_again"],
    }
    assert main(["compile", *UNET, "--memory-limit", "8GB"]) == 0
    assert "at the peak, with everything kept\n" in capsys.readouterr().out


def test_a_limit_that_cannot_be_met_says_what_can(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", *UNET, "--memory-limit", "1MiB"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    least = err.split("needs at least ")[1].split(";")[0]
    assert "the memory limit is 1.0 MiB" in err
    assert main(["compile", *UNET, "--memory-limit", least]) == 0
    assert main(["compile", *UNET, "--memory-limit", "1MiB", "--format", "json"]) == 1
    reports = json.loads(capsys.readouterr().out.split("ok\n\n")[-1])
    assert [problem["code"] for problem in reports["diagnostics"]] == ["E505"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compile", *UNET, "--memory-limit", "lots"], "expected an amount of memory"),
        (["compile", *UNET, "--memory-limit", "1GB", "--check"], "leave out --check"),
        (["bench", "specs/n2n.toml", "--memory-limit", "1GB", "--inference"], "training steps"),
        (["bench", "specs/n2n.toml", "--memory-limit", "1GB", "--engine", "compiled"], "optimized engine"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.fixture
def spec_file(tmp_path: Path, pairs: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "small.toml"
    file.write_text(to_toml(n2nspec.load(DOCUMENT | {"data": pairs})), encoding="utf-8")
    return file


def test_training_comes_to_the_same_weights(spec_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(spec_file), "--out", "impossible", "--memory-limit", "1KiB"]) == 1
    err = capsys.readouterr().err
    assert "E505" in err
    assert not Path("impossible").exists(), "it is said before anything is done"
    least = err.split("needs at least ")[1].split(";")[0]
    assert main(["train", str(spec_file), "--out", "limited", "--memory-limit", least]) == 0
    assert "memory of a step: " in capsys.readouterr().err
    assert main(["train", str(spec_file), "--out", "free"]) == 0
    assert "memory of a step" not in capsys.readouterr().err
    limited, free = (load_file(Path(run, "model.safetensors")) for run in ("limited", "free"))
    assert limited.keys() == free.keys()
    for name, tensor in free.items():  # smaller groups of pictures: other sums, up to rounding
        assert (limited[name] - tensor).abs().max() <= 1e-4 * tensor.abs().max(), name
    assert main(["train", str(spec_file), "--engine", "reference", "--memory-limit", "1GB"]) == 1
    assert "the reference engine keeps no memory limit" in capsys.readouterr().err


def test_time_has_rows_for_what_is_computed_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", *UNET, "--memory-limit", "1MiB"]) == 1
    least = capsys.readouterr().err.split("needs at least ")[1].split(";")[0]
    command = ["time", *UNET, "--seconds", "0", "--memory-limit", least, "--format", "json"]
    assert main(command) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    again = [row for name, row in rows.items() if name.endswith(" again")]
    assert again
    for row in again:
        assert row["forward"] is None
        assert row["backward"]["macs"] == rows[row["name"].removesuffix(" again")]["forward"]["macs"]


def test_bench_keeps_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    peaks = []
    for more in ([], ["--memory-limit", "9.5MiB"]):
        command = ["bench", "specs/n2n.toml", "--engine", "optimized", "--seconds", "0", "--format", "json"]
        assert main([*command, *more]) == 0
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["engines"]}
        peaks.append(rows["optimized"]["peak_bytes"])
    assert peaks[1] < peaks[0]
