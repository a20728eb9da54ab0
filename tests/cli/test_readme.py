"""What the README shows is what the program prints."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from n2nspec import load
from n2nspec.cli import main

README = Path("README.md").read_text(encoding="utf-8")


def test_the_check_prints_what_the_readme_shows(capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.search(r"```text\n\$ n2nspec (compile .*?)\n(.*?)```", README, re.DOTALL)
    assert shown
    assert main(shown[1].split()) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.rstrip().splitlines()]
    assert printed == shown[2].rstrip().splitlines()


def test_the_error_in_the_readme_is_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = re.search(r"```text\n(error\[.*?)```", README, re.DOTALL)
    assert shown
    text = Path("specs/n2n.toml").read_text(encoding="utf-8")
    text = text.replace("kernel_size = 3", "kernal_size = 3", 1)
    text = text.replace('type = "ReLU" ', 'type = "RELU" ', 1)
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(text, encoding="utf-8")
    assert main(["compile", "mine.toml", "--check"]) == 1
    assert shown[1].rstrip() in capsys.readouterr().err


def test_the_spec_in_the_readme_is_part_of_the_one_that_trains() -> None:
    shown = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert shown
    part, whole = tomllib.loads(shown[1]), tomllib.loads(Path("specs/n2n.toml").read_text(encoding="utf-8"))
    assert part["encoder"] == whole["encoder"][:1]
    for table in ("input", "require", "data"):
        assert part[table] == whole[table]
    assert part["train"].items() <= whole["train"].items()


def test_every_command_is_in_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    commands = re.findall(r"^  ([a-z]+) ", capsys.readouterr().out.partition("Commands:")[2], re.MULTILINE)
    assert commands
    for command in commands:
        assert f"\nn2nspec {command} " in README


def test_the_two_commands_install_what_they_run() -> None:
    train, test = re.findall(r"^(python3 -m venv .venv && .*)$", README, re.MULTILINE)
    assert "-c constraints.txt ." in train
    assert train.endswith("n2nspec train specs/n2n.toml")
    assert "-e '.[test]'" in test
    assert test.endswith("pytest -n auto")
    assert load("specs/n2n.toml").name == "n2n"
