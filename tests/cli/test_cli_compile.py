"""`n2nspec compile`: text, JSON, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import pytest

from n2nspec.cli import main
from n2nspec.cli._report import sees
from n2nspec.compiler.passes import PASSES
from n2nspec.graph import Reach

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
    assert main(["compile", SPEC, "--batch", "2"]) == 0
    out = capsys.readouterr().out
    assert (
        "plan at 2 × 3 × 32 × 32: engine optimized, 4 kernels forward and 4 backward for 8 nodes,"
        " 2,582,016 MACs forward instead of 4,055,040, "
    ) in out
    assert "iB of buffers; optimized: " in out


def test_a_bound_of_what_is_seen_says_at_most() -> None:
    one = Reach(left=0, right=1, extents=(2, 1))
    assert sees(one, "H") == "1 or 2 pixels (up to 0 up, 1 down)"
    assert sees(replace(one, exact=False), "W") == "at most 1 or 2 pixels (up to 0 left, 1 right)"


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


@pytest.mark.parametrize("command", ["compile", "verify"])
def test_programs_get_an_array_when_there_is_no_spec_too(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, "--format", "json"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    (report,) = json.loads(out)
    assert report["ok"] is False
    assert [problem["code"] for problem in report["diagnostics"]] == ["E101"]


def test_github_is_told_that_there_is_no_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compile", "--check", "--format", "github"]) == 1
    assert capsys.readouterr().out.startswith("::error file=specs,title=E101")


def test_one_of_a_thing_is_no_plural(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "one.toml"
    file.write_text(
        'spec_version = 1\nname = "one"\ninput.x = ["N", 3, "H", "W"]\nencoder = [{ type = "ReLU" }]\n'
    )
    assert main(["compile", str(file)]) == 0
    out = capsys.readouterr().out
    assert "an output pixel sees 1 pixel (up to 0 up, 0 down)" in out
    assert "engine optimized, 1 kernel forward and 0 backward for 1 node, 0 MACs forward, " in out


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
        ["compile", SPEC, "--expand", "--show-passes"],
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
    assert "the next is 36" in capsys.readouterr().err


def test_the_plan_is_written_once_and_never_over_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "plan.json"
    assert main(["compile", SPEC, "-o", str(target)]) == 0
    document = json.loads(target.read_text())
    assert [step["name"] for step in document["forward"]] == ["relu1", "relu2", "relu3", "sigmoid"]
    assert [step["name"] for step in document["backward"]] == ["sigmoid", "relu3", "relu2", "relu1"]
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


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of a network with skips, pooling and a concatenation."""
    target = tmp_path_factory.mktemp("plan") / "plan.json"
    assert (
        main(["compile", "specs/unet_small.toml", "--size", "16x8", "--batch", "3", "-o", str(target)]) == 0
    )
    document: dict[str, Any] = json.loads(target.read_text())
    return document


def test_the_plan_says_what_runs(plan: dict[str, Any]) -> None:
    assert (plan["engine"], plan["dtype"], plan["output"]) == ("optimized", "float32", "out")
    assert plan["input"] == {"name": "x", "shape": [3, 3, 16, 8]}
    forward = {step["name"]: step for step in plan["forward"]}
    assert [step["moment"] for step in plan["forward"]] == list(range(len(forward)))
    first = forward["e1.leakyrelu1"]
    assert (first["kind"], first["inputs"], first["shape"]) == ("conv", ["x"], [3, 16, 16, 8])
    assert first["covers"] == ["e1.conv1", "e1.leakyrelu1"]
    assert first["activation"] == {"kind": "leaky_relu", "slope": 0.1}
    assert first["macs"] == 3 * 16 * 8 * 9 * 3 * 16
    assert sum(step["macs"] for step in plan["forward"]) == plan["macs"]
    upsampled, skip = forward["d1.double.leakyrelu1"]["sources"]
    assert (upsampled["scale"], upsampled["length"], skip["scale"]) == ([2, 2], [2, 2], [1, 1])
    last = 2 * len(forward)
    assert [step["moment"] for step in plan["backward"]] == list(range(last - len(forward) + 1, last + 1))
    backward = plan["backward"][-1]
    assert (backward["name"], backward["input_gradients"]) == ("e1.leakyrelu1", [])
    assert backward["parameter_gradients"] == ["e1.conv1.weight", "e1.conv1.bias"]
    assert plan["unplanned"] == []


def test_buffers_that_live_at_once_share_no_byte(plan: dict[str, Any]) -> None:
    buffers = plan["buffers"]
    assert {buffer["role"] for buffer in buffers} == {"value", "gradient", "workspace"}
    known = {step["name"] for step in plan["forward"]} | {"x"}
    assert {buffer["of"] for buffer in buffers} <= known
    shared = 0
    for index, one in enumerate(buffers):
        width = {"float32": 4, "bool": 1}[one["dtype"]]
        assert one["bytes"] == width * prod(one["shape"])
        assert 0 <= one["offset"] <= one["offset"] + one["bytes"] <= plan["bytes"]
        assert 0 <= one["first"] <= one["last"] <= 2 * len(plan["forward"]) + 1
        for other in buffers[:index]:
            apart = one["offset"] >= other["offset"] + other["bytes"]
            apart |= other["offset"] >= one["offset"] + one["bytes"]
            together = one["first"] <= other["last"] and other["first"] <= one["last"]
            assert apart or not together, (one, other)
            shared += not apart
    assert shared, "memory is never used twice"


def test_what_layers_allocate_themselves_is_named(tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    spec = tmp_path / "gelu.toml"
    spec.write_text(
        'spec_version = 1\nname = "g"\ninput.x = ["N", 3, "H", "W"]\n'
        'encoder = [{ type = "GELU" }, { type = "GELU" }]\n'
    )
    assert main(["compile", str(spec), "-o", str(target)]) == 0
    document = json.loads(target.read_text())
    assert document["unplanned"] == ["x", "gelu1", "gelu2"]
    assert (document["bytes"], document["buffers"], document["backward"]) == (0, [], [])


def test_a_plan_is_the_same_every_time(tmp_path: Path) -> None:
    """Also where Python hashes names differently."""
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "n2nspec", "compile", "specs/unet_small.toml", "--size", "8x8"]
        command += ["-o", str(tmp_path / f"{seed}.json")]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed})
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


def test_passes_say_what_they_changed_and_saved(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", SPEC, "--check", "--show-passes"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    begin = next(index for index, line in enumerate(lines) if line.startswith("passes at 1 × 3 × 32 × 32"))
    shown = [line.split() for line in lines[begin + 1 : begin + 11]]
    assert shown[0] == ["remove", "identities", "nothing"]
    assert ["upsampling", "into", "convolution", "2", "736,512", "24,576", "up1:upsample,", "up1,",
            "up2:upsample,", "up2"] in shown  # fmt: skip
    assert ["upsampling", "into", "convolution", "nothing"] in shown
    assert ["activation", "into", "loss", "sigmoid"] in shown
    assert shown[-1] == ["all", "of", "them", "6", "736,512", "37,888"]


def test_passes_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--show-passes", "--format", "json", "--size", "16x16", "--batch", "2"]
    assert main(["compile", SPEC, "--check", *arguments]) == 0
    passes = json.loads(capsys.readouterr().out)["passes"]
    assert [entry["name"] for entry in passes] == [name for name, _ in PASSES]
    for before, after in pairwise(passes):
        for key in ("operations", "macs", "numbers"):
            assert before[key]["after"] == after[key]["before"]
    fused = next(entry for entry in passes if entry["name"] == "activation into convolution")
    assert fused["values"] == ["conv1", "relu1", "conv2", "relu2", "up1", "relu3", "up2", "sigmoid"]
    assert fused["operations"] == {"before": 8, "after": 4}
    assert fused["numbers"]["before"] - fused["numbers"]["after"] == 2 * (3 * 256 + 2 * 16 * 64 + 32 * 16)
    assert passes[0]["values"] == []


def test_json_has_passes_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", SPEC, "--check", "--format", "json"]) == 0
    assert "passes" not in json.loads(capsys.readouterr().out)


def test_passes_of_a_network_of_vectors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "vectors.toml"
    spec.write_text(
        'spec_version = 1\nname = "v"\ninput.x = ["N", 5]\n'
        'encoder = [{ type = "Linear", out_features = 2 }]\n'
    )
    assert main(["compile", str(spec), "--show-passes", "--batch", "7"]) == 0
    out = capsys.readouterr().out
    assert "passes at 7 × 5" in out
    assert "plan at 7 × 5: engine optimized, 1 kernel forward and 1 backward" in out


def test_the_check_imports_no_torch() -> None:
    code = (
        "import sys, n2nspec.cli as c;"
        f"assert c.main(['compile', {SPEC!r}, '--check', '--show-passes', '--size', '32x32']) == 0;"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "denoise" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert "n2nspec" in capsys.readouterr().out


def test_a_size_that_leaves_a_single_value_is_refused_and_never_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tied.json"
    layers = [{"type": "AvgPool2d", "kernel_size": 32}, {"type": "InstanceNorm2d"}]
    document = {"spec_version": 1, "name": "tied", "input": {"x": ["N", 2, "H", "W"]}, "encoder": layers}
    file.write_text(json.dumps(document), encoding="utf-8")
    assert main(["compile", str(file), "--check", "--size", "40x32"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "E208" in err
    assert "H = 40, W = 32 does not work: instancenorm2d1 needs more than one value a channel" in err
    assert main(["compile", str(file), "--check"]) == 0
    assert "training step at 64 × 32:" in capsys.readouterr().out


@pytest.mark.parametrize(("size", "marks"), [("33x32", [(1, 2)]), ("33×031", [(1, 2), (4, 3)])])
def test_a_size_that_does_not_work_is_shown_as_it_was_given(
    size: str, marks: list[tuple[int, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", SPEC, "--check", "--size", size]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines.count(f"   | {size}") == lines.count("  --> --size") == len(marks)
    carets = [line.removeprefix("   | ") for line in lines if line.startswith("   | ") and "^" in line]
    assert carets == [" " * (column - 1) + "^" * width for column, width in marks]
    assert sum("the input" in line for line in lines) == len(marks)
    assert main(["compile", SPEC, "--check", "--size", size, "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)["diagnostics"]
    assert {(item["file"], item["line"], item["column"]) for item in found} == {("--size", None, None)}
