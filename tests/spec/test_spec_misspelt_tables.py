"""A misspelt table is one mistake: what it holds is known, and judged, as that of the one that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import check

SPEC = """\
spec_version = 1
name = "n"

[vars]
width = 8

[defaults.Conv2d]
kernel_size = 3
padding = 1

[blocks.b]
params = ["ch"]

[[blocks.b.layers]]
name = "first"
type = "Conv2d"
out_channels = "${ch}"

[[blocks.b.layers]]
type = "Add"
from = ["first", "first"]

[input]
x = ["N", 3, "H", "W"]

[[encoder]]
name = "e"
block = "b"
ch = "${width}"

[[encoder]]
type = "Add"
from = ["e", "e.first"]

[output]
y = "add1"

[require]
same_size = ["x", "add1"]

[train]
epochs = 1
"""


def told(folder: Path, text: str) -> list[tuple[str, str]]:
    file = folder / "spec.toml"
    file.write_text(text, encoding="utf-8")
    try:
        check(file)
    except DiagnosticError as error:
        return [(d.code, d.span.text or "" if d.span else "") for d in error.diagnostics]
    return []


@pytest.mark.parametrize(
    ("header", "misspelt"),
    [
        ("[vars]", "[vasr]"),
        ("[vars]", "[variables]"),
        ("[defaults.Conv2d]", "[default.Conv2d]"),
        ("[blocks.b]", "[bloks.b]"),
        ('[[blocks.b.layers]]\nname = "first"', '[[block.b.layers]]\nname = "first"'),
        ('[[blocks.b.layers]]\ntype = "Add"', '[[bloks.b.layers]]\ntype = "Add"'),
        ('[[blocks.b.layers]]\nname = "first"', '[[blocks.b.layer]]\nname = "first"'),
        ('[[blocks.b.layers]]\ntype = "Add"', '[[blocks.b.layrs]]\ntype = "Add"'),
        ("[input]", "[inputs]"),
        ("[output]", "[outptu]"),
        ("[require]", "[requires]"),
        ("[train]", "[training]"),
    ],
)
def test_nothing_else_is_told(header: str, misspelt: str, tmp_path: Path) -> None:
    assert SPEC.count(header) == 1
    text = SPEC.replace(header, misspelt)
    assert told(tmp_path, text) == [("E110", misspelt.partition("\n")[0])]


@pytest.mark.parametrize(
    ("table", "wrong", "code"),
    [
        ("vars", "odd = true", "E112"),
        ("defaults.Conv2d", "colour = 3", "E110"),
        ("blocks.b", "colour = 3", "E110"),
        ("train", "batch_size = -1", "E113"),
        ("require", 'check = ["${width % 5 == 0}"]', "E126"),
    ],
)
def test_what_is_wrong_in_it_is_told(table: str, wrong: str, code: str, tmp_path: Path) -> None:
    misspelt = f"[{table.replace(table[1], '', 1)}]"
    text = SPEC.replace(f"[{table}]", f"{misspelt}\n{wrong}")
    assert told(tmp_path, text) == [("E110", misspelt), (code, wrong)]


def test_a_second_input_is_not_put_beside_the_first(tmp_path: Path) -> None:
    assert told(tmp_path, f'{SPEC}\n[inputs]\ny = ["N", 3, "H", "W"]\n') == [("E110", "[inputs]")]


def test_a_base_under_a_misspelt_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(SPEC, encoding="utf-8")
    text = 'extend = "base.toml"\nremoved = ["f"]\n[train]\nepochs = -1\n'
    assert told(tmp_path, text) == [
        ("E110", 'extend = "base.toml"'), ("E110", 'removed = ["f"]'), ("E127", 'removed = ["f"]'),
        ("E113", "epochs = -1"),
    ]  # fmt: skip


@pytest.mark.parametrize("output", ["", 'output = "first"'])
def test_the_head_of_a_block_under_a_misspelt_name(output: str, tmp_path: Path) -> None:
    text = SPEC.replace("blocks.b", "blocks.double").replace('block = "b"', 'block = "double"')
    file = tmp_path / "spec.toml"
    file.write_text(text.replace("[blocks.double]", f"[blocks.dobule]\n{output}"), encoding="utf-8")
    with pytest.raises(DiagnosticError) as caught:
        check(file)
    assert [(d.code, d.message, d.help) for d in caught.value.diagnostics] == [
        ("E111", 'the block "dobule" needs layers', 'did you mean "double"?'),
    ]


def test_layers_that_may_be_of_either_stage_may_have_any_name(tmp_path: Path) -> None:
    text = SPEC.replace("[[encoder]]", "[[ecoder]]", 1)
    assert told(tmp_path, text) == [("E110", "[[ecoder]]")]
