"""`n2nspec init`: a project that checks, trains and completes, and nothing lost on the way."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest

from n2nspec.cli import main
from n2nspec.data import open_training, open_validation
from n2nspec.runtime import compile
from n2nspec.spec import load
from n2nspec.spec.schema import SCHEMA_FILE

Output = pytest.CaptureFixture[str]
FILES = ["specs/{name}.toml", f"specs/{SCHEMA_FILE}", "README.md", ".gitignore"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def files(folder: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


def test_the_next_steps_can_be_pasted(capsys: Output) -> None:
    assert main(["init", "night sky"]) == 0
    assert "  cd 'night sky'\n" in capsys.readouterr().out


def test_a_project_checks_and_fits_its_schema(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    assert main(["init", "night"]) == 0
    assert files("night") == {name.format(name="night") for name in FILES}
    monkeypatch.chdir("night")
    assert main(["compile", "--check"]) == 0
    printed = capsys.readouterr()
    assert "ok\n" in printed.out
    assert not printed.err
    text = Path("specs/night.toml").read_text(encoding="utf-8")
    assert text.startswith(f"#:schema ./{SCHEMA_FILE}\n")
    schema = json.loads(Path("specs", SCHEMA_FILE).read_text(encoding="utf-8"))
    assert not list(jsonschema.Draft7Validator(schema).iter_errors(tomllib.loads(text)))
    assert Path(".gitignore").read_text(encoding="utf-8") == "runs/\n"


def test_it_trains_on_photographs() -> None:
    assert main(["init", "night"]) == 0
    spec = load("night/specs/night.toml", {"data.patches_per_epoch": 4, "train.batch_size": 4})
    model = compile(spec)
    ((x, target),) = open_training(spec, model.dtype).epoch(1)
    losses = [model.step(x, target) for _ in range(5)]
    assert losses[-1] < losses[0]
    assert open_validation(spec, model.dtype) is not None


def test_the_next_steps_are_printed_and_stand_in_the_readme(capsys: Output) -> None:
    assert main(["init", "night"]) == 0
    _, _, steps = capsys.readouterr().out.partition("next:\n")
    lines = [line.strip() for line in steps.splitlines()]
    assert lines == [
        "cd night",
        "n2nspec compile specs/night.toml --check",
        "n2nspec train specs/night.toml",
        "n2nspec denoise runs/night noisy.png -o denoised.png",
    ]
    readme = Path("night/README.md").read_text(encoding="utf-8")
    assert all(line in readme for line in lines[1:])


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my project", "my-project"), ("été", "t"), ("2nd", "denoiser"), ("a/b/deep_one", "deep_one"),
        ("ナイト", "denoiser"),
    ],
)  # fmt: skip
def test_the_folder_gives_the_name(folder: str, name: str) -> None:
    assert main(["init", folder]) == 0
    assert files(folder) == {file.format(name=name) for file in FILES}
    assert load(f"{folder}/specs/{name}.toml").name == name


def test_here_is_the_default(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    Path("here").mkdir()
    Path("here/notes.txt").write_text("mine", encoding="utf-8")
    monkeypatch.chdir("here")
    assert main(["init"]) == 0
    assert "cd " not in capsys.readouterr().out
    assert "notes.txt" in files(".")
    assert Path("specs/here.toml").exists()


@pytest.mark.parametrize("taken", [name.format(name="night") for name in FILES])
def test_nothing_is_written_over(taken: str, capsys: Output) -> None:
    file = Path("night", taken)
    file.parent.mkdir(parents=True)
    file.write_text("mine", encoding="utf-8")
    assert main(["init", "night"]) == 1
    printed = capsys.readouterr().err
    assert printed.count("error[E403]") == 1
    assert re.search(rf"{re.escape(taken)} exists already", printed)
    assert files("night") == {taken}
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_link_to_nowhere_is_not_followed() -> None:
    Path("night/specs").mkdir(parents=True)
    Path("night/README.md").symlink_to("../elsewhere.md")
    assert main(["init", "night"]) == 1
    assert not Path("elsewhere.md").exists()


@pytest.mark.parametrize("taken", ["night", "night/specs"])
def test_a_file_in_place_of_a_folder(taken: str, capsys: Output) -> None:
    Path(taken).parent.mkdir(parents=True, exist_ok=True)
    Path(taken).write_text("mine", encoding="utf-8")
    assert main(["init", "night"]) == 1
    assert "error[E403]" in capsys.readouterr().err
    assert Path(taken).read_text(encoding="utf-8") == "mine"


def test_a_failure_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    opened = Path.open

    def fail(self: Path, *args: object, **kwargs: object) -> object:
        if self.name == "README.md":
            raise OSError(28, os.strerror(28), str(self))
        return opened(self, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", fail)
    assert main(["init", "a/night"]) == 1
    assert "error[E405]" in capsys.readouterr().err
    assert not Path("a").exists()
