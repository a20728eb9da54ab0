"""`n2nspec draw`: three formats, one error for what cannot be, no file lost."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from plugin_project import Project, project

from n2nspec.cli import main
from n2nspec.graph import check
from n2nspec.graph.drawing import draw

__all__ = ["project"]

Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", ["a.svg", "a.SVG", "a.mmd", "a.dot"])
def test_the_suffix_is_the_format(name: str, tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / name
    assert main(["draw", "specs/n2n.toml", "-o", str(file)]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (f"{file}\n", "")
    assert file.read_bytes() == draw(check("specs/n2n.toml"), file.suffix.lower()).encode()
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.png", "cannot draw a .png"),
        ("a.svg.gz", "cannot draw a .gz"),
        ("a", "cannot draw a file without a suffix"),
        ("-", "cannot draw a file without a suffix"),
    ],
)
def test_other_formats_are_refused(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    spec = str(Path("specs/n2n.toml").resolve())
    monkeypatch.chdir(tmp_path)
    assert main(["draw", spec, "-o", name]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"error[E105]: {said}\n --> {name}\nhelp: the formats are .svg, .mmd, .dot\n"
    assert list(tmp_path.iterdir()) == []


def test_sizes_and_settings(tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "a.svg"
    arguments = ["draw", "specs/n2n.toml", "-o", str(file), "--set", "encoder.0.out_channels=17"]
    assert main([*arguments, "--size", "32x64"]) == 0
    shown = [element.text for element in ET.parse(file).iter("{http://www.w3.org/2000/svg}text")]
    assert {"17", "16 × 32"} <= {*shown}
    before = file.read_bytes()
    assert main([*arguments, "--size", "33x64"]) == 1
    assert "error[E208]" in capsys.readouterr().err
    assert main([*arguments, "--size", "33"]) == 2
    assert main(["draw", "specs/n2n.toml"]) == 2
    assert file.read_bytes() == before


def test_an_earlier_drawing_is_replaced_and_nothing_else(tmp_path: Path, capsys: Output) -> None:
    for suffix in ("svg", "mmd", "dot"):
        file = tmp_path / f"a.{suffix}"
        for spec in ("specs/red.toml", "specs/n2n.toml"):
            assert main(["draw", spec, "-o", str(file)]) == 0
        assert file.read_text("utf-8") == draw(check("specs/n2n.toml"), file.suffix)
        file.write_text("<svg/>")
        assert main(["draw", "specs/n2n.toml", "-o", str(file)]) == 1
        assert "error[E403]" in capsys.readouterr().err
        assert file.read_text() == "<svg/>"


def test_places_that_cannot_be_written(tmp_path: Path, capsys: Output) -> None:
    assert main(["draw", "specs/n2n.toml", "-o", str(tmp_path / "no" / "a.svg")]) == 1
    assert capsys.readouterr().err.count("error[E405]") == 1
    (tmp_path / "folder.svg").mkdir()
    assert main(["draw", "specs/n2n.toml", "-o", str(tmp_path / "folder.svg")]) == 1
    assert capsys.readouterr().err.count("error[") == 1


def test_a_wrong_spec_is_not_drawn(tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "a.svg"
    assert main(["draw", "gone.toml", "-o", str(file)]) == 1
    assert "error[E101]" in capsys.readouterr().err
    assert main(["draw", "specs/n2n.toml", "-o", str(file), "--set", "encoder.0.stride=0"]) == 1
    assert "stride" in capsys.readouterr().err
    assert not file.exists()


def test_plugins_are_drawn_with_leave(project: Project, tmp_path: Path, capsys: Output) -> None:
    arguments = ["draw", str(project()), "-o", str(tmp_path / "a.svg")]
    assert main(arguments) == 1
    assert "--allow-plugins" in capsys.readouterr().err
    assert main([*arguments, "--allow-plugins"]) == 0
    assert "Softsign" in (tmp_path / "a.svg").read_text("utf-8")


def test_drawing_needs_neither_torch_nor_matplotlib(tmp_path: Path) -> None:
    code = (
        "import sys, n2nspec.cli\n"
        "assert n2nspec.cli.main(['draw', 'specs/red.toml', '-o', sys.argv[1]]) == 0\n"
        "assert not {'torch', 'matplotlib'} & sys.modules.keys()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.svg")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
