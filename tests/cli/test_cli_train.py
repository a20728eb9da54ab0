"""`n2nspec train`, `eval`, `denoise`, `plot` and `verify`, from a spec file to pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_world import DOCUMENT, noisy, pairs, smooth

import n2nspec
from n2nspec.cli import main
from n2nspec.spec import to_toml

__all__ = ["pairs"]


@pytest.fixture
def spec_file(tmp_path: Path, pairs: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a spec.toml"
    file.write_text(to_toml(n2nspec.load(DOCUMENT | {"data": pairs})), encoding="utf-8")
    return file


@pytest.fixture
def run(spec_file: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["train", str(spec_file), "--out", "my run"]) == 0
    capsys.readouterr()
    return Path("my run")


def picture(path: Path, size: tuple[int, int] = (9, 13)) -> Path:
    random = np.random.default_rng(1)
    Image.fromarray(noisy(smooth(1, size, random), random)[0]).save(path)
    return path


def test_train_leaves_a_run_folder_and_a_table(spec_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(spec_file)]) == 0
    out, err = capsys.readouterr()
    folder = Path("runs/small")
    assert {file.name for file in folder.iterdir()} == {
        "examples.png", "loss.svg", "metrics.csv", "model.safetensors", "spec.toml",
    }  # fmt: skip
    lines = out.splitlines()
    assert lines[0].split() == ["loss", "PSNR", "(dB)", "training", "(s)"]
    assert [line.split()[0] for line in lines[1:3]] == ["noisy", "n2nspec"]
    assert "run folder: runs/small" in err
    assert "epoch 2/2: loss " in err
    assert "\x1b" not in out + err  # no colour and no live line outside a terminal


def test_a_second_run_gets_a_folder_of_its_own(spec_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["train", str(spec_file), "--epochs", "0"]) == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["small", "small-2"]


def test_out_is_never_overwritten(run: Path, spec_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file: file.read_bytes() for file in run.iterdir()}
    assert main(["train", str(spec_file), "--out", str(run)]) == 1
    assert "E403" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in run.iterdir()} == before


def test_set_changes_a_value_and_the_run_remembers(spec_file: Path) -> None:
    assert main(["train", str(spec_file), "--epochs", "1", "--set", "train.optimizer.lr=0.5"]) == 0
    saved = n2nspec.load("runs/small/spec.toml")
    assert saved.train.optimizer.lr == 0.5
    assert saved.train.epochs == 1


@pytest.mark.parametrize("setting", ["train.optimizer.lr", "train.nonsense=1", "train.epochs=many"])
def test_a_bad_setting_is_one_error(
    spec_file: Path, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(spec_file), "--set", setting]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("error[") == 1
    assert not Path("runs").exists()


def test_oracle_reports_both(spec_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(spec_file), "--oracle", "--set", "train.dtype=float64"]) == 0
    out, err = capsys.readouterr()
    rows = {line.split("  ")[0]: line.split() for line in out.splitlines()[1:4]}
    ours, twin = rows["n2nspec"], rows["torch.nn, autograd"]
    assert ours[-3:-1] == twin[-3:-1]  # the same loss and PSNR to the digits shown
    assert "torch.nn: loss" in err


def test_eval_agrees_with_training(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(run), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"ok", "psnr", "noisy_psnr", "pictures", "diagnostics"}
    assert (found["ok"], found["diagnostics"]) == (True, [])
    assert found["pictures"] == 3
    assert found["psnr"] == pytest.approx(n2nspec.evaluate(run).psnr)
    assert main(["eval", str(run)]) == 0
    assert f"{found['psnr']:.2f} dB denoised" in capsys.readouterr().out


def test_denoise_keeps_size_and_format(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = picture(tmp_path / "a noisy one.png")
    assert main(["denoise", str(run), str(source), "-o", "clean.png"]) == 0
    assert capsys.readouterr().out == "clean.png\n"
    with Image.open("clean.png") as result:
        assert result.size == (13, 9)
        assert result.mode == "RGB"
    assert main(["denoise", str(run / "model.safetensors"), str(source), "-o", "again.png"]) == 0
    assert Path("again.png").read_bytes() == Path("clean.png").read_bytes()


def test_one_bad_picture_does_not_stop_the_others(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = picture(tmp_path / "good.png"), tmp_path / "bad.png"
    bad.write_text("no picture")
    assert main(["denoise", str(run), str(bad), str(good), "-o", "out"]) == 1
    out, err = capsys.readouterr()
    assert out == f"{Path('out/good.png')}\n"
    assert err.count("error[E402]") == 1
    assert "bad.png" in err


def test_denoise_never_overwrites(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = picture(tmp_path / "a.png")
    before = source.read_bytes()
    assert main(["denoise", str(run), str(source), "-o", str(source)]) == 1
    assert "E403" in capsys.readouterr().err
    assert source.read_bytes() == before


@pytest.mark.parametrize("command", [["eval"], ["denoise"], ["plot"]])
def test_what_is_no_run_is_said_to_be_none(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = picture(tmp_path / "a.png")
    more = {"denoise": [str(source), "-o", "x.png"], "plot": ["-o", str(tmp_path / "x.svg")]}
    assert main([*command, str(tmp_path / "nothing"), *more.get(command[0], [])]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "error[E401]" in err
    assert "Traceback" not in err


def test_plot_draws_several_runs(run: Path, spec_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(spec_file), "--out", "other", "--set", "train.seed=5"]) == 0
    capsys.readouterr()
    assert main(["plot", str(run), "other", "-o", "fig3.svg", "--window", "2"]) == 0
    assert capsys.readouterr().out == "fig3.svg\n"
    text = Path("fig3.svg").read_text()
    assert "<svg" in text
    assert main(["plot", str(run), "-o", "fig3.svg"]) == 1
    assert "E403" in capsys.readouterr().err
    assert Path("fig3.svg").read_text() == text


def test_verify_prints_every_comparison(spec_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(spec_file)]) == 0
    out = capsys.readouterr().out
    assert "conv1      Conv2d" in out
    assert "all within tolerance" in out
    assert main(["verify", str(spec_file), "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert {row["method"] for row in report["rows"]} == {"autograd", "finite differences", "torch.optim"}


def test_ctrl_c_exits_130_and_keeps_the_run_readable(
    spec_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = iter(range(4))
    original = n2nspec.Model.step

    def interrupted(self: n2nspec.Model, x: object, target: object) -> float:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return original(self, x, target)  # type: ignore[arg-type]

    monkeypatch.setattr(n2nspec.Model, "step", interrupted)
    assert main(["train", str(spec_file)]) == 130
    assert capsys.readouterr().err.endswith(
        "\ninterrupted: runs/small keeps epoch 1 of 2, for eval, denoise and plot\n"
        "the same command begins with the first epoch again\n"
    )
    assert main(["eval", "runs/small"]) == 0
    assert main(["train", str(spec_file), "--out", "elsewhere"]) == 130  # in its first step
    assert capsys.readouterr().err.endswith(
        "\ninterrupted: elsewhere keeps the untrained network, for eval, denoise and plot\n"
        "with another --out, the same command begins with the first epoch again\n"
    )
    assert main(["eval", "elsewhere"]) == 0


def test_ctrl_c_before_the_first_step_leaves_nothing(
    spec_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(n2nspec.Model, "eval", interrupting)
    assert main(["train", str(spec_file), "--out", "run"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "\ninterrupted before the first step\nthe same command begins with the first epoch again\n"
    )
    assert not Path("run").exists()


def interrupting(*_: object) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_while_denoising_says_how_far_it_came(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [str(picture(tmp_path / f"{name}.png")) for name in "abc"]
    read = n2nspec.apply.files.read_picture

    def interrupted(path: Path) -> object:
        return interrupting() if path.name == "c.png" else read(path)

    monkeypatch.setattr("n2nspec.apply.files.read_picture", interrupted)
    command = ["denoise", str(run), *sources, "-o", "out"]
    assert main(command) == 130
    out, err = capsys.readouterr()
    assert out == "out/a.png\nout/b.png\n"
    assert err == (
        "\ninterrupted after 2 pictures, the last one out/b.png; they are whole\n"
        "the same command does the others, and refuses to write these again\n"
    )
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "b.png"]
    monkeypatch.setattr("n2nspec.apply.files.read_picture", read)
    assert main(command) == 1
    assert capsys.readouterr().out == "out/c.png\n"
    monkeypatch.setattr("n2nspec.apply.files.read_picture", interrupting)
    assert main([*command[:-1], "other"]) == 130
    assert capsys.readouterr().err == "\ninterrupted: no picture was written\n"


def test_the_pictures_are_for_the_disk_not_for_the_reader_of_their_names(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`denoise … | head -1` ends the reading, not the work."""
    sources = [str(picture(tmp_path / f"{name}.png")) for name in "ab"]

    def gone(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("n2nspec.cli.denoise.click.echo", gone)
    assert main(["denoise", str(run), *sources, "-o", "out"]) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "b.png"]


def test_one_folder_that_cannot_be_is_one_error(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [str(picture(tmp_path / f"{name}.png")) for name in "abc"]
    Path("file").write_text("no folder")
    assert main(["denoise", str(run), *sources, "-o", "file/out"]) == 1
    assert capsys.readouterr().err.count("error[E405]") == 1


def test_other_channels_are_no_fault_of_the_spec(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trained network takes what it takes: nobody is told to edit [input] or [data]."""
    grey = np.zeros((2, 4, 4, 1), dtype=np.uint8)
    np.savez("grey.npz", a=grey, b=grey)
    Image.new("L", (8, 8)).save("grey.png")
    np.save("clean.npy", np.zeros((2, 4, 4, 3), dtype=np.uint8))
    advice = []
    for command in (
        ["eval", str(run), "--data", "grey.npz"],
        ["denoise", str(run), "grey.png", "-o", "out.png"],
        ["eval", str(run), "--data", "clean.npy"],
    ):
        assert main(command) == 1
        advice.append(capsys.readouterr().err.partition("\nhelp: ")[2])
    np.savez(tmp_path / "val.npz", a=grey, b=grey)  # what the run's spec names has changed since
    assert main(["eval", str(run)]) == 1
    advice.append(capsys.readouterr().err.partition("\nhelp: ")[2])
    convert = "convert the pictures, or train a network for 1 channel\n"
    assert advice == [
        convert,
        "the picture is grey: convert it to RGB, or train a network for one channel\n",
        "give pairs: a folder with a/ and b/, or a file with two arrays\n",
        convert,
    ]


def test_eval_tells_programs_what_is_wrong(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "nothing", "--format", "json"]) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["ok"] is False
    assert [problem["code"] for problem in report["diagnostics"]] == ["E401"]
    assert err == ""


def test_a_spec_is_told_from_a_run(
    spec_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "a spec.toml"]) == 1
    assert "help: if it is a spec, train it first: n2nspec train a spec.toml" in capsys.readouterr().err
    assert main(["plot", "a spec.toml", "-o", "x.svg"]) == 1
    assert "a spec.toml is a file, not a run folder" in capsys.readouterr().err


def test_losses_beyond_measure_fit_the_table(spec_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = spec_file.read_text(encoding="utf-8").replace('type = "Sigmoid"', 'type = "Identity"')
    spec_file.write_text(text, encoding="utf-8")
    much = ["--set", 'train.optimizer={ type = "SGD", lr = 1e5 }', "--set", "train.dtype=float64"]
    assert main(["train", str(spec_file), "--epochs", "1", *much]) == 0
    out, err = capsys.readouterr()
    assert max(map(len, out.splitlines()[:3])) < 60
    assert "warning[W306]" in err
    assert "1 epoch, 3 steps in " in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", ""],
        ["train", "SPEC", "--out", ""],
        ["eval", ""],
        ["eval", "RUN", "--data", ""],
        ["denoise", "", "x.png", "-o", "y.png"],
        ["denoise", "RUN", "", "-o", "out"],
        ["denoise", "RUN", "x.png", "-o", ""],
        ["plot", "", "-o", "x.svg"],
        ["plot", "RUN", "-o", ""],
        ["compile", "", "--check"],
        ["compile", "SPEC", "-o", ""],
        ["verify", ""],
        ["schema", "-o", ""],
        ["schema", "--spec", ""],
        ["layers", "--spec", ""],
        ["init", ""],
    ],
)
def test_an_empty_path_is_not_the_current_folder(
    arguments: list[str], run: Path, spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path().iterdir())
    names = {"RUN": str(run), "SPEC": str(spec_file)}
    assert main([names.get(word, word) for word in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(": the path is empty\n")
    assert sorted(Path().iterdir()) == before


def test_a_missing_spec_is_one_error(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("train", "compile", "verify"):
        assert main([command, "no/such.toml"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("error[E101]") == 1
