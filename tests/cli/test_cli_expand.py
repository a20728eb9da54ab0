"""`compile --expand` and `--set` of `compile` and `verify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from n2nspec.cli import main
from n2nspec.spec import load

SPEC = """\
spec_version = 1
name = "small"
input.x = ["N", 3, "H", "W"]
vars.width = 2
[blocks.unit]
params = ["ch"]
[[blocks.unit.layers]]
type = "Conv2d"
out_channels = "${ch}"
kernel_size = 1
[[encoder]]
block = "unit"
name = "e"
ch = "${width}"
repeat = 2
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(SPEC, encoding="utf-8")
    return Path("small.toml")


def nodes(file: str, capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, Any]]:
    assert main(["compile", file, "--check", "--format", "json", *options]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["nodes"]
    return found


@pytest.mark.parametrize("settings", [[], ["--set", "vars.width=5"]])
def test_expand_prints_a_flat_spec_of_the_same_graph(
    spec: Path, capsys: pytest.CaptureFixture[str], settings: list[str]
) -> None:
    before = nodes("small.toml", capsys, *settings)
    assert main(["compile", "small.toml", "--expand", *settings]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert not any(word in out for word in ("vars", "blocks", "${", "repeat"))
    Path("flat.toml").write_text(out, encoding="utf-8")
    assert nodes("flat.toml", capsys) == before
    assert [node["name"] for node in before] == ["e.1.conv2d1", "e.2.conv2d1"]


def test_expand_keeps_the_language_of_the_file(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("small.json").write_text('{"extends": "small.toml", "description": "é"}', encoding="utf-8")
    assert main(["compile", "small.json", "--expand"]) == 0
    out = capsys.readouterr().out
    assert load(json.loads(out)) == load("small.json")
    assert '"é"' in out


def test_expand_shows_mistakes_and_warnings(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec.write_text(SPEC.replace("vars.width = 2", "vars.width = 2\nvars.depth = 3"), encoding="utf-8")
    assert main(["compile", "small.toml", "--expand"]) == 0
    out, err = capsys.readouterr()
    assert "warning[W210]" in err
    assert "warning" not in out
    assert main(["compile", "small.toml", "--expand", "--set", "vars.width=-2"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "error[E113]" in err
    assert 'block "unit", used here (e.1)' in err


@pytest.mark.parametrize(
    "options", [["--check"], ["-o", "plan.json"], ["--format", "json"], ["small.toml"]], ids=" ".join
)
def test_expand_is_for_one_spec_and_by_itself(
    spec: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert main(["compile", "small.toml", "--expand", *options]) == 2
    assert "--expand prints one spec" in capsys.readouterr().err


def test_set_is_checked_as_if_written(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = nodes("small.toml", capsys, "--set", "encoder.e.repeat=1", "--set", "encoder.e.ch=7")
    assert [(node["name"], node["params"]) for node in found] == [("e.conv2d1", 28)]
    arguments = ["compile", "small.toml", "--check", "--format", "json", "--set", "encoder.e.ch=seven"]
    assert main(arguments) == 1
    (diagnostic,) = json.loads(capsys.readouterr().out)["diagnostics"]
    assert (diagnostic["code"], diagnostic["path"]) == ("E112", "blocks.unit.layers[0].out_channels")
    assert main(["compile", "small.toml", "--check", "--set", "epochs"]) == 1
    assert "error[E117]" in capsys.readouterr().err


def test_verify_takes_settings(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "small.toml", "--format", "json", "--set", "encoder.e.repeat=1"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["name"] for row in rows if "conv2d" in row["name"]} == {"e.conv2d1"}


def test_expand_writes_as_people_do(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SPEC.replace("kernel_size = 1", "kernel_size = [1, 3]") + (
        '[train]\nloss = { type = "MSE" }\noptimizer = { type = "Adam", betas = [0.5, 0.9] }\n'
    )
    spec.write_text(
        text.replace('"small"', '"small"\ndescription = "\\"a\\" and \\\\\\nb"'), encoding="utf-8"
    )
    assert main(["compile", "small.toml", "--expand"]) == 0
    out = capsys.readouterr().out
    layer = '[[encoder]]\ntype = "Conv2d"\nname = "e.{}.conv2d1"\nout_channels = 2\nkernel_size = [1, 3]\n'
    assert f"{layer.format(1)}\n{layer.format(2)}\n[train]\n" in out
    assert 'x = ["N", 3, "H", "W"]\n' in out
    assert 'optimizer = { type = "Adam", betas = [0.5, 0.9] }\n' in out
    Path("flat.toml").write_text(out, encoding="utf-8")
    assert load("flat.toml") == load("small.toml")
