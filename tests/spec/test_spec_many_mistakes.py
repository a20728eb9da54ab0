"""Mistakes of every stage in one spec: one run tells all that can be known, in order, and no consequences."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from n2nspec.diagnostics import Diagnostic, DiagnosticError
from n2nspec.graph import check
from n2nspec.spec.source import Source

EVERYTHING = """\
spec_version = 1
name = "my network"
colour = "red"

[vars]
width = 16
half = "${width / 2}"
unused = 3

[input]
x = ["N", 3, "H", "W"]

[blocks.double]
params = ["ch"]

[[blocks.double.layers]]
type = "Conv2d"
out_channels = "${chh}"
kernel_size = 3
paddin = 1

[blocks.never]

[[blocks.never.layers]]
type = "ReLU"

[[encoder]]
name = "conv1"
type = "Conv2d"
out_channels = "16"
kernel_size = 0

[[encoder]]
type = "Relu"

[[encoder]]
name = "conv1"
type = "Conv2d"
out_channels = 8
kernel_size = 3
from = "convv1"

[[encoder]]
block = "doubel"
ch = 3

[[encoder]]
block = "double"
ch = 3

[[encoder]]
block = "double"
ch = 4

[[encoder]]
type = "Conv2d"
out_channels = 9
kernel_size = 3
groups = 2

[[decoder]]
type = "Add"
from = ["conv1", "nowhere"]

[require]
same_size = ["x", "sigmoid"]
check = ["${width % 5 == 0}"]

[train]
epochs = "ten"
batch_size = -1
optimizer = { type = "Adm" }
loss = { typ = "MSE" }

[data]
val = "builtin:photos"
"""
EXPECTED = [
    ("E118", ("name",)),
    ("E110", ("colour",)),
    ("E120", ("vars", "half")),
    ("E121", ("blocks", "double", "layers", 0, "out_channels")),
    ("E110", ("blocks", "double", "layers", 0, "paddin")),
    ("E112", ("encoder", 0, "out_channels")),
    ("E113", ("encoder", 0, "kernel_size")),
    ("E116", ("encoder", 1, "type")),
    ("E202", ("encoder", 2, "name")),
    ("E203", ("encoder", 2, "from")),
    ("E122", ("encoder", 3, "block")),
    ("E115", ("encoder", 6, "groups")),
    ("E203", ("decoder", 0, "from", 1)),
    ("E203", ("require", "same_size", 1)),
    ("E126", ("require", "check", 0)),
    ("E112", ("train", "epochs")),
    ("E113", ("train", "batch_size")),
    ("E114", ("train", "optimizer", "type")),
    ("E110", ("train", "loss", "typ")),
    ("E111", ("data",)),
]


def mistakes(file: Path, text: str) -> tuple[Diagnostic, ...]:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DiagnosticError) as caught:
        check(file)
    return caught.value.diagnostics


@pytest.mark.parametrize("toml", [True, False])
def test_one_run_tells_every_mistake(toml: bool, tmp_path: Path) -> None:
    document: dict[str, Any] = tomllib.loads(EVERYTHING)
    file = tmp_path / ("many.toml" if toml else "many.json")
    text = EVERYTHING if toml else json.dumps(document, indent=2)
    places = Source(file=str(file), text=text, document=document).places
    expected = [(code, places[path].value.line) for code, path in EXPECTED]
    assert [(d.code, d.span and d.span.line) for d in mistakes(file, text)] == expected


HEAD = 'spec_version = 1\nname = "n"\n\n[input]\nx = ["N", 3, "H", "W"]\n\n'


def test_a_wrong_type_hides_only_names_that_it_could_give(tmp_path: Path) -> None:
    layers = '[[encoder]]\ntype = "Own"\n\n'
    for name in ("own1", "conv2d1", "convv1"):
        layers += f'[[encoder]]\ntype = "ReLU"\nfrom = "{name}"\n\n'
    found = mistakes(tmp_path / "many.toml", HEAD + layers)
    assert [(d.code, d.span and d.span.text) for d in found] == [
        ("E116", 'type = "Own"'), ("E203", 'from = "convv1"'),
    ]  # fmt: skip


def test_an_unknown_block_hides_only_names_that_it_could_give(tmp_path: Path) -> None:
    layers = '[[blocks.b.layers]]\ntype = "ReLU"\n\n[[encoder]]\nblock = "bb"\n\n[[encoder]]\nblock = "b"\n\n'
    for name in ("bb1", "b2", "relu1", "convv1"):
        layers += f'[[encoder]]\ntype = "ReLU"\nfrom = "{name}"\n\n'
    found = mistakes(tmp_path / "many.toml", HEAD + layers)
    assert [(d.code, d.span and d.span.text) for d in found] == [
        ("E122", 'block = "bb"'), ("E203", 'from = "convv1"'),
    ]  # fmt: skip


def test_names_that_are_given_twice_are_told_beside_an_unknown_block(tmp_path: Path) -> None:
    layers = '[[encoder]]\nblock = "b"\n\n' + '[[encoder]]\nname = "a"\ntype = "ReLU"\n\n' * 3
    found = mistakes(tmp_path / "many.toml", HEAD + layers)
    assert [(d.code, d.span and d.span.line) for d in found] == [("E122", 8), ("E202", 15), ("E202", 19)]
    assert [label.span.line for d in found for label in d.labels] == [11, 11]


@pytest.mark.parametrize("wrong", ["paddin = 1", "padding = -1", 'padding = "${q}"', 'from = "nowhere"'])
def test_a_broken_block_is_one_mistake_however_often_it_is_used(wrong: str, tmp_path: Path) -> None:
    block = '[blocks.b]\nparams = ["ch"]\n\n[[blocks.b.layers]]\ntype = "Conv2d"\nout_channels = "${ch}"\n'
    uses = '[[encoder]]\nblock = "b"\nch = 3\n' * 3000
    others = '[[encoder]]\nblock = "c"\n[[encoder]]\nblock = "b"\nname = 1\nch = 2\n'
    found = mistakes(tmp_path / "many.toml", HEAD + f"{block}kernel_size = 3\n{wrong}\n{uses}{others}")
    assert [d.span and d.span.text for d in found] == [wrong, 'block = "c"', "name = 1"]


def test_share_inside_a_block_names_a_layer_of_it(tmp_path: Path) -> None:
    conv = '[[{}]]\ntype = "Conv2d"\nout_channels = 3\nkernel_size = 3\n'
    inner = conv.format("blocks.b.layers")
    block = f'{inner}name = "first"\n{inner}share = "outer"\n{inner}share = "in"\n{inner}share = "frist"\n'
    outer = conv.format("encoder")
    top = f'{outer}name = "outer"\n[[encoder]]\nblock = "b"\n{outer}share = "otuer"\n'
    found = mistakes(tmp_path / "many.toml", HEAD + block + top)
    inside = "`share` inside a block names another layer of the same block"
    assert [(d.message, d.help) for d in found] == [
        ('there is no layer "outer" in the block "b"', inside),
        ('there is no layer "in" in the block "b"', inside),
        ('there is no layer "frist" in the block "b"', 'did you mean "first"?'),
        ('there is no layer named "otuer"', 'did you mean "outer"?'),
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["${ch}", "${2*ch}", "${width}", "${nothing}"])
def test_a_misspelt_key_is_one_mistake_whatever_its_value_is(value: str, tmp_path: Path) -> None:
    text = f"""
    [vars]
    width = 4
    [[blocks.b.layers]]
    type = "Conv2d"
    out_chanels = "{value}"
    kernel_size = 3
    [blocks.b]
    params = ["ch"]
    [[encoder]]
    block = "b"
    ch = 3
    [[encoder]]
    block = "b"
    ch = "${{width}}"
    """
    found = mistakes(tmp_path / "many.toml", HEAD + text)
    others = ["E121"] if "nothing" in value else []
    assert [d.code for d in found] == ["E110", *others]
    assert found[0].help == 'did you mean "out_channels"?'


def test_a_variable_that_is_out_of_range_is_one_mistake_also_in_products(tmp_path: Path) -> None:
    conv = '[[blocks.b.layers]]\ntype = "Conv2d"\nout_channels = "${ch}"\nkernel_size = 3\n'
    uses = [f'[[encoder]]\nblock = "b"\nch = {ch}\n' for ch in ('"${width}"', '"${2*width}"', "0", "0")]
    text = f'[vars]\nwidth = 0\n[blocks.b]\nparams = ["ch"]\n{conv}{"".join(uses)}'
    found = mistakes(tmp_path / "many.toml", HEAD + text)
    assert [(d.code, d.labels[0].span.text) for d in found] == [
        ("E113", 'ch = "${width}"'), ("E113", "ch = 0"), ("E113", "ch = 0"),
    ]  # fmt: skip


def test_an_undeclared_variable_in_a_base_is_told_where_the_spec_uses_it_first(tmp_path: Path) -> None:
    conv = '[[encoder]]\ntype = "Conv2d"\nout_channels = "${width}"\nkernel_size = 3\n'
    (tmp_path / "base.toml").write_text(HEAD + conv)
    text = f'extends = "base.toml"\nspec_version = 1\nname = "top"\nvars.with = 3\n{conv}'
    (found,) = mistakes(tmp_path / "top.toml", text)
    assert found.span is not None
    assert found.span.file == str(tmp_path / "top.toml")
    assert [label.span.file for label in found.labels] == [str(tmp_path / "base.toml")]
