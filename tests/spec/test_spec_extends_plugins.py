"""`plugins` of a spec and of what it extends: both are taken, each from the folder of its own file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from language import document, refused
from plugin_project import SOFTSIGN

from n2nspec.diagnostics import DiagnosticError
from n2nspec.spec import load, to_toml

RELU = {"type": "ReLU"}


def plugin(name: str) -> str:
    return SOFTSIGN.replace("Softsign", name)


def test_plugins_of_the_base_come_before_those_of_the_file(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "first.py").write_text(plugin("First"), encoding="utf-8")
    (tmp_path / "second.py").write_text(plugin("Second"), encoding="utf-8")
    base = document({"type": "First"}, plugins=["first.py"])
    (tmp_path / "lib" / "base.toml").write_text(tomli_w.dumps(base))
    top = tmp_path / "top.toml"
    text = 'extends = "lib/base.toml"\nplugins = {}\n[[encoder]]\ntype = "Second"\n'
    for names in (["second.py"], ["lib/first.py", "./second.py", "second.py"]):
        top.write_text(text.format(json.dumps(names)))
        spec = load(top, allow_plugins=True)
        assert [entry.type for entry in spec.encoder] == ["First", "Second"]
        # as they are called from the folder of the spec itself, where the flat one stands
        assert spec.plugins == ("lib/first.py", "second.py")
        assert [file.name for file in spec.plugin_files] == list(spec.plugins)
    again = tmp_path / "flat.toml"
    again.write_text(to_toml(spec), encoding="utf-8")
    assert load(again, allow_plugins=True) == spec
    (asked,) = refused(top)
    assert asked.message == 'the spec wants to run code of its own: "first.py" and "./second.py"'


def test_two_plugins_of_one_name_are_refused(tmp_path: Path, monkeypatch: Any) -> None:
    """A run folder has a place for one of them."""
    (tmp_path / "specs").mkdir()
    (tmp_path / "mine.py").write_text(plugin("First"), encoding="utf-8")
    (tmp_path / "specs" / "mine.py").write_text(plugin("Second"), encoding="utf-8")
    (tmp_path / "base.toml").write_text(tomli_w.dumps(document(RELU, plugins=["mine.py"])))
    top = tmp_path / "specs" / "top.toml"
    top.write_text('extends = "../base.toml"\nplugins = ["mine.py"]\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DiagnosticError) as caught:
        load(top, allow_plugins=True)
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == ("E136", 'another plugin is called "mine.py", too')
    assert found.span is not None
    assert found.span.file == str(top)
