"""`n2nspec time`: a row for each kernel. No time is judged."""

from __future__ import annotations

import json

import pytest

from n2nspec.cli import main

SPEC = "specs/n2n.toml"
QUICK = ["--seconds", "0", "--batch", "2", "--size", "8x8"]


def test_each_kernel_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["time", SPEC, *QUICK]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert lines[0].startswith(f"n2n  {SPEC}  a training step at 2 × 3 × 8 × 8, engine optimized, float32")
    names = [line.split()[0] for line in lines[1:]]
    assert names == ["kernel", "x", "relu1", "relu2", "relu3", "sigmoid", "loss", "optimizer", "total"]
    assert lines[3].endswith("conv1, relu1")
    assert "100.0%" in lines[-1]


def test_json_has_times_shares_and_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["time", SPEC, *QUICK, "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert (report["engine"], report["input_shape"], report["steps"]) == ("optimized", [2, 3, 8, 8], 5)
    rows = {row["name"]: row for row in report["rows"]}
    assert sum(row["share"] for row in rows.values()) == pytest.approx(1)
    assert sum(row["seconds"] for row in rows.values()) == pytest.approx(report["seconds"])
    first = rows["relu1"]
    assert first["covers"] == ["conv1", "relu1"]
    macs = 2 * 9 * 3 * 16 * 4 * 4
    assert first["forward"]["macs"] == first["backward"]["macs"] == macs  # nobody wants the input's gradient
    assert rows["relu2"]["backward"]["macs"] == 2 * rows["relu2"]["forward"]["macs"]
    forward = first["forward"]
    assert forward["q1"] <= forward["median"] <= forward["q3"]
    assert forward["gflops"] == pytest.approx(2e-9 * macs / forward["median"])
    assert rows["x"]["kind"] == "input"
    assert (rows["loss"]["kind"], rows["loss"]["backward"]) == ("MSE", None)
    assert (rows["optimizer"]["kind"], rows["optimizer"]["forward"]["gflops"]) == ("Adam", None)


def test_the_layers_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["time", SPEC, *QUICK, "--engine", "reference", "--format", "json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)["rows"]]
    assert names == [
        "x", "conv1", "relu1", "conv2", "relu2", "up1:upsample", "up1", "relu3", "up2:upsample", "up2",
        "sigmoid", "loss", "optimizer",
    ]  # fmt: skip


def test_layers_that_draw_and_keep_statistics_can_be_timed(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--set", "train.loss.type=Huber", "--set", "train.optimizer.type=SGD"]
    assert main(["time", "specs/dncnn.toml", *QUICK, *settings, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert "BatchNorm2d" in {row["kind"] for row in rows}
    assert [row["kind"] for row in rows[-2:]] == ["Huber", "SGD"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--size", "33x32"], 1, "the next is 36"),
        (["--device", "gpu"], 1, "E502"),
        (["--engine", "compiled"], 2, "is not one of"),
        (["--batch", "0"], 2, "Error"),
    ],
)
def test_what_cannot_be_timed(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["time", SPEC, *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
