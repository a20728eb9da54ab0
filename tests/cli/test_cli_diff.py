"""`n2nspec diff`: text, JSON, exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from plugin_project import SOFTSIGN

from n2nspec.cli import main

SPEC = "specs/n2n.toml"
TEXT = Path(SPEC).read_text(encoding="utf-8")
README = Path("README.md").read_text(encoding="utf-8")


def edited(*edits: tuple[str, str]) -> str:
    text = TEXT
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    return text


WIDER = edited(("out_channels = 16", "out_channels = 24"))
RENAMED = edited(('name = "up2"', 'name = "last"'))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return tmp_path / "other.toml"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["diff", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def document(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code, out, err = run(capsys, *arguments, "--format", "json")
    assert err == ""
    return code, json.loads(out)


def test_equal_graphs_exit_0(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, SPEC, "specs/n2n.json")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "equal: 8 nodes"
    assert "note:" not in out


def test_training_is_no_part_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, SPEC, "specs/n2n_sgd.toml")
    assert code == 0
    assert "note: different, too, but no part of the graph: [train]" in out.splitlines()


def test_a_change_and_what_follows(other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other.write_text(WIDER)
    code, out, err = run(capsys, SPEC, other)
    assert (code, err) == (1, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "~ conv1 Conv2d out_channels 16 → 24 16 × H//2 × W//2 → 24 × H//2 × W//2 448 → 672" in lines
    assert "as a result, 2 more nodes with another output or other parameters:" in lines
    assert "conv2 Conv2d 32 × H//4 × W//4 4,640 → 6,944" in lines
    assert "parameters 10,147 12,675 +2,528" in lines
    macs = 3 * 24 * 9 * 256 + 24 * 32 * 9 * 64 + 1_179_648 + 442_368
    assert f"MACs at 32 × 32 2,027,520 {macs:,} +{macs - 2_027_520:,}" in lines
    assert "weights: those of one do not load into the other" in lines
    assert lines[-1] == "different: 1 changed"


def test_json(other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other.write_text(WIDER.replace('[[decoder]]\nname = "sigmoid"', '[[decoder]]\nname = "extra"\n'
                     'type = "Conv2d"\nout_channels = 3\nkernel_size = 3\npadding = 1\n\n'
                     '[[decoder]]\nname = "sigmoid"'))  # fmt: skip
    code, found = document(capsys, SPEC, other, "--size", "8x12", "--batch", "2")
    assert code == 1
    assert (found["ok"], found["equal"], found["diagnostics"]) == (True, False, [])
    assert found["files"] == [SPEC, str(other)]
    changed, added = found["nodes"]
    half = ["H//2", "W//2"]
    assert changed == {
        "change": ["changed"], "before": "conv1", "after": "conv1", "type": "Conv2d",
        "fields": {"out_channels": [16, 24]}, "inputs": [["x"], ["x"]],
        "shape": [["N", 16, *half], ["N", 24, *half]], "params": [448, 672],
    }  # fmt: skip
    assert (added["change"], added["before"], added["after"]) == (["added"], None, "extra")
    assert added["fields"]["kernel_size"] == [None, 3]
    assert added["fields"]["bias"] == [None, True]
    assert added["inputs"] == [None, ["up2"]]
    assert added["shape"][0] is None
    assert added["params"] == [None, 84]
    assert [node["after"] for node in found["affected"]] == ["relu1", "conv2"]
    assert found["affected"][1]["params"] == [4640, 6944]
    assert (found["size"], found["batch"], found["weights"]) == ([8, 12], 2, "do not fit")
    assert found["totals"]["params"] == [10_147, 10_147 + 2_528 + 84]
    assert found["totals"].keys() >= {"params", "macs", "saved_bytes", "peak_bytes"}
    extra, wider, conv2 = 8 * 12 * 84 - 8 * 12 * 3, 3 * 8 * 9 * 24, 8 * 32 * 9 * 6
    before, after = found["totals"]["macs"]
    assert after - before == 2 * (extra + wider + conv2)
    assert found["size_contract"][0] == found["size_contract"][1]
    assert [side["H"]["left"] for side in found["receptive_field"]] == [9, 10]
    assert found["input"]["shape"] == [["N", 3, "H", "W"]] * 2
    assert found["warnings"] == []


def test_a_renamed_layer_is_equal_and_told(other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other.write_text(RENAMED)
    code, out, _ = run(capsys, SPEC, other)
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "= up2 → last Upsampling 3 × H × W 435" in lines
    assert "weights: those of one load into the other under the other names" in lines
    assert lines[-1] == "equal: 8 nodes, 1 renamed"
    code, found = document(capsys, SPEC, other)
    assert (code, found["equal"], found["weights"]) == (0, True, "fit when renamed")
    assert found["nodes"][0]["change"] == ["renamed"]


def test_a_default_written_out_is_a_note(other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other.write_text(edited(("padding = 1", "padding = 1\ndilation = 1")))
    code, out, _ = run(capsys, SPEC, other)
    assert code == 0
    assert "note: defaults that only one spec writes out are no difference: conv1.dilation" in out


def test_a_new_type_and_a_moved_node(other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = edited(('type = "ReLU" ', 'name = "act"\ntype = "ReLU" '))
    first = other.with_name("first.toml")
    first.write_text(named)
    other.write_text(named.replace('type = "ReLU" ', 'type = "LeakyReLU"\nnegative_slope = 0.2 '))
    code, out, _ = run(capsys, first, other)
    assert code == 1
    assert re.search(r"^~  act +ReLU → LeakyReLU +negative_slope none → 0.2 ", out, re.MULTILINE)
    skip = '[[decoder]]\nname = "skip"\ntype = "Add"\nfrom = ["sigmoid", "x"]\n\n[require]'
    joined = named.replace("[require]", skip)
    first.write_text(joined)
    other.write_text(joined.replace('from = ["sigmoid", "x"]', 'from = ["sigmoid", "up2"]'))
    _, out, _ = run(capsys, first, other)
    assert re.search(r"^>  skip +Add +from sigmoid, x → sigmoid, up2 ", out, re.MULTILINE)


def test_a_run_folder_has_a_spec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "spec.toml").write_text(TEXT)
    assert run(capsys, tmp_path, SPEC)[0] == 0
    (tmp_path / "spec.toml").unlink()
    code, out, err = run(capsys, tmp_path, SPEC)
    assert (code, out) == (1, "")
    assert "E401" in err
    assert f"{tmp_path} is not a run: there is no spec.toml in it" in err


def test_both_specs_at_fault_are_told_at_once(other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other.write_text(edited(("kernel_size", "kernal_size")))
    code, out, err = run(capsys, other, "no_such.toml")
    assert (code, out) == (1, "")
    assert "E110" in err
    assert "E101" in err
    code, found = document(capsys, other, other)
    assert code == 1
    assert (found["ok"], found["equal"]) == (False, None)
    codes = [problem["code"] for problem in found["diagnostics"]]
    assert codes == list(dict.fromkeys(codes)), "the same file is told once"


def test_a_size_that_one_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, SPEC, "specs/n2n.json", "--size", "33x32")
    assert (code, out) == (1, "")
    assert "E208" in err
    assert "--> --size\n" in err


def test_no_size_for_both(other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = other.with_name("fixed.toml")
    fixed.write_text(edited(('"H", "W"', "32, 32")))
    other.write_text(edited(('"H", "W"', "36, 36")))
    code, out, _ = run(capsys, fixed, other)
    assert code == 1
    assert "note: MACs and memory are not compared: no picture size was found that suits both" in out
    assert out.splitlines()[-1] == "different: no node"
    _, found = document(capsys, fixed, other)
    assert found["size"] is None
    assert found["totals"]["macs"] == [None, None]
    assert found["totals"]["params"] == [10_147, 10_147]


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, SPEC)[0] == 2
    assert run(capsys, SPEC, SPEC, "--format", "github")[0] == 2


def test_plugins_run_only_with_leave(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, code in (("one", SOFTSIGN), ("two", SOFTSIGN + "\n# another\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "softsign.py").write_text(code)
        text = edited(("spec_version = 1", 'spec_version = 1\nplugins = ["softsign.py"]'),
                      ('type = "ReLU" ', 'type = "Softsign" '))  # fmt: skip
        (tmp_path / name / "spec.toml").write_text(text)
    code, out, err = run(capsys, tmp_path / "one", tmp_path / "one")
    assert (code, out) == (1, "")
    assert "E130" in err
    code, out, _ = run(capsys, tmp_path / "one", tmp_path / "one", "--allow-plugins")
    assert (code, "note:" in out) == (0, False)
    code, out, _ = run(capsys, tmp_path / "one", tmp_path / "two", "--allow-plugins")
    assert code == 0
    assert "note: the plugins are different files" in out


def test_colours_are_for_terminals(
    other: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other.write_text(WIDER)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert "\x1b" not in run(capsys, SPEC, other)[1]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[33m~  conv1" in run(capsys, SPEC, other)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run(capsys, SPEC, other)[1]


def test_it_needs_no_torch() -> None:
    code = f"import sys; from n2nspec.cli import main; r = main(['diff', {SPEC!r}, 'specs/red.toml']);" \
           " sys.exit(9 if 'torch' in sys.modules else r)"  # fmt: skip
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 1, found.stderr
    assert "different:" in found.stdout


def test_the_readme_shows_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = re.search(r"```text\n\$ n2nspec (diff .*?)\n(.*?)```", README, re.DOTALL)
    assert shown
    mine = edited(
        ("out_channels = 16", "out_channels = 24"),
        ('[[encoder]]\nname = "conv2"',
         '[[encoder]]\nname = "pool"\ntype = "MaxPool2d"\nkernel_size = 2\n\n[[encoder]]\nname = "conv2"'),
        ('stride = 2\npadding = 1\n\n[[encoder]]\ntype = "ReLU"\n\n[[decoder]]',
         "stride = 1\npadding = 1\n\n[[decoder]]"),
        ('name = "up2"', 'name = "last"'), ("lr = 0.01", "lr = 0.001"),
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("specs").mkdir()
    Path(SPEC).write_text(TEXT, encoding="utf-8")
    Path("mine.toml").write_text(mine, encoding="utf-8")
    assert main(shown[1].split()) == 1
    assert capsys.readouterr().out == shown[2]


def test_bytes_that_are_written_alike_are_told_apart(other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One channel more is less than a tenth of a MiB."""
    other.write_text(edited(("out_channels = 16", "out_channels = 17")))
    _, out, _ = run(capsys, SPEC, other, "--size", "96x96")
    _, found = document(capsys, SPEC, other, "--size", "96x96")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    unchanged = next(line for line in lines if line.startswith("unchanged: "))
    for name, what in (
        ("saved_bytes", "saved for backward"),
        ("peak_bytes", "peak of a training step"),
        ("inference_bytes", "inference"),
    ):
        before, after = found["totals"][name]
        assert before != after
        assert what not in unchanged
        assert any(line.startswith(what) and line.endswith(f"{after - before:+,} B") for line in lines)
