"""A plugin's layer wherever a built-in one goes: check, schema, layers, verify, train, eval, denoise."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image
from plugin_project import Project

from n2nspec.cli import main
from n2nspec.diagnostics import DiagnosticError
from n2nspec.oracle import OracleTrainer, verify
from n2nspec.runtime import compile
from n2nspec.spec import load
from n2nspec.training import open_run, train

Output = pytest.CaptureFixture[str]


def without_twin(text: str) -> str:
    return text.replace('    twin: ClassVar[str] = "torch.nn.Softsign"\n', "")


def test_check_names_the_file_and_asks(project: Project, capsys: Output) -> None:
    file = project()
    assert main(["compile", str(file), "--check"]) == 1
    printed = capsys.readouterr()
    assert 'error[E130]: the spec wants to run code of its own: "softsign.py"' in printed.err
    assert "add --allow-plugins" in printed.err
    assert (
        main(["compile", str(file), "--check", "--size", "8x8", "--allow-plugins", "--format", "json"]) == 0
    )
    report = json.loads(capsys.readouterr().out)
    assert [node["type"] for node in report["nodes"]] == ["Conv2d", "Softsign"]
    assert report["nodes"][1]["concrete_shape"] == [1, 3, 8, 8]
    assert report["receptive_field"]["H"]["extents"] == [3]


def test_checking_with_a_plugin_imports_no_torch(project: Project) -> None:
    code = (
        "import sys, n2nspec.cli\n"
        f"assert n2nspec.cli.main(['compile', {str(project())!r}, '--check', '--allow-plugins']) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_schema_and_layers_know_it(project: Project, capsys: Output) -> None:
    file = str(project())
    assert main(["schema", "--spec", file]) == 1
    assert "E130" in capsys.readouterr().err
    assert main(["schema", "--spec", file, "--allow-plugins"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert (
        schema["definitions"]["layer-Softsign"]["properties"]["scale"]["description"] == "The largest output."
    )
    judge = jsonschema.Draft7Validator(schema)
    spec = {"spec_version": 1, "name": "s", "input": {"x": ["N", 3, "H", "W"]}}
    assert judge.is_valid({**spec, "encoder": [{"type": "Softsign", "scale": 2}]})
    assert not judge.is_valid({**spec, "encoder": [{"type": "Softsign", "scale": 0}]})
    assert main(["layers", "Softsign", "--spec", file, "--allow-plugins"]) == 0
    page = capsys.readouterr().out
    assert "y = scale·x / (1 + |x|)" in page
    assert "The largest output." in page
    assert main(["layers", "Softsign"]) == 1


def test_verify_compares_it_with_its_twin(project: Project, capsys: Output) -> None:
    assert main(["verify", str(project()), "--format", "json", "--allow-plugins"]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = [(row["what"], row["method"]) for row in report["rows"] if row["name"] == "soft"]
    assert ("forward", "autograd") in rows
    assert ("input gradient", "autograd") in rows
    assert report["notes"] == []


def test_verify_finds_a_wrong_backward(project: Project) -> None:
    wrong = project(plugin=lambda text: text.replace("** 2 if", "** 3 if"))
    report = verify(load(wrong, allow_plugins=True))
    assert {row.name for row in report.failures} == {"soft", "network"}


def test_verify_asks_for_leave_named_or_not(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    folder = project().parent
    (folder / "specs").mkdir()
    for file in ("soft.toml", "softsign.py"):
        shutil.move(folder / file, folder / "specs" / file)
    monkeypatch.chdir(folder)
    for arguments in (["verify"], ["verify", "specs/soft.toml"]):
        assert main(arguments) == 1
        assert "error[E130]" in capsys.readouterr().err
        assert main([*arguments, "--allow-plugins"]) == 0


def test_without_a_twin_verify_falls_back_and_says_so(project: Project, capsys: Output) -> None:
    file = project(plugin=without_twin)
    report = verify(load(file, allow_plugins=True))
    assert report.ok
    assert report.notes == (
        "soft: Softsign names no counterpart in torch.nn; its gradients and the network's are compared with"
        " finite differences only",
    )
    methods = {row.method for row in report.rows if row.name in ("soft", "network")}
    assert methods == {"finite differences"}
    assert {row.method for row in report.rows if row.name == "conv2d1"} == {"autograd", "finite differences"}
    assert main(["verify", str(file), "--allow-plugins"]) == 0
    assert "note: soft: Softsign names no counterpart" in capsys.readouterr().out


def test_without_a_twin_finite_differences_still_find_a_wrong_backward(project: Project) -> None:
    wrong = project(plugin=lambda text: without_twin(text).replace("** 2 if", "** 3 if"))
    report = verify(load(wrong, allow_plugins=True))
    assert {row.name for row in report.failures} == {"soft", "network"}


@pytest.mark.parametrize(
    ("twin", "message"),
    [
        ("", "Softsign has no counterpart in torch.nn"),
        ("torch.nn.Softsine", "names torch.nn.Softsine as its counterpart, which cannot be made"),
        ("torch.nn.Conv2d", "names torch.nn.Conv2d as its counterpart, which cannot be made"),
        ("Softsign", "names Softsign as its counterpart, which cannot be made"),
    ],
)
def test_a_twin_that_is_not_there(twin: str, message: str, project: Project) -> None:
    file = project(plugin=lambda text: text.replace('"torch.nn.Softsign"', repr(twin)))
    model = compile(load(file, allow_plugins=True))
    for use in (model.to_torch, lambda: OracleTrainer(model)):
        with pytest.raises(DiagnosticError, match="E503") as caught:
            use()
        assert message in caught.value.diagnostics[0].message


def test_train_then_denoise(project: Project, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    file = project()
    monkeypatch.chdir(file.parent)
    assert main(["train", "soft.toml", "--out", "run"]) == 0
    assert "running the plugins beside the spec: softsign.py\n" in capsys.readouterr().err
    assert Path("run/softsign.py").read_bytes() == Path("softsign.py").read_bytes()
    Path("softsign.py").unlink()  # the run has its own
    picture = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    Image.fromarray(picture).save("noisy.png")
    capsys.readouterr()
    assert main(["denoise", "run", "noisy.png", "-o", "clean.png"]) == 1
    assert "error[E130]" in capsys.readouterr().err
    assert not Path("clean.png").exists()
    assert main(["denoise", "run", "noisy.png", "-o", "clean.png", "--allow-plugins"]) == 0
    with Image.open("clean.png") as clean:
        assert clean.size == (9, 8)
    assert main(["eval", "run"]) == 1
    assert main(["eval", "run", "--allow-plugins"]) == 0
    # the weights on their own need the plugin beside them
    Path("alone").mkdir()
    shutil.copy("run/model.safetensors", "alone")
    capsys.readouterr()
    assert main(["eval", "alone/model.safetensors", "--allow-plugins"]) == 1
    assert "error[E131]: there is no plugin alone/softsign.py" in capsys.readouterr().err
    shutil.copy("run/softsign.py", "alone")
    assert main(["eval", "alone/model.safetensors", "--allow-plugins"]) == 0


def test_a_plugin_in_a_folder_keeps_its_place(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    file = project(spec=lambda text: text.replace('"softsign.py"', '"./layers/../layers/softsign.py"'))
    (file.parent / "layers").mkdir()
    shutil.move(file.parent / "softsign.py", file.parent / "layers")
    monkeypatch.chdir(file.parent)
    run = train(file, "run")
    assert (run.path / "layers" / "softsign.py").exists()
    opened = open_run("run", allow_plugins=True)
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(opened.model().forward(x), run.model().forward(x))


def test_code_that_fails_while_it_runs_is_told_with_its_line(project: Project, capsys: Output) -> None:
    file = project(plugin=lambda text: text.replace("x.abs()), x", "x.absolut()), x"))
    assert main(["verify", str(file), "--allow-plugins"]) == 1
    printed = capsys.readouterr().err
    assert 'error[E133]: the plugin "softsign.py" raised AttributeError' in printed
    assert "return self.scale * x / (1 + x.absolut()), x" in printed
    assert "Traceback" not in printed


def test_code_that_fails_in_one_spec_of_several_is_in_the_report(project: Project, capsys: Output) -> None:
    wrong = project(plugin=lambda text: text.replace("x.abs()), x", "x.absolut()), x"))
    plain = wrong.with_name("plain.toml")
    plain.write_text(wrong.read_text(encoding="utf-8").replace("Softsign", "ReLU"), encoding="utf-8")
    assert main(["verify", str(wrong), str(plain), "--format", "json", "--allow-plugins"]) == 1
    out, err = capsys.readouterr()
    first, second = json.loads(out)
    assert err == ""
    assert [problem["code"] for problem in first["diagnostics"]] == ["E133"]
    assert second["ok"] is True


def test_our_own_faults_are_not_blamed_on_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n2nspec.cli.verify.spec_files", lambda specs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["verify"])
