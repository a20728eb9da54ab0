"""Which plugins run, and what is said of those that cannot."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from plugin_project import SOFTSIGN, Project

from n2nspec.diagnostics import DiagnosticError
from n2nspec.layers import LAYERS
from n2nspec.spec import ENTRIES, load, to_document
from n2nspec.spec.document import to_toml


def refused(source: Any, **options: Any) -> list[str]:
    with pytest.raises(DiagnosticError) as caught:
        load(source, **options)
    return [f"{d.code} {d.message}" for d in caught.value.diagnostics]


def document(*plugins: str) -> dict[str, Any]:
    return {
        "spec_version": 1,
        "name": "soft",
        "plugins": list(plugins),
        "input": {"x": ["N", 3, "H", "W"]},
        "encoder": [{"type": "Softsign"}],
    }


def test_a_plugin_runs_only_with_leave(project: Project) -> None:
    file = project(plugin=lambda text: text + '\nopen("ran", "w").close()\n')
    assert refused(file) == ['E130 the spec wants to run code of its own: "softsign.py"']
    assert refused(file, allow_plugins=False)
    assert not Path("ran").exists()


def test_other_mistakes_are_told_beside_and_unknown_types_are_not(project: Project) -> None:
    file = project(spec=lambda text: text.replace("epochs", "epoch"))
    assert [line[:4] for line in refused(file)] == ["E130", "E110"]


def test_the_layer_is_an_entry_like_any_other(project: Project) -> None:
    file = project(spec=lambda text: text.replace('"Softsign"', '"Softsign"\nscale = 3'))
    spec = load(file, allow_plugins=True)
    layer: Any = spec.encoder[1].layer
    assert (layer.type, layer.scale, spec.encoder[1].name) == ("Softsign", 3, "soft")
    assert [plugin.name for plugin in spec.plugin_files] == ["softsign.py"]
    assert spec.plugin_files[0].content == SOFTSIGN.encode()


def test_mistakes_in_its_fields_are_placed_and_explained(project: Project) -> None:
    file = project(spec=lambda text: text.replace('"Softsign"', '"Softsign"\nscale = 0\nscales = 1'))
    with pytest.raises(DiagnosticError) as caught:
        load(file, allow_plugins=True)
    wrong, unknown = caught.value.diagnostics
    assert (wrong.code, wrong.path, unknown.code) == ("E113", "encoder[1].scale", "E110")
    assert wrong.help == "scale: The largest output."
    assert 'unknown key "scales" in Softsign' in unknown.message
    assert unknown.help == 'did you mean "scale"?'
    assert wrong.span is not None
    assert wrong.span.text == "scale = 0"


def test_types_are_known_to_the_spec_that_names_them_only(project: Project) -> None:
    load(project(), allow_plugins=True)
    assert "Softsign" not in ENTRIES
    assert "Softsign" not in LAYERS
    assert refused(document(), allow_plugins=True) == ['E116 unknown layer type "Softsign"']


def test_reading_twice_gives_equal_specs_and_documents_come_back(project: Project) -> None:
    file = project()
    spec = load(file, allow_plugins=True)
    assert spec == load(file, allow_plugins=True)
    assert to_document(spec)["encoder"][1] == {"type": "Softsign", "name": "soft"}
    assert load(to_document(spec), allow_plugins=True, folder=file.parent) == spec
    again = file.with_name("again.toml")
    again.write_text(to_toml(spec), encoding="utf-8")
    assert load(again, allow_plugins=True) == spec


def test_a_changed_plugin_is_read_anew(project: Project) -> None:
    file = project()
    first = load(file, allow_plugins=True)
    (file.parent / "softsign.py").write_text(SOFTSIGN.replace("Count = Field(1,", "Count = Field(5,"))
    second: Any = load(file, allow_plugins=True).encoder[1].layer
    assert second.scale == 5
    assert first.encoder[1].layer.scale == 1  # type: ignore[attr-defined]


def test_nothing_is_left_beside_a_plugin(project: Project) -> None:
    file = project()
    before = sorted(file.parent.rglob("*"))
    load(file, allow_plugins=True)
    assert sorted(file.parent.rglob("*")) == before


def test_a_base_brings_its_own_plugins(project: Project) -> None:
    file = project()
    folder = file.parent / "variants"
    folder.mkdir()
    variant = folder / "variant.toml"
    variant.write_text('extends = "../soft.toml"\nname = "variant"\n', encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(file.parent)
        spec = load(variant, allow_plugins=True)
    assert spec.encoder[1].layer.type == "Softsign"


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        (["gone.py"], "E131 there is no plugin gone.py"),
        (["."], "E105"),
        ([""], "E105"),
        (["folder.py"], "E131 there is no plugin folder.py"),
        (["softsign.txt"], 'E105 a plugin ends in .py; received "softsign.txt"'),
        (["../softsign.py"], 'E132 the plugin "../softsign.py" lies outside the spec\'s folder'),
        (["a/../../softsign.py"], "E132"),
        (["link.py"], "E132"),
        (["/softsign.py"], "E132"),
        (["nul\0.py"], "E131"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_plugins(
    plugins: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "spec"
    (folder / "folder.py").mkdir(parents=True)
    (tmp_path / "softsign.py").write_text(SOFTSIGN)
    (folder / "link.py").symlink_to(tmp_path / "softsign.py")
    monkeypatch.chdir(folder)
    found = refused(document(*plugins), allow_plugins=True)
    assert len(found) == 1
    assert found[0].startswith(expected[:4])
    assert expected in found[0]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("1 / 0", "E133 the plugin \"softsign.py\" raised ZeroDivisionError: division by zero"),
        ("def (", "E133 the plugin \"softsign.py\" raised SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "E133 the plugin \"softsign.py\" raised SystemExit: 3"),
        ("import no_such_module_here", "E133"),
        ("x = '\0'", "E133"),
        ("# coding: no-such-coding", "E133"),
        ("", "E134 the plugin \"softsign.py\" brings no layer"),
        ('__all__ = ["Nobody"]', 'names "Nobody" in __all__, but has no such thing'),
        ("from n2nspec.layers import Conv2dSpec", "E134"),
        (SOFTSIGN.replace("    CASES", "    _NO_CASES"), "E135 SoftsignSpec of the plugin"),
        (SOFTSIGN.replace("def backward", "def backwards"), "has no backward"),
        (SOFTSIGN.replace('Literal["Softsign"]', "str"), "does not say what a spec calls it"),
        (SOFTSIGN.replace('] = "Softsign"', "]"), "does not say what a spec calls it"),
        (SOFTSIGN.replace('["Softsign"] = "Softsign"', '["soft sign"] = "soft sign"'), "no plain name"),
        (SOFTSIGN.replace("scale: Count", "repeat: Count"), 'has a field "repeat"'),
        (SOFTSIGN.replace('["Softsign"] = "Softsign"', '["ReLU"] = "ReLU"'), 'E136 "ReLU" of the plugin'),
    ],
)  # fmt: skip
def test_plugins_that_are_wrong(
    code: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("softsign.py").write_text(code, encoding="utf-8")
    found = refused(document("softsign.py"), allow_plugins=True)
    assert len(found) == 1
    assert expected in found[0]


def test_a_plugin_without_all_offers_its_public_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("softsign.py").write_text(SOFTSIGN.replace("__all__ =", "_all ="), encoding="utf-8")
    assert load(document("softsign.py", "./softsign.py"), allow_plugins=True).encoder[0].type == "Softsign"


# -- installed packages -------------------------------------------------------------------------------


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`install(name=text, …)` pretends that packages are installed, each with a module of that text."""
    made: list[str] = []

    def pretend(**modules: str) -> None:
        points = []
        for name, text in modules.items():
            module = ModuleType(f"pretended_{name}")
            sys.modules[module.__name__] = module
            made.append(module.__name__)
            if text != "broken":
                exec(compile(text, f"{name}.py", "exec"), vars(module))
            value = module.__name__ if text != "broken" else "pretended_nobody"
            points.append(EntryPoint(name=name, value=value, group="n2nspec.layers"))
        monkeypatch.setattr(
            "importlib.metadata.entry_points", lambda group: EntryPoints(points).select(group=group)
        )

    yield pretend
    for name in made:
        del sys.modules[name]


def test_installed_packages_bring_layers_without_leave(install: Any) -> None:
    install(softsign=SOFTSIGN)
    spec = load(document())
    assert spec.encoder[0].type == "Softsign"
    assert spec.plugin_files == ()
    assert "Softsign" not in ENTRIES


def test_packages_are_asked_only_for_types_that_nobody_knows(
    install: Any, monkeypatch: pytest.MonkeyPatch, project: Project
) -> None:
    def refuse(group: str) -> EntryPoints:
        raise AssertionError("looked for packages")

    monkeypatch.setattr("importlib.metadata.entry_points", refuse)
    assert load(project(), allow_plugins=True)
    with pytest.raises(AssertionError, match="looked for packages"):
        load(document())


def test_a_package_that_is_broken_is_told_when_it_may_matter(install: Any) -> None:
    install(broken="broken", softsign=SOFTSIGN)
    assert load(document()).encoder[0].type == "Softsign"
    found = refused({**document(), "encoder": [{"type": "Softsing"}]})
    assert [line[:4] for line in found] == ["E133", "E116"]
    assert 'the installed plugin "pretended_nobody" raised ModuleNotFoundError' in found[0]


def test_packages_that_clash(install: Any) -> None:
    install(one=SOFTSIGN, two=SOFTSIGN.replace("A sigmoid", "One more sigmoid"))
    found = refused({**document(), "encoder": [{"type": "Nobody"}]})
    assert [line[:4] for line in found] == ["E136", "E116"]


def test_the_file_of_a_spec_comes_before_a_package(install: Any, project: Project) -> None:
    install(softsign=SOFTSIGN.replace("Count = Field(1,", "Count = Field(7,"))
    layer: Any = load(project(), allow_plugins=True).encoder[1].layer
    assert layer.scale == 1
